//! The route of every service port: what a packet to its frontends meets.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::choice::{Choice, choose};
use super::topology::{HintsIgnored, Topology};
use crate::model::{EndpointAddr, Family, Node, Protocol, Service, ServicePort, ServicePortName, TrafficPolicy};
use crate::state::ServiceEntry;

/// Which list of endpoints a packet is balanced over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    /// Those usable under the Cluster policy.
    Cluster,
    /// Those usable under the Local policy.
    Local,
}

/// What a packet to a frontend meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// One endpoint of the pool, uniformly at random.
    Balance(Pool),
    /// Silence: the policy is Local and no endpoint is on this node.
    Drop,
    /// Connection refused: there is no usable endpoint anywhere.
    Reject,
}

/// Everything the rules need of one service port in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRoutes {
    /// The port's name.
    pub name: ServicePortName,
    /// When its Service was created: of two that claim a frontend the older wins.
    pub created: Option<Timestamp>,
    /// The family.
    pub family: Family,
    /// The protocol.
    pub protocol: Protocol,
    /// The port on addresses (host order).
    pub port: u16,
    /// The port on the node's addresses (host order).
    pub node_port: Option<u16>,
    /// The cluster IP.
    pub cluster_ip: IpAddr,
    /// External IPs of the family.
    pub external_ips: Vec<IpAddr>,
    /// Load-balancer IPs of the family.
    pub load_balancer_ips: Vec<IpAddr>,
    /// What cluster-IP traffic meets.
    pub internal: Route,
    /// What traffic to external frontends meets when nothing short-circuits it.
    pub external: Route,
    /// The external policy: under Local, the node's own and its pods' traffic is short-circuited to the Cluster pool.
    pub external_policy: TrafficPolicy,
    /// The Cluster pool, ordered.
    pub cluster: Vec<EndpointAddr>,
    /// The Local pool, ordered; empty unless a policy is Local.
    pub local: Vec<EndpointAddr>,
    /// Usable endpoints on this node, ordered.
    pub on_node: Vec<EndpointAddr>,
    /// Why the topology hints of its endpoints have no say, if there are any.
    pub hints_ignored: Option<HintsIgnored>,
    /// Stickiness timeout in seconds, if `sessionAffinity: ClientIP`.
    pub affinity: Option<u32>,
    /// Who may reach the load-balancer IPs; empty: everyone.
    pub source_ranges: Vec<IpNet>,
}

/// From where the cluster is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Viewpoint<'a> {
    /// The own node's name.
    pub node_name: &'a str,
    /// The own Node, when it is known.
    pub node: Option<&'a Node>,
    /// Whether `externalIPs` count.
    pub external_ips: bool,
}

impl<'a> Viewpoint<'a> {
    /// The node's zone label, if it has one.
    pub fn zone(&self) -> Option<&'a str> {
        self.node?.labels.get("topology.kubernetes.io/zone").map(String::as_str).filter(|zone| !zone.is_empty())
    }
}

/// The routes of every port of a service, family by family; empty when the Service is not known.
pub fn route(entry: &ServiceEntry, from: Viewpoint<'_>) -> Vec<PortRoutes> {
    let Some(service) = &entry.service else { return Vec::new() };
    service
        .cluster_ips
        .iter()
        .flat_map(|ip| service.ports.iter().map(move |port| (*ip, port)))
        .map(|(cluster_ip, port)| {
            let family = Family::of(cluster_ip);
            let endpoints = entry.endpoints(port, family, from.node_name);
            let choice = choose(&endpoints, from.node_name, from.zone());
            routes_of(service, port, cluster_ip, choice, from.external_ips)
        })
        .collect()
}

fn routes_of(
    service: &Service,
    port: &ServicePort,
    cluster_ip: IpAddr,
    choice: Choice,
    external_ips: bool,
) -> PortRoutes {
    let family = Family::of(cluster_ip);
    let of_family = |ips: &[IpAddr]| ips.iter().copied().filter(|ip| Family::of(*ip) == family).collect::<Vec<_>>();
    let mut routes = PortRoutes {
        name: ServicePortName { service: service.name.clone(), port: port.name.clone() },
        created: service.created,
        family,
        protocol: port.protocol,
        port: port.port,
        node_port: port.node_port,
        cluster_ip,
        external_ips: if external_ips { of_family(&service.external_ips) } else { Vec::new() },
        load_balancer_ips: of_family(&service.load_balancer_ips),
        internal: decide(service.internal_policy, &choice),
        external: decide(service.external_policy, &choice),
        external_policy: service.external_policy,
        cluster: choice.cluster,
        local: choice.local,
        on_node: choice.on_node,
        hints_ignored: match choice.topology {
            Topology::All(why) if why != HintsIgnored::None => Some(why),
            _ => None,
        },
        affinity: service.affinity,
        source_ranges: guard(service, family),
    };
    routes.forget_unused_pools();
    routes
}

fn decide(policy: TrafficPolicy, choice: &Choice) -> Route {
    match policy {
        _ if choice.cluster.is_empty() && choice.local.is_empty() => Route::Reject,
        TrafficPolicy::Cluster => Route::Balance(Pool::Cluster),
        TrafficPolicy::Local if choice.local.is_empty() => Route::Drop,
        TrafficPolicy::Local => Route::Balance(Pool::Local),
    }
}

/// The source ranges of a family; none when one of them lets everyone in.
fn guard(service: &Service, family: Family) -> Vec<IpNet> {
    let mut ranges: Vec<IpNet> =
        service.source_ranges.iter().copied().filter(|net| Family::of_net(*net) == family).collect();
    if ranges.iter().any(|net| net.prefix_len() == 0) {
        ranges.clear();
    }
    ranges
}

impl PortRoutes {
    /// Whether anything but the cluster IP leads to it.
    pub fn is_external(&self) -> bool {
        self.node_port.is_some() || !self.external_ips.is_empty() || !self.load_balancer_ips.is_empty()
    }

    /// Whether some packet may be balanced over the pool.
    pub fn uses(&self, pool: Pool) -> bool {
        let external = match self.external_policy {
            TrafficPolicy::Cluster => self.external == Route::Balance(pool),
            // The short-circuits go to the Cluster pool.
            TrafficPolicy::Local => pool == Pool::Cluster || self.external == Route::Balance(pool),
        };
        self.internal == Route::Balance(pool) || (self.is_external() && external)
    }

    /// Whether only some sources may reach the load-balancer IPs.
    pub fn is_guarded(&self) -> bool {
        !self.source_ranges.is_empty()
    }

    /// Who may reach the load-balancer IPs, as disjoint ranges. Where the node's own address may, the load-balancer IPs may too: they
    /// are often local addresses of the node, and then the source of its own packets to them.
    pub fn admitted_sources(&self, node_ip: Option<IpAddr>) -> Vec<IpNet> {
        let node_may = node_ip.is_some_and(|ip| self.source_ranges.iter().any(|range| range.contains(&ip)));
        let themselves = self.load_balancer_ips.iter().filter(|_| node_may).map(|ip| IpNet::from(*ip));
        let ranges: Vec<IpNet> = self.source_ranges.iter().map(IpNet::trunc).chain(themselves).collect();
        IpNet::aggregate(&ranges)
    }

    /// The endpoints of a pool.
    pub fn pool(&self, pool: Pool) -> &[EndpointAddr] {
        match pool {
            Pool::Cluster => &self.cluster,
            Pool::Local => &self.local,
        }
    }

    fn forget_unused_pools(&mut self) {
        if !self.uses(Pool::Cluster) {
            self.cluster.clear();
            self.hints_ignored = None;
        }
        if !self.uses(Pool::Local) {
            self.local.clear();
        }
        let (cluster, local) = (&self.cluster, &self.local);
        self.on_node.retain(|addr| cluster.binary_search(addr).is_ok() || local.binary_search(addr).is_ok());
    }
}
