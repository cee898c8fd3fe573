//! What kube-proxy left in the kernel: its rules read back and asked what they would do with a packet, and everything of it removed.
//!
//! The room stands beside the pipeline: it knows nothing of Services, of ferroproxy's own rules or of how they are made. `cli` puts the same
//! questions to both and compares the answers.

pub mod cleanup;
mod draws;
pub mod ipset;
pub mod iptables;
pub mod ipvs;
mod left;
pub mod link;
pub mod nft;
mod packet;
pub mod process;
mod socket;
mod way;

pub use left::{Kind, Left, find};
pub use packet::{Fate, Frontend, Outcome, Packet, Step, Unread, Walk};
