//! From a ruleset to the kernel: the difference as a transaction (pure), and the targets that commit it.

pub mod print;
pub mod target;
pub mod transaction;
