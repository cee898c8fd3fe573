//! From what was asked to a packet: addresses for `pod`, `node` and `external`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, ensure};
use ipnet::IpNet;

use crate::cli::args::{Goal, Sender};
use crate::compile::walk::{Environment, Origin, Packet};
use crate::model::{Config, Family, LocalDetector};
use crate::state::Snapshot;

/// The first packet of a connection as asked for.
pub(super) fn packet(config: &Config, snapshot: &Snapshot, from: Sender, to: Goal) -> anyhow::Result<Packet> {
    let family = Family::of(to.address.ip());
    let source = match from {
        Sender::Address(ip) => ip,
        Sender::Pod => pod(config, snapshot, family)
            .with_context(|| format!("no {family} address of a pod of this node is known: give one with --from"))?,
        Sender::Node => node(snapshot, family)
            .with_context(|| format!("the Node {} has no {family} address: give one with --from", config.node_name))?,
        Sender::External => external(family),
    };
    ensure!(Family::of(source) == family, "--from {source} and --to {} are of different families", to.address);
    let own = around(config, snapshot).is_local(source);
    let is_pod = from == Sender::Pod || pods(config, snapshot).contains(&source);
    Ok(Packet {
        source,
        destination: to.address.ip(),
        protocol: to.protocol.number(),
        source_port: 40_000,
        destination_port: to.address.port(),
        mark: 0,
        input_interface: (!own).then(|| interface(config, is_pod)),
        origin: if own { Origin::FromNode } else { Origin::Forwarded },
    })
}

/// What is local to the node: the addresses on its interfaces; where nobody told them, those of its Node object and the one bound.
pub(in crate::cli) fn around(config: &Config, snapshot: &Snapshot) -> Environment {
    if let Some(local) = &snapshot.local_addresses {
        return Environment { local_addresses: local.clone() };
    }
    let node = snapshot.node.iter().flat_map(|node| node.internal_ips.iter().chain(&node.external_ips));
    let bound = config.bind_address.iter().filter(|ip| !ip.is_unspecified());
    Environment { local_addresses: node.chain(bound).copied().collect() }
}

/// The network the detector calls local to the cluster, if it goes by one.
pub(in crate::cli) fn cluster_network(config: &Config, snapshot: &Snapshot, family: Family) -> Option<IpNet> {
    match &config.detector {
        LocalDetector::ClusterCidr(nets) => *nets.get(family),
        LocalDetector::NodeCidr => {
            let nets = snapshot.node.iter().flat_map(|node| &node.pod_cidrs);
            nets.copied().find(|net| Family::of_net(*net) == family)
        }
        _ => None,
    }
}

/// Where a pod's packet comes in when the detector goes by interfaces; else the name does not matter.
pub(in crate::cli) fn interface(config: &Config, is_pod: bool) -> String {
    match &config.detector {
        LocalDetector::BridgeInterface(name) if is_pod => name.clone(),
        LocalDetector::InterfaceNamePrefix(prefix) if is_pod => format!("{prefix}0"),
        _ => "outside".to_owned(),
    }
}

/// Endpoints on this node that are not the node itself.
pub(in crate::cli) fn pods(config: &Config, snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    let around = around(config, snapshot);
    let slices = snapshot.services.values().flat_map(|entry| entry.slices.values());
    let endpoints = slices.flat_map(|slice| &slice.endpoints);
    let here = endpoints.filter(|endpoint| endpoint.node.as_deref() == Some(&config.node_name));
    here.map(|endpoint| endpoint.address).filter(|ip| !around.is_local(*ip)).collect()
}

/// Rather an address nobody has: a pod that is an endpoint itself may reach itself, and that is a story of its own.
pub(in crate::cli) fn pod(config: &Config, snapshot: &Snapshot, family: Family) -> Option<IpAddr> {
    let free = cluster_network(config, snapshot, family).map(|net| last_but_one(net.broadcast()));
    free.or_else(|| pods(config, snapshot).into_iter().find(|ip| Family::of(*ip) == family))
}

fn last_but_one(last: IpAddr) -> IpAddr {
    match last {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits().saturating_sub(1)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits().saturating_sub(1)).into(),
    }
}

pub(in crate::cli) fn node(snapshot: &Snapshot, family: Family) -> Option<IpAddr> {
    let node = snapshot.node.as_ref()?;
    node.internal_ips.iter().chain(&node.external_ips).copied().find(|ip| Family::of(*ip) == family)
}

/// An address for documentation (RFC 5737, RFC 3849).
pub(in crate::cli) fn external(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(198, 51, 100, 77).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Node, SourceConfig};

    #[test]
    fn what_is_on_the_interfaces_counts_before_what_the_node_says() {
        let config = Config::new(SourceConfig::Manifests("/m".into()), "n");
        let [said, found] = ["192.0.2.10", "192.0.2.11"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let node = Some(Node { internal_ips: vec![said], ..Node::default() });
        let mut snapshot = Snapshot { node, ..Snapshot::default() };
        assert_eq!(around(&config, &snapshot).local_addresses, [said].into());
        snapshot.local_addresses = Some([found].into());
        assert_eq!(around(&config, &snapshot).local_addresses, [found].into());
    }
}
