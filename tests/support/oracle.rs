//! What must become of a packet: a plain reading of the semantics on the objects themselves.
//!
//! Slow and simple on purpose, and written without a look at `policy` or `compile`: it is what the compiled rules are held against.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferroproxy::compile::expr::RejectWith;
use ferroproxy::compile::walk::{Environment, Fate, Origin, Outcome, Packet};
use ferroproxy::model::{
    Config, EndpointAddr, EndpointSlice, Family, Hints, LocalDetector, NodePortAddresses, ObjectName, Protocol,
    ProxyMode, Service, ServicePort, SliceEndpoint, TrafficPolicy,
};
use ferroproxy::state::Snapshot;
use ipnet::IpNet;

/// The objects, the configuration, and the node around them.
pub(crate) struct Oracle<'a> {
    pub(crate) config: &'a Config,
    pub(crate) objects: &'a Snapshot,
    pub(crate) around: &'a Environment,
}

/// A frontend's owner and how the packet came to it.
struct Found<'a> {
    service: &'a Service,
    port: &'a ServicePort,
    internal: bool,
    by_node_port: bool,
}

/// Where a packet may go, and whether its source is to be rewritten on the way.
struct Way {
    to: Vec<EndpointAddr>,
    masquerade: bool,
}

impl Oracle<'_> {
    /// Everything that may become of the first packet of a connection, each with equal chance.
    pub(crate) fn outcomes(&self, packet: &Packet) -> BTreeSet<Outcome> {
        let untouched = EndpointAddr { ip: packet.destination, port: packet.destination_port };
        let ends = |fate| BTreeSet::from([Outcome { fate, destination: untouched, masqueraded: false }]);
        let Some(found) = self.frontend(packet) else { return ends(self.missed(packet)) };
        if self.admits(&found, packet) == Some(false) {
            return ends(Fate::Drop);
        }
        let endpoints = self.endpoints(&found, packet.family());
        let spared = self.is_spared(&found, packet);
        if self.cluster(&endpoints).is_empty() {
            let spared = spared.then_some(Fate::Accept);
            return ends(self.unsent(packet, spared.unwrap_or_else(|| refused(packet))));
        }
        let way = self.way(&found, packet, &endpoints);
        if way.to.is_empty() {
            // The guard is what drops here, where there is one.
            let guarded = self.admits(&found, packet).is_some();
            let fate = if spared && !guarded { Fate::Accept } else { Fate::Drop };
            return ends(self.unsent(packet, fate));
        }
        let outcome = |to: &EndpointAddr| {
            let leaves = packet.origin == Origin::FromNode || !self.around.is_local(to.ip);
            // The classical chains look at the source alone.
            let hairpin = to.ip == packet.source && (self.in_chains() || self.is_on_node(&endpoints, *to));
            let masqueraded = leaves && (way.masquerade || hairpin);
            Outcome { fate: Fate::Accept, destination: *to, masqueraded }
        };
        way.to.iter().map(outcome).collect()
    }

    /// The service port whose clients keep their endpoint, if the packet is for one.
    pub(crate) fn sticky(&self, packet: &Packet) -> Option<(ObjectName, ServicePort)> {
        let found = self.frontend(packet)?;
        found.service.affinity.map(|_| (found.service.name.clone(), found.port.clone()))
    }

    /// Whether the rules are the classical chains.
    fn in_chains(&self) -> bool {
        self.config.mode == ProxyMode::Iptables
    }

    /// In the classical chains a cluster IP is refused on the way through the node and on the way out of it: not where it is an address of the node
    /// itself, as a node-local cache makes it.
    fn is_spared(&self, found: &Found<'_>, packet: &Packet) -> bool {
        let comes_in = packet.origin == Origin::Forwarded && self.around.is_local(packet.destination);
        self.in_chains() && found.internal && comes_in
    }

    /// What becomes of a packet that nobody sends on: strangers may not speak to loopback addresses once these are routed to.
    fn unsent(&self, packet: &Packet, otherwise: Fate) -> Fate {
        let (from, to) = (packet.source, packet.destination);
        let strange = to.is_ipv4() && to.is_loopback() && !from.is_loopback() && self.loopback_answers();
        if strange { Fate::Drop } else { otherwise }
    }

    /// Whether IPv4 node ports are to answer on loopback addresses.
    fn loopback_answers(&self) -> bool {
        let asked = match &self.config.node_port_addresses {
            NodePortAddresses::All => true,
            NodePortAddresses::Primary => false,
            NodePortAddresses::Cidrs(nets) => {
                let loopback = IpAddr::from([127, 0, 0, 1]);
                let spoken_of = nets.iter().any(|net| Family::of_net(*net) == Family::V4);
                !spoken_of || nets.iter().any(|net| net.contains(&loopback))
            }
        };
        self.in_chains() && self.config.localhost_node_ports && asked
    }

    /// What is no frontend: other ports of active cluster IPs are refused, the rest of the service ranges is dropped.
    fn missed(&self, packet: &Packet) -> Fate {
        let to = packet.destination;
        let active = |service: &Service| service.cluster_ips.contains(&to) && !service.ports.is_empty();
        let mut cidrs = self.objects.service_cidrs.values().flat_map(|cidr| &cidr.cidrs);
        if self.in_chains() {
            return self.unsent(packet, Fate::Accept);
        }
        match () {
            () if self.around.is_local(to) => Fate::Accept,
            () if self.services().any(active) => refused(packet),
            () if cidrs.any(|net| net.contains(&to)) => Fate::Drop,
            () => Fate::Accept,
        }
    }

    /// Where the policy of the traffic sends it.
    fn way(&self, found: &Found<'_>, packet: &Packet, endpoints: &[Merged<'_>]) -> Way {
        let (all, local) = (self.cluster(endpoints), self.local(endpoints));
        let in_cluster = self.comes_from_the_cluster(packet);
        if found.internal {
            let to = if found.service.internal_policy == TrafficPolicy::Local { local } else { all };
            return Way { to, masquerade: self.config.masquerade_all || in_cluster == Some(false) };
        }
        match found.service.external_policy {
            TrafficPolicy::Cluster => Way { to: all, masquerade: true },
            TrafficPolicy::Local if in_cluster == Some(true) => Way { to: all, masquerade: false },
            TrafficPolicy::Local if self.around.is_local(packet.source) => Way { to: all, masquerade: true },
            TrafficPolicy::Local => Way { to: local, masquerade: false },
        }
    }

    /// Whether the detector calls the source local to the cluster; `None` when there is no detector.
    fn comes_from_the_cluster(&self, packet: &Packet) -> Option<bool> {
        let inside = |net: &IpNet| net.contains(&packet.source);
        let family = packet.family();
        // A packet of the node itself has no input interface.
        let came_by = packet.input_interface.as_deref().filter(|_| packet.origin == Origin::Forwarded);
        match &self.config.detector {
            LocalDetector::None => None,
            LocalDetector::ClusterCidr(nets) => nets.get(family).as_ref().map(inside),
            LocalDetector::NodeCidr => {
                let nets = self.objects.node.iter().flat_map(|node| &node.pod_cidrs);
                nets.filter(|net| Family::of_net(**net) == family).map(inside).next()
            }
            LocalDetector::BridgeInterface(name) => Some(came_by == Some(name)),
            LocalDetector::InterfaceNamePrefix(name) => Some(came_by.is_some_and(|by| by.starts_with(name))),
        }
    }
}

/// Frontends.
impl Oracle<'_> {
    fn services(&self) -> impl Iterator<Item = &Service> {
        self.objects.services.values().filter_map(|entry| entry.service.as_ref())
    }

    /// Every service port of the packet's family and protocol, the oldest Service first.
    fn candidates(&self, packet: &Packet) -> Vec<(&Service, &ServicePort, IpAddr)> {
        let Some(protocol) = Protocol::from_number(packet.protocol) else { return Vec::new() };
        let mut all = Vec::new();
        for service in self.services() {
            let Some(ip) = service.cluster_ips.iter().find(|ip| Family::of(**ip) == packet.family()) else { continue };
            let ports = service.ports.iter().filter(|port| port.protocol == protocol);
            all.extend(ports.map(|port| (service, port, *ip)));
        }
        // Without a date a Service counts as the youngest.
        all.sort_by_key(|(s, p, _)| (s.created.is_none(), s.created, s.name.clone(), p.name.clone()));
        all
    }

    fn frontend(&self, packet: &Packet) -> Option<Found<'_>> {
        let (to, number) = (packet.destination, packet.destination_port);
        let found = |(service, port, cluster_ip): (_, _, IpAddr)| Found {
            service,
            port,
            internal: cluster_ip == to,
            by_node_port: false,
        };
        let candidates = self.candidates(packet);
        let is_address = |(service, port, cluster_ip): &(&Service, &ServicePort, IpAddr)| {
            let external = self.config.allow_external_ips() && service.external_ips.contains(&to);
            port.port == number && (*cluster_ip == to || external || service.load_balancer_ips.contains(&to))
        };
        if let Some(by_address) = candidates.iter().find(|c| is_address(c)) {
            return Some(found(*by_address));
        }
        let by_node_port = |(_, port, _): &&(&Service, &ServicePort, IpAddr)| port.node_port == Some(number);
        let owner = candidates.iter().find(by_node_port).filter(|_| self.answers_node_ports(to))?;
        Some(Found { internal: false, by_node_port: true, ..found(*owner) })
    }

    /// Whether node ports are open on an address.
    fn answers_node_ports(&self, to: IpAddr) -> bool {
        let on_loopback = to.is_ipv4() && self.loopback_answers();
        let all = || self.around.is_local(to) && (!to.is_loopback() || on_loopback);
        match &self.config.node_port_addresses {
            NodePortAddresses::All => all(),
            NodePortAddresses::Cidrs(nets) => {
                let is_spoken_of = nets.iter().any(|net| Family::of_net(*net) == Family::of(to));
                all() && (!is_spoken_of || nets.iter().any(|net| net.contains(&to)))
            }
            NodePortAddresses::Primary => self.primary(Family::of(to)).map_or_else(all, |primary| primary == to),
        }
    }

    /// The node's main address of a family.
    fn primary(&self, family: Family) -> Option<IpAddr> {
        let node = self.objects.node.iter().flat_map(|node| node.internal_ips.iter().chain(&node.external_ips));
        self.config.bind_address.iter().chain(node).copied().find(|ip| Family::of(*ip) == family)
    }

    /// What loadBalancerSourceRanges say to the packet, if there is a frontend that they guard.
    pub(crate) fn guard(&self, packet: &Packet) -> Option<bool> {
        self.admits(&self.frontend(packet)?, packet)
    }

    /// Whether loadBalancerSourceRanges let the source in; `None` when they do not guard the frontend. They guard an address and port:
    /// a load-balancer IP that is also another address of the Service is guarded as such.
    fn admits(&self, found: &Found<'_>, packet: &Packet) -> Option<bool> {
        let service = found.service;
        let mut ranges = service.source_ranges.clone();
        ranges.retain(|net| Family::of_net(*net) == packet.family());
        let balanced = !found.by_node_port && service.load_balancer_ips.contains(&packet.destination);
        if !balanced || ranges.is_empty() || ranges.iter().any(|net| net.prefix_len() == 0) {
            return None;
        }
        let holds = |ip: IpAddr| ranges.iter().any(|net| net.contains(&ip));
        let node_may = self.primary(packet.family()).is_some_and(holds);
        Some(holds(packet.source) || (node_may && service.load_balancer_ips.contains(&packet.source)))
    }
}

/// An endpoint of a service port.
struct Merged<'a> {
    addr: EndpointAddr,
    said: &'a SliceEndpoint,
}

/// Endpoints.
impl Oracle<'_> {
    /// The endpoints of a port, each once.
    fn endpoints(&self, found: &Found<'_>, family: Family) -> Vec<Merged<'_>> {
        let slices = self.objects.services.get(&found.service.name).into_iter().flat_map(|entry| entry.slices.values());
        let mut standing: BTreeMap<EndpointAddr, Vec<(&EndpointSlice, &SliceEndpoint)>> = BTreeMap::new();
        for slice in slices.filter(|slice| slice.family == family) {
            let ports = slice.ports.iter().filter(|p| p.name == found.port.name && p.protocol == found.port.protocol);
            for port in ports {
                for endpoint in &slice.endpoints {
                    let addr = EndpointAddr { ip: endpoint.address, port: port.port };
                    standing.entry(addr).or_default().push((slice, endpoint));
                }
            }
        }
        standing.into_iter().map(|(addr, all)| Merged { addr, said: best(all) }).collect()
    }

    /// Under the Cluster policy.
    fn cluster(&self, endpoints: &[Merged<'_>]) -> Vec<EndpointAddr> {
        let ready: Vec<&Merged<'_>> = endpoints.iter().filter(|e| e.said.conditions.ready).collect();
        match ready.is_empty() {
            true => addrs(endpoints.iter().filter(|e| is_leaving(e))),
            false => self.near(&ready),
        }
    }

    /// Under the Local policy.
    fn local(&self, endpoints: &[Merged<'_>]) -> Vec<EndpointAddr> {
        let here = || endpoints.iter().filter(|e| self.is_here(e));
        let ready = addrs(here().filter(|e| e.said.conditions.ready));
        if ready.is_empty() { addrs(here().filter(|e| is_leaving(e))) } else { ready }
    }

    /// The ready endpoints after topology.
    fn near(&self, ready: &[&Merged<'_>]) -> Vec<EndpointAddr> {
        let zone = self.objects.node.as_ref().and_then(|node| node.labels.get("topology.kubernetes.io/zone"));
        let zone = zone.map(String::as_str).filter(|zone| !zone.is_empty());
        let by_node = cut(ready, |hints| hints.nodes.iter().map(|n| &**n).collect(), Some(&self.config.node_name));
        let by_zone = || cut(ready, |hints| hints.zones.iter().map(|z| &**z).collect(), zone);
        by_node.or_else(by_zone).unwrap_or_else(|| addrs(ready.iter().copied()))
    }

    fn is_here(&self, endpoint: &Merged<'_>) -> bool {
        endpoint.said.node.as_deref() == Some(&*self.config.node_name)
    }

    fn is_on_node(&self, endpoints: &[Merged<'_>], addr: EndpointAddr) -> bool {
        endpoints.iter().any(|e| e.addr == addr && self.is_here(e))
    }
}

/// Of an endpoint that stands more than once: non-terminating, then ready, then the slice's name.
fn best<'a>(mut standing: Vec<(&EndpointSlice, &'a SliceEndpoint)>) -> &'a SliceEndpoint {
    standing.sort_by_key(|(slice, e)| (e.conditions.terminating, !e.conditions.ready, slice.name.clone()));
    standing[0].1
}

/// Those hinted for `name`, if every one has hints of this kind and one of them names it.
fn cut(ready: &[&Merged<'_>], names: impl Fn(&Hints) -> Vec<&str>, name: Option<&str>) -> Option<Vec<EndpointAddr>> {
    let named = |e: &Merged<'_>| e.said.hints.as_deref().map(|h| names(h).contains(&name.unwrap_or_default()));
    let every = ready.iter().all(|e| e.said.hints.as_deref().is_some_and(|hints| !names(hints).is_empty()));
    let ours = addrs(ready.iter().copied().filter(|e| named(e) == Some(true)));
    (every && name.is_some() && !ours.is_empty()).then_some(ours)
}

fn is_leaving(endpoint: &Merged<'_>) -> bool {
    endpoint.said.conditions.serving && endpoint.said.conditions.terminating
}

fn addrs<'a, 'b: 'a>(endpoints: impl Iterator<Item = &'a Merged<'b>>) -> Vec<EndpointAddr> {
    endpoints.map(|e| e.addr).collect()
}

fn refused(packet: &Packet) -> Fate {
    match packet.protocol {
        6 => Fate::Reject(RejectWith::TcpReset),
        _ => Fate::Reject(RejectWith::PortUnreachable),
    }
}
