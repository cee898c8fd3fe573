//! kube-proxy's iptables mode: what `iptables-save` prints, read, walked and cut out.

mod chains;
mod cut;
mod forward;
mod frontends;
mod machine;
mod parse;
mod programs;
mod rule;

pub(super) use chains::OF_FERROPROXY;
pub use chains::is_of_kube_proxy;
pub use cut::{Cut, cut};
pub use forward::{ForwardVerdict, forward};
pub use frontends::{admitted, frontends, local_networks, stickiness};
pub use machine::Own;
pub use parse::{Save, parse};
pub use programs::{Programs, Variant, legacy_tables, programs};
