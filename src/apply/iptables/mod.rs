//! The classical chains as a target: `iptables-restore` and `iptables-save`, one process a table and family.
//!
//! A restore of one table takes effect whole or not at all; between tables there is no such promise. `iptables-nft-restore` is told what is large in portions: each
//! takes effect whole, chains before what leads to them.

mod command;
mod kernel;
mod lock;
pub mod memory;
mod save;
mod variant;

pub use kernel::IptablesKernel;
pub use lock::LockWait;
pub use save::parse;
pub use variant::{Survey, Variant};

use super::target::CommitError;
use crate::compile::iptables::{Existing, TableRestore};
use crate::model::Family;

/// A place that holds classical chains: the kernel, or memory in tests.
pub trait RestoreTarget: Send {
    /// Restores what one table of a family is told; other chains stay as they are. Answers the bytes sent.
    ///
    /// # Errors
    /// [`CommitError`] when it was refused: nothing of it is in force then. Only where the remedy is to compare, a part of it may be.
    fn restore(&mut self, family: Family, table: &TableRestore) -> Result<usize, CommitError>;

    /// Reads every chain of the three tables.
    ///
    /// # Errors
    /// [`CommitError`] when a table cannot be read.
    fn save(&mut self, family: Family) -> Result<Existing, CommitError>;

    /// The tables of a family in which our canary chain does not stand any more: somebody has flushed them.
    ///
    /// # Errors
    /// [`CommitError`] when that cannot be known.
    fn flushed(&mut self, family: Family) -> Result<Vec<&'static str>, CommitError>;

    /// The generation of the namespace's rules, where there is such a thing: it changes with every commit by anyone.
    fn generation(&mut self) -> Option<u32>;

    /// What waiting for others' lock has cost since the last call.
    fn lock_wait(&mut self) -> LockWait;
}
