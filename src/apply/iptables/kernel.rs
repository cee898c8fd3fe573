//! The kernel, by way of the programs.

use std::mem::take;

use super::command::{run, succeeds};
use super::save::parse;
use super::{LockWait, RestoreTarget, Variant};
use crate::apply::netlink::Netlink;
use crate::apply::target::{CommitError, Remedy, Target};
use crate::compile::iptables::{CANARY, Existing, Table, TableRestore};
use crate::model::Family;

/// Seconds the programs wait for the lock before they say that they did not get it.
const WAIT: [&str; 2] = ["--wait", "5"];

/// The classical chains of one network namespace: the one of the calling thread.
#[derive(Debug)]
pub struct IptablesKernel {
    variant: Variant,
    lock: LockWait,
    /// Tells of commits by anybody; only nf_tables counts them.
    nf_tables: Option<Netlink>,
}

impl IptablesKernel {
    /// The kernel by this variant of the programs.
    pub fn new(variant: Variant) -> IptablesKernel {
        let nf_tables = (variant == Variant::Nft).then(|| Netlink::open().ok()).flatten();
        IptablesKernel { variant, lock: LockWait::default(), nf_tables }
    }

    /// The variant in use.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Only the old programs share the lock.
    fn await_turn(&mut self) {
        if self.variant == Variant::Legacy {
            self.lock.wait();
        }
    }
}

impl RestoreTarget for IptablesKernel {
    fn restore(&mut self, family: Family, table: &TableRestore) -> Result<usize, CommitError> {
        // The old program reads and writes the whole table for every portion.
        let portions = match self.variant {
            Variant::Nft => table.portions(),
            Variant::Legacy => Vec::new(),
        };
        let text = match &portions[..] {
            [] | [_] => table.input(),
            _ => portions.iter().map(TableRestore::input).collect(),
        };
        self.await_turn();
        let args = [&["--noflush", "--counters"], &WAIT[..]].concat();
        let told = run(&self.variant.program(family, "-restore"), &args, Some(&text));
        // The portions before the one that failed are in force.
        told.map_err(|error| match portions.len() {
            0 | 1 => error,
            _ => CommitError { remedy: error.remedy.or_resync(), ..error },
        })?;
        Ok(text.len())
    }

    fn save(&mut self, family: Family) -> Result<Existing, CommitError> {
        let mut existing = Existing::new();
        for table in Table::ALL {
            let program = self.variant.program(family, "-save");
            let text = run(&program, &["-t", table.name()], None)?;
            if text.contains("incompatible") && !text.contains("COMMIT") {
                let message = format!("{program}: the table {} holds rules that only nft can read", table.name());
                return Err(CommitError { remedy: Remedy::GiveUp, errno: None, message, element: None });
            }
            existing.insert(table, parse(&text));
        }
        Ok(existing)
    }

    /// The old programs read a whole table for one chain of it, so there only the small one is looked at.
    fn flushed(&mut self, family: Family) -> Result<Vec<&'static str>, CommitError> {
        let tables: &[Table] = match self.variant {
            Variant::Nft => &Table::ALL,
            Variant::Legacy => &[Table::Mangle],
        };
        let mut flushed = Vec::new();
        for table in tables {
            let args = [&WAIT[..], &["-t", table.name(), "-S", CANARY]].concat();
            if !succeeds(&self.variant.program(family, ""), &args)? {
                flushed.push(table.name());
            }
        }
        Ok(flushed)
    }

    fn generation(&mut self) -> Option<u32> {
        self.nf_tables.as_mut()?.generation().ok()
    }

    fn lock_wait(&mut self) -> LockWait {
        take(&mut self.lock)
    }
}
