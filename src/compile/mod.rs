//! From routes to a ruleset: treatments, names, slots, and the lowering to the kernel's expressions. Pure.

pub mod bytes;
pub mod expr;
pub mod print;
pub mod ruleset;
pub mod stmt;
pub mod walk;
