//! What the rules depend on besides the services.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::manners::{Locality, Manners};
use crate::model::{Family, PerFamily};

/// The addresses node ports of one family answer on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePorts {
    /// All local addresses but loopback.
    #[default]
    All,
    /// These and no others: nowhere when there is none.
    On(BTreeSet<IpAddr>),
}

/// What the rules depend on besides the services: configuration, the own Node, the ServiceCIDRs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The families to write tables for.
    pub families: Vec<Family>,
    /// The bit of the packet mark that asks for a masquerade, as a mask.
    pub masquerade_mark: u32,
    /// Whether all cluster-IP traffic is masqueraded.
    pub masquerade_all: bool,
    /// Who is local to the cluster.
    pub locality: PerFamily<Locality>,
    /// Where node ports answer.
    pub node_ports: PerFamily<NodePorts>,
    /// The ranges cluster IPs come from.
    pub service_cidrs: Vec<IpNet>,
    /// Whether the new connections to each frontend are counted.
    pub count_connections: bool,
    /// The node's main address of each family, if it is known.
    pub node_ips: PerFamily<Option<IpAddr>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            families: Family::ALL.to_vec(),
            masquerade_mark: 1 << 14,
            masquerade_all: false,
            locality: PerFamily::default(),
            node_ports: PerFamily::default(),
            service_cidrs: Vec::new(),
            count_connections: false,
            node_ips: PerFamily::default(),
        }
    }
}

impl Settings {
    /// What the shared chains of a family need to know.
    pub fn manners(&self, family: Family) -> Manners {
        let locality = self.locality.get(family).clone();
        Manners {
            locality,
            masquerade_all: self.masquerade_all,
            node_ip: *self.node_ips.get(family),
            count_connections: self.count_connections,
        }
    }

    /// The same for both families.
    pub fn all_manners(&self) -> PerFamily<Manners> {
        PerFamily::from_fn(|family| self.manners(family))
    }

    /// The addresses node ports of a family answer on; `None` means all local ones but loopback.
    pub fn node_port_ips(&self, family: Family) -> Option<&BTreeSet<IpAddr>> {
        match self.node_ports.get(family) {
            NodePorts::All => None,
            NodePorts::On(ips) => Some(ips),
        }
    }

    /// The ServiceCIDRs of a family, overlapping and adjacent ones joined.
    pub fn joined_service_cidrs(&self, family: Family) -> Vec<IpNet> {
        let of_family: Vec<IpNet> =
            self.service_cidrs.iter().filter(|net| Family::of_net(**net) == family).map(IpNet::trunc).collect();
        IpNet::aggregate(&of_family)
    }
}
