//! The netlink socket: requests that are answered at once, and batches that are one transaction each.

use std::collections::VecDeque;

use netlink_sys::{Socket as NetlinkSocket, SocketAddr, protocols::NETLINK_NETFILTER};
use rustix::io::Errno;
use rustix::net::{RecvFlags, sockopt};

use super::attr::{by_kind, str_of};
use super::errno;
use super::message::{ACK_TLVS, CAPPED, DONE, ERROR, Received, messages};
use crate::apply::target::{CommitError, Remedy};
use crate::netlink::message::NL_HEADER;

/// The send buffer asked for: what the kernel allows at most; nothing is reserved by asking.
const SEND_BUFFER: usize = i32::MAX as usize / 2;

/// The receive buffer asked for: dumps come in pieces, errors one message each.
const RECEIVE_BUFFER: usize = 16 << 20;

/// One datagram at most: the kernel makes dumps no longer than what is read at once, and 32 KiB at most.
const DATAGRAM: usize = 1 << 18;

/// A message the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The message's number.
    pub(super) seq: u32,
    /// The errno, positive.
    pub(super) errno: i32,
    /// Where in the message, from its beginning.
    pub(super) offset: Option<usize>,
    /// The kernel's words.
    pub(super) words: Option<String>,
}

/// Why there is no positive answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The kernel refused it, and nothing of it is in force.
    Refused(Vec<Refusal>),
    /// It was not sent, or what became of it is not known.
    Trouble(CommitError),
}

/// An open netlink socket to nf_tables.
#[derive(Debug)]
pub(super) struct Socket {
    inner: NetlinkSocket,
    seq: u32,
    /// Whether the send buffer has only the size any process may have.
    is_limited: bool,
    datagram: Vec<u8>,
    /// Troubles that tests have planned for the next batches.
    planned: VecDeque<Trouble>,
}

/// A trouble of the socket, for tests: what the kernel may answer at any time, and cannot be made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The batch is not sent, with this errno.
    Unsent(i32),
    /// The batch is committed, and its answer is lost with this errno.
    Unanswered(i32),
    /// Nothing happens.
    None,
}

impl Socket {
    /// Opens a socket in this thread's network namespace.
    pub(super) fn open() -> Result<Socket, CommitError> {
        let failed = |what: &str, error: std::io::Error| {
            trouble(
                error.raw_os_error(),
                Remedy::GiveUp,
                format!("cannot {what} the nf_tables netlink socket: {error}"),
            )
        };
        let mut inner = NetlinkSocket::new(NETLINK_NETFILTER).map_err(|e| failed("open", e))?;
        inner.bind(&SocketAddr::new(0, 0)).map_err(|e| failed("bind", e))?;
        inner.set_cap_ack(true).map_err(|e| failed("set up", e))?;
        inner.set_ext_ack(true).map_err(|e| failed("set up", e))?;
        let is_limited = sockopt::set_socket_send_buffer_size_force(&inner, SEND_BUFFER).is_err();
        if is_limited {
            sockopt::set_socket_send_buffer_size(&inner, SEND_BUFFER).map_err(|e| failed("set up", e.into()))?;
        }
        if sockopt::set_socket_recv_buffer_size_force(&inner, RECEIVE_BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&inner, RECEIVE_BUFFER).map_err(|e| failed("set up", e.into()))?;
        }
        Ok(Socket { inner, seq: 0, is_limited, datagram: vec![0; DATAGRAM], planned: VecDeque::new() })
    }

    /// Plans troubles for the next batches, first to last.
    pub(super) fn plan(&mut self, troubles: impl IntoIterator<Item = Trouble>) {
        self.planned.extend(troubles);
    }

    /// The number of the last message.
    pub(super) fn seq(&self) -> u32 {
        self.seq
    }

    /// Sends messages as one datagram. `last_seq` is the number of the last one.
    fn send(&mut self, bytes: &[u8], last_seq: u32) -> Result<(), CommitError> {
        while self.receive(|_| ())? {}
        self.seq = last_seq;
        match self.inner.send(bytes, 0) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.send_error(bytes.len(), &error)),
        }
    }

    fn send_error(&self, len: usize, error: &std::io::Error) -> CommitError {
        let number = error.raw_os_error().unwrap_or(0);
        let mut message = format!("cannot send {len} bytes to nf_tables: {error}");
        if self.is_limited && number == Errno::MSGSIZE.raw_os_error() {
            let limit = sockopt::socket_send_buffer_size(&self.inner).unwrap_or(0);
            message += &format!(
                "; one transaction is one message, and the send buffer is limited to {limit} bytes: give ferroproxy CAP_NET_ADMIN in \
                 the initial user namespace, or raise net.core.wmem_max to {len} or more"
            );
        }
        trouble(Some(number), errno::remedy(number), message)
    }

    /// Sends a batch and waits for nothing: when the call returns, the kernel has done it and its answers are here.
    pub(super) fn transact(&mut self, bytes: &[u8], acked_seq: u32, last_seq: u32) -> Result<(), Failure> {
        let planned = self.planned.pop_front().unwrap_or(Trouble::None);
        if let Trouble::Unsent(errno) = planned {
            return Err(Failure::Trouble(self.send_error(bytes.len(), &std::io::Error::from_raw_os_error(errno))));
        }
        self.send(bytes, last_seq).map_err(Failure::Trouble)?;
        if let Trouble::Unanswered(errno) = planned {
            return Err(Failure::Trouble(lost(Some(errno), &std::io::Error::from_raw_os_error(errno).to_string())));
        }
        let (mut acked, mut refusals) = (false, Vec::new());
        let mut read = |message: Received<'_>| match refusal(&message) {
            Some(refusal) => refusals.push(refusal),
            None => acked |= message.kind == ERROR && message.seq == acked_seq,
        };
        while self.receive(&mut read).map_err(Failure::Trouble)? {}
        match (refusals.is_empty(), acked) {
            (false, _) => Err(Failure::Refused(refusals)),
            (true, true) => Ok(()),
            (true, false) => {
                let message = "the kernel did not confirm the transaction".to_owned();
                Err(Failure::Trouble(trouble(None, Remedy::Resync, message)))
            }
        }
    }

    /// Sends one request and hands on every message of the answer. `is_dump`: the answer ends with a message that says so.
    pub(super) fn request(
        &mut self,
        bytes: &[u8],
        is_dump: bool,
        mut each: impl FnMut(Received<'_>),
    ) -> Result<(), Failure> {
        let seq = self.seq.wrapping_add(1);
        self.send(bytes, seq).map_err(Failure::Trouble)?;
        let (mut refusals, mut is_done) = (Vec::new(), false);
        let mut read = |message: Received<'_>| match refusal(&message) {
            _ if message.seq != seq => {}
            Some(refusal) => refusals.push(refusal),
            None if message.kind == DONE => is_done = true,
            None if message.kind == ERROR => {}
            None => each(message),
        };
        while self.receive(&mut read).map_err(Failure::Trouble)? {}
        match (refusals.is_empty(), is_done || !is_dump) {
            (false, _) => Err(Failure::Refused(refusals)),
            (true, true) => Ok(()),
            (true, false) => {
                Err(Failure::Trouble(trouble(None, Remedy::Retry, "the kernel broke off a dump".to_owned())))
            }
        }
    }

    /// Reads one datagram if there is one. The kernel answers before `send` returns, so there is nothing to wait for.
    fn receive(&mut self, mut each: impl FnMut(Received<'_>)) -> Result<bool, CommitError> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let (_, len) = match rustix::net::recv(&self.inner, &mut self.datagram[..], flags) {
            Ok(read) => read,
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::INTR) => return Ok(true),
            Err(error) => return Err(lost(Some(error.raw_os_error()), &error.to_string())),
        };
        let datagram = self.datagram.get(..len).ok_or_else(|| lost(None, "longer than the buffer"))?;
        messages(datagram).for_each(&mut each);
        Ok(true)
    }
}

/// What became of the batch is not known.
fn lost(errno: Option<i32>, why: &str) -> CommitError {
    trouble(errno, Remedy::Resync, format!("an answer of nf_tables was lost ({why}): what it did is not known"))
}

/// An error without an object.
pub(super) fn trouble(errno: Option<i32>, remedy: Remedy, message: String) -> CommitError {
    CommitError { remedy, errno, message, element: None }
}

/// The error in a message, if it is one: also a dump's end carries one.
fn refusal(message: &Received<'_>) -> Option<Refusal> {
    if !matches!(message.kind, ERROR | DONE) {
        return None;
    }
    let number = i32::from_ne_bytes(message.payload.get(..4)?.try_into().ok()?);
    if number == 0 {
        return None;
    }
    let [_, words, offset] = by_kind::<3>(tlvs(message).unwrap_or_default());
    let offset = offset.and_then(|o| Some(u32::from_ne_bytes(o.try_into().ok()?) as usize));
    let words = str_of(words).map(str::to_owned);
    Some(Refusal { seq: message.seq, errno: number.saturating_neg(), offset, words })
}

/// The attributes behind the error number and what it answers: the refused message's header, or all of it.
fn tlvs<'a>(message: &Received<'a>) -> Option<&'a [u8]> {
    if message.flags & ACK_TLVS == 0 || message.kind != ERROR {
        return None;
    }
    let refused = message.payload.get(4..)?;
    let len = u32::from_ne_bytes(refused.get(..4)?.try_into().ok()?) as usize;
    let skip = if message.flags & CAPPED != 0 { NL_HEADER } else { len.next_multiple_of(4) };
    refused.get(skip..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(number: i32, flags: u16, rest: &[u8]) -> Vec<u8> {
        [&number.to_ne_bytes()[..], &[0; NL_HEADER], rest].concat().into_iter().chain(flags.to_ne_bytes()).collect()
    }

    fn read(bytes: &[u8]) -> Option<Refusal> {
        let (payload, flags) = bytes.split_at(bytes.len() - 2);
        let flags = u16::from_ne_bytes([flags[0], flags[1]]);
        refusal(&Received { kind: ERROR, flags, seq: 9, payload })
    }

    #[test]
    fn an_ack_is_no_error() {
        assert_eq!(read(&error(0, 0, &[])), None);
    }

    #[test]
    fn an_error_tells_where_and_why() {
        let tlvs = b"\x07\0\x01\0no\0\0\x08\0\x02\0\x28\0\0\0";
        let expected = Refusal { seq: 9, errno: 23, offset: Some(0x28), words: Some("no".into()) };
        #[cfg(target_endian = "little")]
        assert_eq!(read(&error(-23, ACK_TLVS | CAPPED, tlvs)), Some(expected));
        assert_eq!(read(&error(-23, CAPPED, tlvs)).unwrap().words, None);
    }
}
