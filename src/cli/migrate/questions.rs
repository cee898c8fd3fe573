//! Which packets kube-proxy's rules and ours are asked about.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::cli::explain::question::{around, cluster_network, external, interface, node, pod, pods};
use crate::cli::planned::Planned;
use crate::compile::claims;
use crate::compile::walk::Environment;
use crate::model::{Config, Family, Service, ServicePortName};
use crate::peer::{Frontend, Left, Packet};
use crate::state::Snapshot;

/// So many addresses of a network are looked at for one that nobody has.
pub(super) const FEW: usize = 1024;
/// Of a frontend's permitted sources so many are asked for.
const MOST_SOURCES: usize = 16;

/// One packet to ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Who sends it, for people.
    pub(super) sender: String,
    /// The packet.
    pub(super) packet: Packet,
}

/// What is known of the cluster and the node.
pub(super) struct Scene<'a> {
    pub(super) config: &'a Config,
    pub(super) snapshot: &'a Snapshot,
    pub(super) planned: &'a Planned,
    pub(super) around: Environment,
    /// Endpoints on this node that are not the node itself.
    pods: BTreeSet<IpAddr>,
    /// All endpoints anywhere.
    endpoints: BTreeSet<IpAddr>,
}

/// What to ask of some rules of kube-proxy's, for all frontends alike.
pub(super) struct Asker<'a> {
    scene: &'a Scene<'a>,
    senders: Vec<(String, IpAddr)>,
    node_addresses: Vec<IpAddr>,
    admitted: BTreeMap<Frontend, BTreeSet<IpAddr>>,
}

/// What is known of a frontend from the objects.
#[derive(Clone, Debug, Default)]
pub(super) struct Known<'a> {
    pub(super) name: Option<String>,
    pub(super) service: Option<&'a Service>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(config: &'a Config, snapshot: &'a Snapshot, planned: &'a Planned) -> Scene<'a> {
        let slices = snapshot.services.values().flat_map(|entry| entry.slices.values());
        let endpoints = slices.flat_map(|slice| &slice.endpoints).map(|endpoint| endpoint.address).collect();
        Scene { config, snapshot, planned, around: around(config, snapshot), pods: pods(config, snapshot), endpoints }
    }

    /// The frontends ferroproxy would serve in a family.
    pub(super) fn frontends(&self, family: Family) -> BTreeMap<Frontend, Known<'a>> {
        let mut found = BTreeMap::new();
        let services = self.snapshot.services.values().filter_map(|entry| entry.service.as_ref());
        for service in services {
            for (frontend, port) in claimed(service, family) {
                let claim =
                    claims::Frontend { family, ip: frontend.ip, protocol: frontend.protocol, port: frontend.port };
                if self.planned.owner_of(&claim) == Some(&service.name) {
                    let name = ServicePortName { service: service.name.clone(), port };
                    found.entry(frontend).or_insert(Known { name: Some(name.to_string()), service: Some(service) });
                }
            }
        }
        found
    }

    /// One of each kind: who is local to the cluster (to each of the two proxies), the node, and who is outside.
    fn senders(&self, family: Family, left: &Left) -> Vec<(String, IpAddr)> {
        let (config, snapshot) = (self.config, self.snapshot);
        let network = cluster_network(config, snapshot, family);
        let own = network.and_then(|net| self.free(last(net))).or_else(|| pod(config, snapshot, family));
        let on_interface =
            || self.around.local_addresses.iter().copied().find(|ip| Family::of(*ip) == family && is_usual(*ip));
        let mut senders: Vec<(String, IpAddr)> = Vec::new();
        senders.extend(own.map(|ip| (POD.to_owned(), ip)));
        senders.extend(node(snapshot, family).or_else(on_interface).map(|ip| ("the node".to_owned(), ip)));
        senders.push(("outside".to_owned(), external(family)));
        for net in left.local_networks().into_iter().filter(|net| Family::of_net(*net) == family) {
            // Both ends of what kube-proxy takes for the cluster, unless ours is asked for anyway.
            for ip in [self.free(first(net)), self.free(last(net))].into_iter().flatten().filter(|ip| Some(*ip) != own)
            {
                senders.push((format!("{POD} at {ip}"), ip));
            }
        }
        senders
    }

    /// The first of some addresses that nobody has: an endpoint that reaches itself is a story of its own.
    fn free(&self, mut candidates: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
        candidates.find(|ip| !self.endpoints.contains(ip) && !self.around.is_local(*ip))
    }

    /// Endpoints of the service on this node: do they reach themselves?
    fn endpoints_here(&self, family: Family, known: &Known<'_>) -> Vec<(String, IpAddr)> {
        let entry = known.service.and_then(|service| self.snapshot.services.get(&service.name));
        let slices = entry.into_iter().flat_map(|entry| entry.slices.values()).filter(|slice| slice.family == family);
        let here = slices
            .flat_map(|slice| &slice.endpoints)
            .filter(|endpoint| endpoint.node.as_deref() == Some(&self.config.node_name))
            .map(|endpoint| endpoint.address);
        let ips: BTreeSet<IpAddr> = here.filter(|ip| !self.around.is_local(*ip)).collect();
        ips.into_iter().map(|ip| (format!("the endpoint {ip}"), ip)).collect()
    }

    /// Where node ports may answer: the node's addresses, but for cluster IPs that are bound here.
    fn node_addresses(&self, family: Family) -> Vec<IpAddr> {
        let services = self.snapshot.services.values().filter_map(|entry| entry.service.as_ref());
        let cluster_ips: BTreeSet<IpAddr> = services.flat_map(|service| service.cluster_ips.iter().copied()).collect();
        let own = self.around.local_addresses.iter().copied().filter(|ip| Family::of(*ip) == family);
        own.filter(|ip| (ip.is_loopback() || is_usual(*ip)) && !cluster_ips.contains(ip)).collect()
    }
}

impl<'a> Asker<'a> {
    pub(super) fn new(scene: &'a Scene<'a>, left: &Left) -> Asker<'a> {
        let node_addresses = scene.node_addresses(left.family);
        Asker { scene, senders: scene.senders(left.family, left), node_addresses, admitted: left.admitted() }
    }

    /// All packets to ask about for one frontend.
    pub(super) fn questions(&self, frontend: &Frontend, known: &Known<'_>) -> Vec<Question> {
        let mut senders = self.senders.clone();
        senders.extend(self.permitted(frontend, known));
        if frontend.ip.is_some() {
            senders.extend(self.scene.endpoints_here(frontend.family, known));
        }
        let targets = frontend.ip.as_ref().map_or(&self.node_addresses[..], std::slice::from_ref);
        let pairs = targets.iter().flat_map(|to| senders.iter().map(move |sender| (*to, sender)));
        pairs.filter_map(|(to, sender)| self.question(frontend, to, sender)).collect()
    }

    fn question(&self, frontend: &Frontend, to: IpAddr, (label, source): &(String, IpAddr)) -> Option<Question> {
        let Scene { around, config, pods, .. } = self.scene;
        let from_node = around.is_local(*source);
        // Nobody else's packets get to loopback; and to its own addresses the node speaks from them.
        if to.is_loopback() && !from_node {
            return None;
        }
        let source = if from_node && around.is_local(to) { to } else { *source };
        let is_pod = label.starts_with(POD) || pods.contains(&source);
        let packet = Packet {
            source,
            destination: to,
            protocol: frontend.protocol,
            port: frontend.port,
            interface: (!from_node).then(|| interface(config, is_pod)),
            from_node,
        };
        Some(Question { sender: label.clone(), packet })
    }

    /// Sources that one of the two proxies lets through to a guarded frontend.
    fn permitted(&self, frontend: &Frontend, known: &Known<'_>) -> Vec<(String, IpAddr)> {
        let ranges = known.service.iter().flat_map(|service| &service.source_ranges);
        let ours = ranges.filter(|range| Family::of_net(**range) == frontend.family && range.prefix_len() > 0);
        let mut sources = self.admitted.get(frontend).cloned().unwrap_or_default();
        sources.extend(ours.map(IpNet::network));
        sources.into_iter().take(MOST_SOURCES).map(|ip| (format!("{ip}, a permitted source"), ip)).collect()
    }
}

const POD: &str = "a pod";

/// What a Service asks for in a family, with the port's name.
fn claimed(service: &Service, family: Family) -> Vec<(Frontend, std::sync::Arc<str>)> {
    let mut found = Vec::new();
    if !service.cluster_ips.iter().any(|ip| Family::of(*ip) == family) {
        return found;
    }
    let addresses = service.cluster_ips.iter().chain(&service.external_ips).chain(&service.load_balancer_ips);
    let addresses: Vec<IpAddr> = addresses.copied().filter(|ip| Family::of(*ip) == family).collect();
    for port in &service.ports {
        let at = |ip, number| Frontend { family, ip, protocol: port.protocol, port: number };
        found.extend(addresses.iter().map(|ip| (at(Some(*ip), port.port), port.name.clone())));
        found.extend(port.node_port.map(|number| (at(None, number), port.name.clone())));
    }
    found
}

/// Neither loopback nor link-local: an address others can send to.
fn is_usual(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    }
}

/// Addresses of a network, from the second on.
fn first(net: IpNet) -> impl Iterator<Item = IpAddr> {
    net.hosts().take(FEW)
}

/// Addresses of a network, from the last but one back.
pub(super) fn last(net: IpNet) -> impl Iterator<Item = IpAddr> {
    let back = move |by: usize| match net.broadcast() {
        IpAddr::V4(ip) => ip.to_bits().checked_sub(by as u32).map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))),
        IpAddr::V6(ip) => ip.to_bits().checked_sub(by as u128).map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))),
    };
    (1..FEW).map_while(back).take_while(move |ip| net.contains(ip))
}
