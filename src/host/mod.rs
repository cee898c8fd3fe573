//! The node beside its rules: conntrack sysctls, stale conntrack entries, and the process's OOM score.
//!
//! Paths are taken below a root directory (`/` in production), so that tests run on a directory of their own. What cannot
//! be set is a warning, never an end: the rules work without it.

mod conntrack;
mod cores;
mod oom;
mod sysctl;

pub use conntrack::{Announcement, Conntrack, Frontend, NodePortScope, PortFlows};
pub use cores::cores;
pub use oom::set_oom_score;
pub use sysctl::{apply_conntrack, conntrack_values};
