//! Choosing the usable endpoints of a service port, for the Cluster and for the Local policy.

use super::topology::{HintsIgnored, Topology};
use crate::model::EndpointAddr;
use crate::state::Endpoint;

/// The usable endpoints of a service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// For the Cluster policy: ready ones cut by topology, else serving terminating ones.
    pub cluster: Vec<EndpointAddr>,
    /// For the Local policy: ready ones on this node, else serving terminating ones on this node.
    pub local: Vec<EndpointAddr>,
    /// Usable endpoints on this node that are in either list: their traffic to themselves needs a masquerade.
    pub on_node: Vec<EndpointAddr>,
    /// How topology hints cut `cluster`.
    pub topology: Topology,
}

/// Chooses among the merged endpoints, for the node's name and zone.
pub fn choose(endpoints: &[Endpoint<'_>], node: &str, zone: Option<&str>) -> Choice {
    let ready: Vec<&Endpoint<'_>> = endpoints.iter().filter(|e| e.conditions.ready).collect();
    let topology = match ready.is_empty() {
        true => Topology::All(HintsIgnored::None),
        false => Topology::of(&ready, node, zone),
    };
    let cluster =
        or_terminating(addresses(ready.iter().copied().filter(|e| topology.admits(e, node, zone))), endpoints.iter());
    let local =
        or_terminating(addresses(ready.iter().copied().filter(|e| e.local)), endpoints.iter().filter(|e| e.local));
    let on_node = endpoints
        .iter()
        .filter(|e| e.local)
        .map(|e| e.addr)
        .filter(|addr| cluster.binary_search(addr).is_ok() || local.binary_search(addr).is_ok())
        .collect();
    Choice { cluster, local, on_node, topology }
}

fn addresses<'a, 'e: 'a>(endpoints: impl Iterator<Item = &'a Endpoint<'e>>) -> Vec<EndpointAddr> {
    endpoints.map(|e| e.addr).collect()
}

/// Falls back to endpoints that are terminating but still serving (KEP-1669), decided apart for each policy.
fn or_terminating<'a, 'e: 'a>(
    usable: Vec<EndpointAddr>,
    all: impl Iterator<Item = &'a Endpoint<'e>>,
) -> Vec<EndpointAddr> {
    match usable.is_empty() {
        true => addresses(all.filter(|e| e.conditions.serving && e.conditions.terminating)),
        false => usable,
    }
}
