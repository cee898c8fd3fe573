//! The kernel as a target: our own encoder for nf_tables over netlink, and its socket.
//!
//! One transaction is one batch in one `sendmsg`; the kernel commits it whole or not at all. Success is the ack of the batch's last
//! real message and no error at all.

mod batch;
mod chain;
mod commit;
mod dump;
mod element;
mod errno;
mod expr;
mod field;
mod message;
mod outline;
mod probe;
mod set;
mod socket;
mod table;
mod userdata;

pub use probe::{FamilySupport, Probe};
pub use socket::Trouble;

use crate::netlink::attr;
use batch::{Batch, Options};
use rustix::io::Errno;
use socket::Socket;
use table::Wanted;

use super::staged::staged;
use super::target::{CommitError, Counted, Live, Outcome, Outline, Receipt, Target};
use super::transaction::{Op, Transaction};
use crate::compile::ruleset::{Name, SetDef};
use crate::model::{Family, PerFamily};

/// nf_tables of one network namespace: the one of the thread that opened it.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    wanted: Wanted,
}

/// A transaction as the bytes of one batch.
#[derive(Debug)]
pub struct Encoded(Batch);

impl Encoded {
    /// The length of the batch in bytes.
    pub fn len(&self) -> usize {
        self.0.bytes().len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.0.bytes().is_empty()
    }
}

impl Netlink {
    /// Opens nf_tables in this thread's network namespace.
    ///
    /// # Errors
    /// A [`CommitError`] that says what is missing: CAP_NET_ADMIN, or nf_tables in the kernel.
    pub fn open() -> Result<Netlink, CommitError> {
        let mut netlink = Netlink { socket: Socket::open()?, wanted: Wanted::Free };
        match netlink.generation() {
            Ok(_) => Ok(netlink),
            Err(error) => Err(explain_open(error)),
        }
    }

    /// Commits like [`Target::commit`], but only if the generation of the ruleset is still this one; else ERESTART, to retry.
    pub fn commit_at(&mut self, transaction: &Transaction, generation: Option<u32>) -> Receipt {
        commit::commit(&mut self.socket, transaction, Options { generation, flags: Some(self.wanted), dry_run: false })
    }

    /// Encodes a transaction without sending it, to measure the two apart. Send it before anything else goes over this socket.
    pub fn encode(&self, transaction: &Transaction) -> Encoded {
        let touched: Vec<_> = transaction.touched().collect();
        Encoded(Batch::encode(
            transaction,
            &touched,
            self.socket.seq(),
            Options { flags: Some(self.wanted), ..Options::default() },
        ))
    }

    /// Sends what was encoded before.
    ///
    /// # Errors
    /// A [`CommitError`] without names: those are in the transaction.
    pub fn send(&mut self, encoded: &Encoded) -> Result<(), CommitError> {
        commit::send_encoded(&mut self.socket, &encoded.0)
    }

    /// Lets the kernel validate a transaction and discard it. Nothing changes, not even the generation.
    pub fn check(&mut self, transaction: &Transaction) -> Receipt {
        commit::commit(&mut self.socket, transaction, Options { dry_run: true, ..Options::default() })
    }

    /// From now on makes the tables of these families so that nobody but this socket may change them, and that they stay when it is
    /// closed (`flags owner, persist`; Linux 6.9). Says whether the kernel can; where not, nothing changes.
    pub fn own_tables(&mut self, families: &[Family]) -> bool {
        let anew = |family| match families.contains(&family) {
            true => vec![Op::AddTable, Op::DeleteTable, Op::AddTable],
            false => Vec::new(),
        };
        let options = Options { dry_run: true, flags: Some(Wanted::Owned), ..Options::default() };
        let receipt = commit::commit(&mut self.socket, &Transaction { families: PerFamily::from_fn(anew) }, options);
        let can = receipt.families.iter().all(|(_, outcome)| *outcome == Outcome::Done);
        if can {
            self.wanted = Wanted::Owned;
        }
        can
    }

    /// Lets the next batches meet these troubles, first to last: for tests of what follows.
    pub fn plan_troubles(&mut self, troubles: impl IntoIterator<Item = Trouble>) {
        self.socket.plan(troubles);
    }

    /// Whether a process owns this family's table: then only it can change it, and dry runs of others are refused too.
    ///
    /// # Errors
    /// [`CommitError`] when the kernel does not answer.
    pub fn is_owned(&mut self, family: Family) -> Result<bool, CommitError> {
        table::is_owned(&mut self.socket, family)
    }

    /// Finds out what this kernel lacks of what ferroproxy needs, in dry runs.
    ///
    /// # Errors
    /// [`CommitError`] when the kernel does not answer.
    pub fn probe(&mut self) -> Result<Probe, CommitError> {
        probe::probe(self)
    }
}

impl Target for Netlink {
    fn commit(&mut self, transaction: &Transaction) -> Receipt {
        let Some((before, mut rest)) = staged(transaction) else { return self.commit_at(transaction, None) };
        let first = self.commit_at(&before, None);
        for (family, outcome) in first.families.iter() {
            if *outcome != Outcome::Done {
                rest.families.get_mut(family).clear();
            }
        }
        let then = self.commit_at(&rest, None);
        first.followed_by(then)
    }

    fn read_back(&mut self) -> Result<Live, CommitError> {
        dump::read_back(&mut self.socket, self.wanted)
    }

    fn generation(&mut self) -> Result<u32, CommitError> {
        dump::generation(&mut self.socket)
    }

    fn counted(&mut self, family: Family, set: &Name, def: &SetDef) -> Result<Vec<Counted>, CommitError> {
        dump::counted(&mut self.socket, family, set, &def.key)
    }

    fn outline(&mut self) -> Result<Outline, CommitError> {
        outline::outline(&mut self.socket, self.wanted)
    }
}

fn explain_open(mut error: CommitError) -> CommitError {
    error.message = match error.errno.map(Errno::from_raw_os_error) {
        Some(Errno::PERM) => {
            "nf_tables refuses: ferroproxy needs CAP_NET_ADMIN in this network namespace (run it as root, or give \
                              its container NET_ADMIN and the host network)"
                .to_owned()
        }
        Some(Errno::INVAL | Errno::OPNOTSUPP) => {
            "this kernel has no nf_tables (CONFIG_NF_TABLES, module nf_tables)".to_owned()
        }
        _ => error.message,
    };
    error
}
