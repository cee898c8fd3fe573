//! What is known of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::merge::{Endpoint, merge_endpoints};
use super::slices::Slices;
use crate::model::{Family, Node, ObjectName, Service, ServiceCidr, ServicePort};

/// Everything known that can reach a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Services and the slices that name them, also slices whose Service is not known (yet).
    pub services: BTreeMap<ObjectName, ServiceEntry>,
    /// The own Node. When its object is gone: as it was last, and `deleting`.
    pub node: Option<Node>,
    /// ServiceCIDRs by name.
    pub service_cidrs: BTreeMap<String, ServiceCidr>,
    /// The addresses on this host's interfaces, loopback included; `None` while nobody has told.
    pub local_addresses: Option<BTreeSet<IpAddr>>,
}

/// A Service with its slices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceEntry {
    /// The Service; `None` while only slices are known.
    pub service: Option<Service>,
    /// Its slices by their own name.
    pub slices: Slices,
}

impl ServiceEntry {
    /// The endpoints of a port in one family, merged from all slices, as seen from a node.
    pub fn endpoints(&self, port: &ServicePort, family: Family, node: &str) -> Vec<Endpoint<'_>> {
        merge_endpoints(self.slices.values(), (&port.name, port.protocol), family, node)
    }
}

impl Snapshot {
    /// Removes an entry that holds nothing any more.
    pub(super) fn tidy(&mut self, name: &ObjectName) {
        if self.services.get(name).is_some_and(|entry| entry.service.is_none() && entry.slices.is_empty()) {
            self.services.remove(name);
        }
    }
}
