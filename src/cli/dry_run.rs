//! `run --dry-run`: a target that reads the kernel once, and from then on only tells what it would commit.

use anyhow::Context;
use jiff::Timestamp;
use tracing::info;

use super::gather::say;
use crate::apply::iptables::memory::IptablesMemory;
use crate::apply::iptables::{IptablesKernel, LockWait, RestoreTarget};
use crate::apply::memory::Memory;
use crate::apply::netlink::Netlink;
use crate::apply::target::{CommitError, Live, Receipt, Target};
use crate::apply::transaction::Transaction;
use crate::compile::iptables::{Existing, TableRestore};
use crate::model::Family;

/// The tables as they would be by now, in memory: each transaction is the difference to the one before.
pub(super) struct DryRun {
    would_be: Memory,
}

impl DryRun {
    /// Begins with what the kernel holds now.
    pub(super) fn begin(kernel: &mut Netlink) -> anyhow::Result<DryRun> {
        let live = kernel.read_back().context("cannot read the kernel's rules")?;
        let mut would_be = Memory::default();
        would_be.live = live;
        Ok(DryRun { would_be })
    }
}

impl Target for DryRun {
    fn commit(&mut self, transaction: &Transaction) -> Receipt {
        let receipt = self.would_be.commit(transaction);
        info!(operations = transaction.weight(), "this would be committed");
        let text = format!("# {}: {} operations\n{transaction}\n", Timestamp::now(), transaction.weight());
        // Nobody reads any more: the log still tells.
        let _ = say(&text);
        receipt
    }

    fn read_back(&mut self) -> Result<Live, CommitError> {
        self.would_be.read_back()
    }

    fn generation(&mut self) -> Result<u32, CommitError> {
        self.would_be.generation()
    }
}

/// The same for the classical chains.
pub(super) struct DryRunChains {
    would_be: IptablesMemory,
}

impl DryRunChains {
    /// Begins with what the kernel holds now.
    pub(super) fn begin(kernel: &mut IptablesKernel, families: &[Family]) -> anyhow::Result<DryRunChains> {
        let mut would_be = IptablesMemory::default();
        for family in families {
            *would_be.live.get_mut(*family) = kernel.save(*family).context("cannot read the kernel's rules")?;
        }
        Ok(DryRunChains { would_be })
    }
}

impl RestoreTarget for DryRunChains {
    fn restore(&mut self, family: Family, table: &TableRestore) -> Result<usize, CommitError> {
        let bytes = self.would_be.restore(family, table)?;
        self.would_be.told.clear();
        info!(%family, table = table.table.name(), rules = table.rules(), "this would be restored");
        // Nobody reads any more: the log still tells.
        let _ = say(&format!("# {}: {family}\n{table}\n", Timestamp::now()));
        Ok(bytes)
    }

    fn save(&mut self, family: Family) -> Result<Existing, CommitError> {
        self.would_be.save(family)
    }

    fn flushed(&mut self, family: Family) -> Result<Vec<&'static str>, CommitError> {
        self.would_be.flushed(family)
    }

    fn generation(&mut self) -> Option<u32> {
        self.would_be.generation()
    }

    fn lock_wait(&mut self) -> LockWait {
        self.would_be.lock_wait()
    }
}
