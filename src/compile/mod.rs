//! From routes to a ruleset: treatments, names, slots, and the lowering to the kernel's expressions. Pure.

pub mod affinity;
pub mod bytes;
pub mod claims;
mod compiler;
pub mod draft;
pub mod elements;
mod emission;
pub mod expr;
mod frame;
pub mod iptables;
pub mod layout;
pub mod lower;
pub mod manners;
pub mod print;
pub mod ruleset;
pub mod seed;
pub mod settings;
pub mod slots;
pub mod stmt;
pub mod treatment;

pub use compiler::Compiler;
pub mod walk;
