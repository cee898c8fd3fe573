//! What the settings of one family say to the shared chains.

use std::net::IpAddr;

use super::ruleset::Field;
use super::stmt::{Is, Stmt};
use crate::model::Family;

/// Who counts as local to the cluster, in one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Locality {
    /// Nobody can tell.
    #[default]
    Unknown,
    /// Sources inside a network.
    Inside(ipnet::IpNet),
    /// What came in by an interface with this name (or this beginning of a name).
    By {
        /// The name, or its beginning.
        interface: String,
        /// Whether `interface` is only the beginning.
        prefix: bool,
    },
}

impl Locality {
    /// The match for sources that are local (or are not); `None` when nobody can tell.
    pub(super) fn matching(&self, family: Family, is: Is) -> Option<Stmt> {
        match self {
            Locality::Unknown => None,
            Locality::Inside(net) => Some(Stmt::Net(Field::Saddr(family), is, *net)),
            Locality::By { interface, prefix } => {
                Some(Stmt::InputInterface { name: interface.clone(), prefix: *prefix, is })
            }
        }
    }
}

/// What chains need to know of the settings in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manners {
    /// Who is local.
    pub locality: Locality,
    /// Whether all cluster-IP traffic is masqueraded.
    pub masquerade_all: bool,
    /// The node's own address: source ranges that hold it admit the load-balancer IPs themselves.
    pub node_ip: Option<IpAddr>,
    /// Whether the new connections to each frontend are counted.
    pub count_connections: bool,
}

impl Manners {
    /// Whether cluster-IP traffic needs an entry of its own.
    pub fn has_internal_entry(&self) -> bool {
        self.masquerade_all || self.locality != Locality::Unknown
    }
}
