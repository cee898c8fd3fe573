//! The settings of the rules, from the configuration and what is known of the node and the cluster.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::compile::settings::{NodePorts, Settings};
use crate::compile::treatment::Locality;
use crate::model::{Config, Family, LocalDetector, Node, NodePortAddresses, PerFamily};
use crate::state::Snapshot;

/// The settings for what is known now.
pub fn settings(config: &Config, snapshot: &Snapshot, families: &[Family]) -> Settings {
    let node = snapshot.node.as_ref();
    Settings {
        families: families.to_vec(),
        masquerade_mark: 1 << config.masquerade_bit,
        masquerade_all: config.masquerade_all,
        locality: PerFamily::from_fn(|family| locality(&config.detector, node, family)),
        node_ports: node_ports(config, node),
        node_ips: PerFamily::from_fn(|family| primary(config, node, family)),
        service_cidrs: snapshot.service_cidrs.values().flat_map(|cidr| cidr.cidrs.iter().copied()).collect(),
    }
}

/// Whether rules cannot be written before the own Node is known, and before it has what is asked of it.
pub fn waits_for_node(config: &Config, node: Option<&Node>, node_was_told: bool) -> bool {
    match (&config.detector, &config.node_port_addresses) {
        (LocalDetector::NodeCidr, _) => node.is_none_or(|node| node.pod_cidrs.is_empty()),
        (_, NodePortAddresses::Primary) => !node_was_told,
        _ => false,
    }
}

fn locality(detector: &LocalDetector, node: Option<&Node>, family: Family) -> Locality {
    let inside = |net: Option<IpNet>| net.map_or(Locality::Unknown, Locality::Inside);
    match detector {
        LocalDetector::None => Locality::Unknown,
        LocalDetector::ClusterCidr(nets) => inside(*nets.get(family)),
        LocalDetector::NodeCidr => {
            inside(node.and_then(|node| node.pod_cidrs.iter().copied().find(|net| Family::of_net(*net) == family)))
        }
        LocalDetector::BridgeInterface(name) => Locality::By { interface: name.clone(), prefix: false },
        LocalDetector::InterfaceNamePrefix(name) => Locality::By { interface: name.clone(), prefix: true },
    }
}

fn node_ports(config: &Config, node: Option<&Node>) -> NodePorts {
    match &config.node_port_addresses {
        NodePortAddresses::All => NodePorts::All,
        NodePortAddresses::Primary => {
            NodePorts::On(Family::ALL.into_iter().filter_map(|family| primary(config, node, family)).collect())
        }
        NodePortAddresses::Cidrs(nets) => {
            let own = node.iter().flat_map(|node| node.internal_ips.iter().chain(&node.external_ips));
            NodePorts::On(own.copied().filter(|ip| nets.iter().any(|net| net.contains(ip))).collect())
        }
    }
}

/// The node's main address of a family: as bound, else its first InternalIP, else its first ExternalIP.
fn primary(config: &Config, node: Option<&Node>, family: Family) -> Option<IpAddr> {
    let of_family = |ips: &[IpAddr]| ips.iter().copied().find(|ip| Family::of(*ip) == family);
    let bound = config.bind_address.filter(|ip| Family::of(*ip) == family && !ip.is_unspecified());
    bound.or_else(|| node.and_then(|node| of_family(&node.internal_ips).or_else(|| of_family(&node.external_ips))))
}
