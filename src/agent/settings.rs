//! The settings of the rules, from the configuration and what is known of the node and the cluster.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::compile::iptables;
use crate::compile::manners::Locality;
use crate::compile::settings::{NodePorts, Settings};
use crate::model::{Config, Family, LocalDetector, Node, NodePortAddresses, PerFamily, ProxyMode};
use crate::state::Snapshot;

/// The settings for what is known now.
pub fn settings(config: &Config, snapshot: &Snapshot, families: &[Family]) -> Settings {
    let node = snapshot.node.as_ref();
    Settings {
        families: families.to_vec(),
        masquerade_mark: 1 << config.masquerade_bit,
        masquerade_all: config.masquerade_all,
        locality: PerFamily::from_fn(|family| locality(&config.detector, node, family)),
        node_ports: PerFamily::from_fn(|family| node_ports(config, snapshot, family)),
        count_connections: config.count_connections.is_some(),
        node_ips: PerFamily::from_fn(|family| primary(config, node, family)),
        service_cidrs: snapshot.service_cidrs.values().flat_map(|cidr| cidr.cidrs.iter().copied()).collect(),
    }
}

/// The settings of iptables mode for what is known now.
pub fn iptables_settings(config: &Config, snapshot: &Snapshot, families: &[Family]) -> iptables::Settings {
    iptables::Settings {
        common: settings(config, snapshot, families),
        localhost_node_ports: on_loopback(config),
        tcp_be_liberal: config.conntrack.tcp_be_liberal,
    }
}

/// Whether IPv4 node ports are to answer on loopback addresses: only in iptables mode, and where these are among the addresses chosen.
pub fn on_loopback(config: &Config) -> bool {
    let chosen = match &config.node_port_addresses {
        NodePortAddresses::All => true,
        NodePortAddresses::Primary => false,
        NodePortAddresses::Cidrs(nets) => {
            let mut v4 = nets.iter().filter(|net| Family::of_net(**net) == Family::V4).peekable();
            v4.peek().is_none() || v4.any(|net| net.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)))
        }
    };
    config.mode == ProxyMode::Iptables && config.localhost_node_ports && chosen
}

/// Whether rules cannot be written before the own Node is known, and before it has what is asked of it.
pub fn waits_for_node(config: &Config, snapshot: &Snapshot, node_was_told: bool) -> bool {
    match (&config.detector, &config.node_port_addresses) {
        (LocalDetector::NodeCidr, _) => snapshot.node.as_ref().is_none_or(|node| node.pod_cidrs.is_empty()),
        (_, NodePortAddresses::Primary) => !node_was_told,
        // Its addresses stand in for those on interfaces while these are not known.
        (_, NodePortAddresses::Cidrs(_)) => !node_was_told && snapshot.local_addresses.is_none(),
        (_, NodePortAddresses::All) => false,
    }
}

/// Whether rules cannot be written before the addresses on the host's interfaces are known.
pub(super) fn waits_for_addresses(config: &Config, snapshot: &Snapshot) -> bool {
    matches!(config.node_port_addresses, NodePortAddresses::Cidrs(_)) && snapshot.local_addresses.is_none()
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

pub(super) fn node_ports(config: &Config, snapshot: &Snapshot, family: Family) -> NodePorts {
    match &config.node_port_addresses {
        NodePortAddresses::All => NodePorts::All,
        NodePortAddresses::Primary => match primary(config, snapshot.node.as_ref(), family) {
            Some(ip) => NodePorts::On([ip].into()),
            None => NodePorts::All,
        },
        NodePortAddresses::Cidrs(nets) => {
            let nets: Vec<&IpNet> = nets.iter().filter(|net| Family::of_net(**net) == family).collect();
            // A family that nobody spoke of is open, as one of which everything was asked.
            if nets.is_empty() || nets.iter().any(|net| net.prefix_len() == 0) {
                return NodePorts::All;
            }
            let answers = |ip: &IpAddr| !ip.is_loopback() || (family == Family::V4 && on_loopback(config));
            let own = local_addresses(snapshot).into_iter().filter(answers);
            NodePorts::On(own.filter(|ip| nets.iter().any(|net| net.contains(ip))).collect())
        }
    }
}

/// The addresses on the host's interfaces; before they are known, or where the kernel is not asked, those the Node names.
fn local_addresses(snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    let of_node = |node: &Node| node.internal_ips.iter().chain(&node.external_ips).copied().collect();
    snapshot.local_addresses.clone().or_else(|| snapshot.node.as_ref().map(of_node)).unwrap_or_default()
}

/// The node's main address of a family: as bound, else its first InternalIP, else its first ExternalIP. Loopback is none.
fn primary(config: &Config, node: Option<&Node>, family: Family) -> Option<IpAddr> {
    let of_family = |ips: &[IpAddr]| ips.iter().copied().find(|ip| Family::of(*ip) == family);
    let bound = config.bind_address.filter(|ip| Family::of(*ip) == family && !ip.is_unspecified());
    let chosen = bound.or_else(|| node.and_then(|n| of_family(&n.internal_ips).or_else(|| of_family(&n.external_ips))));
    chosen.filter(|ip| !ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SourceConfig;

    fn asked(nets: &[&str], local: Option<&[&str]>, node: &[&str]) -> PerFamily<NodePorts> {
        let ips = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let mut config = Config::new(SourceConfig::Manifests("/m".into()), "n");
        config.node_port_addresses = NodePortAddresses::Cidrs(nets.iter().map(|net| net.parse().unwrap()).collect());
        let snapshot = Snapshot {
            node: Some(Node { internal_ips: ips(node), ..Node::default() }),
            local_addresses: local.map(|local| ips(local).into_iter().collect()),
            ..Snapshot::default()
        };
        settings(&config, &snapshot, &Family::ALL).node_ports
    }

    fn on(ips: &[&str]) -> NodePorts {
        NodePorts::On(ips.iter().map(|ip| ip.parse().unwrap()).collect())
    }

    #[test]
    fn networks_choose_among_the_addresses_on_interfaces() {
        let local = ["127.0.0.1", "192.0.2.10", "192.0.2.11", "198.51.100.1", "2001:db8::10", "::1", "fe80::1"];
        let chosen = asked(&["192.0.2.0/24", "2001:db8::/64"], Some(&local), &["192.0.2.99"]);
        assert_eq!(chosen, PerFamily { v4: on(&["192.0.2.10", "192.0.2.11"]), v6: on(&["2001:db8::10"]) });
    }

    #[test]
    fn loopback_is_never_chosen() {
        let chosen = asked(&["127.0.0.0/8", "::1/128"], Some(&["127.0.0.1", "192.0.2.10", "::1"]), &[]);
        assert_eq!(chosen, PerFamily { v4: on(&[]), v6: on(&[]) });
    }

    #[test]
    fn a_family_nobody_spoke_of_is_open_and_one_without_a_match_is_closed() {
        let chosen = asked(&["203.0.113.0/24"], Some(&["192.0.2.10", "2001:db8::10"]), &[]);
        assert_eq!(chosen, PerFamily { v4: on(&[]), v6: NodePorts::All });
        let chosen = asked(&["203.0.113.0/24", "0.0.0.0/0"], Some(&["192.0.2.10"]), &[]);
        assert_eq!(chosen.v4, NodePorts::All);
    }

    #[test]
    fn where_the_kernel_is_not_asked_the_nodes_own_addresses_stand_in() {
        assert_eq!(asked(&["192.0.2.0/24"], None, &["192.0.2.99", "198.51.100.1"]).v4, on(&["192.0.2.99"]));
    }

    #[test]
    fn only_networks_wait_for_the_addresses() {
        let mut config = Config::new(SourceConfig::Manifests("/m".into()), "n");
        let unknown = Snapshot::default();
        assert!(!waits_for_addresses(&config, &unknown));
        config.node_port_addresses = NodePortAddresses::Cidrs(vec!["192.0.2.0/24".parse().unwrap()]);
        assert!(waits_for_addresses(&config, &unknown));
        let known = Snapshot { local_addresses: Some(BTreeSet::new()), ..Snapshot::default() };
        assert!(!waits_for_addresses(&config, &known) && !waits_for_node(&config, &known, false));
    }
}
