//! The packet walker: runs the first packet of a connection through a ruleset as the kernel would, and tells what it met.
//!
//! The machine follows `net/netfilter/nf_tables_core.c` (rules, jumps, returns), the way through the hooks follows
//! `nf_nat_inet_fn` in `net/netfilter/nf_nat_core.c` (NAT chains until one binds).

mod expression;
mod hooks;
mod learned;
mod machine;
mod outcome;
mod packet;
mod program;
mod registers;
mod trace;

pub use hooks::{walk, walk_next};
pub use learned::Learned;
pub use outcome::{Outcome, possible_destinations, possible_traces};
pub use packet::{Environment, Origin, Packet};
pub use program::{Program, Programs};
pub use trace::{Event, Fate, Fault, Hit, Reason, Step, Trace};

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod machine_tests;
#[cfg(test)]
mod path_tests;
