//! One look at the conntrack table: what is stale goes, as it is read.

use std::fmt;

use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;

use super::flow::Flow;
use super::local::Locality;
use super::socket::Socket;
use super::wire::{self, Question};
use crate::model::Family;
use crate::netlink::attr::Writer;

/// So many deletions are sent at once: their answers fit the smallest receive buffer, and no more stale flows are held.
const BATCH: usize = 128;

/// Why a look was not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Trying again is of no use: no permission, or a kernel without ctnetlink.
    Never(Errno),
    /// Another time.
    Later(Errno),
}

impl Failure {
    fn of(errno: Errno) -> Failure {
        match errno {
            Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => {
                Failure::Never(errno)
            }
            // nfnetlink's answer to a subsystem it has not got.
            Errno::INVAL => Failure::Never(errno),
            _ => Failure::Later(errno),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Never(Errno::PERM | Errno::ACCESS) => f.write_str("no permission (CAP_NET_ADMIN)"),
            Failure::Never(errno) => write!(f, "this kernel has no ctnetlink: {errno}"),
            Failure::Later(errno) => errno.fmt(f),
        }
    }
}

/// The conntrack table of a network namespace: the one of the thread that opened it.
#[derive(Debug)]
pub(super) struct Table {
    reader: Socket,
    eraser: Eraser,
    locality: Locality,
    /// The kernel refused to select entries for us.
    is_unfiltered: bool,
}

impl Table {
    /// Opens the table.
    pub(super) fn open() -> Result<Table, Failure> {
        let open = || Socket::open(NETLINK_NETFILTER).map_err(Failure::of);
        let eraser = Eraser { socket: open()?, batch: Vec::with_capacity(BATCH), deleted: 0, failed: None };
        Ok(Table { reader: open()?, eraser, locality: Locality::default(), is_unfiltered: false })
    }

    /// Deletes the flows that `is_stale` says are; how many there were. The second argument tells whether an address is the node's.
    pub(super) fn sweep(
        &mut self,
        family: Family,
        questions: &[Question],
        mut is_stale: impl FnMut(&Flow, &mut Locality) -> bool,
    ) -> Result<usize, Failure> {
        self.locality.forget();
        self.eraser.deleted = 0;
        for question in questions {
            let question = if self.is_unfiltered { Question::Everything } else { *question };
            let mut walked = self.walk(family, question, &mut is_stale);
            if walked == Err(Errno::INVAL) && question != Question::Everything {
                self.is_unfiltered = true;
                walked = self.walk(family, Question::Everything, &mut is_stale);
            }
            walked.map_err(Failure::of)?;
            if self.is_unfiltered {
                break;
            }
        }
        Ok(self.eraser.deleted)
    }

    fn walk(
        &mut self,
        family: Family,
        question: Question,
        is_stale: &mut impl FnMut(&Flow, &mut Locality) -> bool,
    ) -> Result<(), Errno> {
        let Table { reader, eraser, locality, .. } = self;
        let mut w = Writer::default();
        wire::dump(&mut w, family, question, reader.take_numbers(1));
        let answers = reader.ask(&w.bytes, |message| {
            let body = message.body().filter(|_| message.kind == wire::ENTRY);
            let flow = body.and_then(|(_, body)| wire::entry(body, family));
            if let Some(flow) = flow.filter(|flow| is_stale(flow, locality)) {
                eraser.add(family, flow);
            }
        })?;
        eraser.flush(family);
        match answers.errors.first().copied().or(eraser.failed.take()) {
            Some(errno) => Err(errno),
            None if answers.is_interrupted || !answers.is_complete => Err(Errno::INTR),
            None => Ok(()),
        }
    }
}

/// Deletes entries over a socket of its own, so that a dump may go on meanwhile.
#[derive(Debug)]
struct Eraser {
    socket: Socket,
    batch: Vec<Flow>,
    deleted: usize,
    failed: Option<Errno>,
}

impl Eraser {
    fn add(&mut self, family: Family, flow: Flow) {
        self.batch.push(flow);
        if self.batch.len() == BATCH {
            self.flush(family);
        }
    }

    fn flush(&mut self, family: Family) {
        let batch = std::mem::take(&mut self.batch);
        if let (false, Err(errno)) = (batch.is_empty(), self.delete(family, &batch)) {
            self.failed = self.failed.or(Some(errno));
        }
        self.batch = batch;
        self.batch.clear();
    }

    /// Only the last message asks for an answer; the others answer only if they fail.
    fn delete(&mut self, family: Family, flows: &[Flow]) -> Result<(), Errno> {
        let first = self.socket.take_numbers(flows.len());
        let mut w = Writer::with_capacity(flows.len() * 128);
        for (at, flow) in flows.iter().enumerate() {
            wire::delete(&mut w, family, flow, first.wrapping_add(at as u32), at + 1 == flows.len());
        }
        let answers = self.socket.ask(&w.bytes, |_| ())?;
        self.deleted += flows.len().saturating_sub(answers.errors.len());
        // Gone already, or in the hands of a flow table, which lets it go in its own time.
        let trouble = answers.errors.iter().find(|errno| !matches!(**errno, Errno::NOENT | Errno::BUSY));
        match (trouble, answers.is_complete) {
            (Some(errno), _) => Err(*errno),
            (None, false) => Err(Errno::NOBUFS),
            (None, true) => Ok(()),
        }
    }
}
