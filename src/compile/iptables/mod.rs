//! The second lowering: from routes to the classical chains, by the names people and tools know.
//!
//! A service port has chains of its own in `nat` and lines in the chains all services share. Nothing is kept as text: chains are written out
//! when they change, from the routes.

mod compiler;
mod dispatch;
mod frame;
mod learning;
pub mod names;
mod pending;
mod port;
mod portions;
pub mod restore;
mod rule;
mod service;
mod settings;
mod shared;
mod wanted;

pub use compiler::{Contribution, IptablesCompiler};
pub use frame::{CANARY, JUMPS, Jump, MARK, is_ours};
pub use learning::{removal, unmark};
pub use pending::{Existing, Measure};
pub use restore::{Edited, Restore, TableRestore};
pub use rule::{canonical, words};
pub use settings::Settings;

/// A table of the classical filter. In the order in which they are restored: what refuses stands before what redirects goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `filter`.
    Filter,
    /// `nat`.
    Nat,
    /// `mangle`: only a canary chain stands there.
    Mangle,
}

impl Table {
    /// All of them, in the order of restoring.
    pub const ALL: [Table; 3] = [Table::Filter, Table::Nat, Table::Mangle];

    /// The name as iptables has it.
    pub fn name(self) -> &'static str {
        match self {
            Table::Filter => "filter",
            Table::Nat => "nat",
            Table::Mangle => "mangle",
        }
    }
}

#[cfg(test)]
mod tests;
