//! From a ruleset to the kernel: the difference as a transaction (pure), and the targets that commit it.

mod compare;
mod diff;
mod drift;
pub mod grouped;
pub mod iptables;
pub mod memory;
pub mod netlink;
mod outline;
pub mod print;
mod staged;
pub mod target;
pub mod transaction;
pub mod unified;

pub use compare::{compare, learn, seed};
pub use diff::{diff, rebuild};
pub use drift::drift;
pub use outline::deviation;
pub use staged::staged;
