//! kube-proxy's nftables mode: the table `kube-proxy`, read over netlink. No nft binary is needed.

mod dump;
mod expr;
mod machine;
mod set;
mod table;

pub use dump::{Nft, Strict, TABLE};
pub use table::Table;
