//! One Service with every kind of frontend in both families, and who may call it.

use std::net::IpAddr;

use ferroproxy::compile::walk::{Environment, Packet};
use ferroproxy::model::{
    Change, Conditions, Config, EndpointAddr, EndpointSlice, Event, Family, LocalDetector, Node, ObjectName, PerFamily,
    Protocol, Service, ServicePort, SliceEndpoint, SlicePort, SourceConfig, TrafficPolicy,
};
use ferroproxy::state::State;

use crate::walking::{forwarded, of_node};

const NODE: &str = "node-a";
/// The port on addresses.
const PORT: u16 = 80;
/// The port on the node's address.
pub(crate) const NODE_PORT: u16 = 30_080;

/// The kinds of frontends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    ClusterIp,
    ExternalIp,
    LoadBalancerIp,
    NodePort,
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    Pod,
    Node,
    Outside,
}

/// Where endpoints are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoints {
    None,
    Elsewhere,
    Everywhere,
}

/// The Service: one policy for all traffic, one protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    pub(crate) policy: TrafficPolicy,
    pub(crate) endpoints: Endpoints,
    pub(crate) protocol: Protocol,
    /// loadBalancerSourceRanges.
    pub(crate) ranges: &'static [&'static str],
}

fn ip(family: Family, v4: [u8; 4], v6: &str) -> IpAddr {
    match family {
        Family::V4 => v4.into(),
        Family::V6 => v6.parse().expect("an address"),
    }
}

/// The Service's cluster IP.
pub(crate) fn cluster_ip(family: Family) -> IpAddr {
    ip(family, [10, 96, 0, 1], "fd00:96::1")
}

fn external_ip(family: Family) -> IpAddr {
    ip(family, [192, 0, 2, 1], "2001:db8:2::1")
}

fn load_balancer_ip(family: Family) -> IpAddr {
    ip(family, [198, 51, 100, 1], "2001:db8:100::1")
}

fn node_ip(family: Family) -> IpAddr {
    ip(family, [192, 168, 0, 1], "fd00:168::1")
}

fn endpoint_ip(family: Family, n: u8) -> IpAddr {
    ip(family, [10, 244, 0, n], &format!("fd00:244::{n:x}"))
}

/// The node's local addresses.
pub(crate) fn around() -> Environment {
    Environment { local_addresses: Family::ALL.map(node_ip).into() }
}

impl Stage {
    /// ClusterCIDR as the detector.
    pub(crate) fn config(&self) -> Config {
        let nets = PerFamily { v4: "10.244.0.0/16".parse().ok(), v6: "fd00:244::/64".parse().ok() };
        Config { detector: LocalDetector::ClusterCidr(nets), ..Config::new(SourceConfig::Manifests("-".into()), NODE) }
    }

    /// Everything told to a store.
    pub(crate) fn state(&self) -> State {
        let mut state = State::new();
        state.apply(Event::Service(Change::Upsert(self.service())));
        for family in Family::ALL {
            state.apply(Event::Slice(Change::Upsert(self.slice(family))));
        }
        let internal_ips = Family::ALL.map(node_ip).into();
        state.apply(Event::Node(Change::Upsert(Node { name: NODE.into(), internal_ips, ..Node::default() })));
        state
    }

    fn service(&self) -> Service {
        let port = ServicePort { name: "".into(), protocol: self.protocol, port: PORT, node_port: Some(NODE_PORT) };
        Service {
            cluster_ips: Family::ALL.map(cluster_ip).into(),
            external_ips: Family::ALL.map(external_ip).into(),
            load_balancer_ips: Family::ALL.map(load_balancer_ip).into(),
            ports: vec![port],
            internal_policy: self.policy,
            external_policy: self.policy,
            source_ranges: self.ranges.iter().map(|range| range.parse().expect("a network")).collect(),
            ..Service::named("default", "web")
        }
    }

    fn slice(&self, family: Family) -> EndpointSlice {
        let endpoint = |n: u8| SliceEndpoint {
            address: endpoint_ip(family, n),
            conditions: Conditions::default(),
            node: Some(if n < 10 { NODE } else { "node-b" }.into()),
            hints: None,
        };
        EndpointSlice {
            name: ObjectName::new("default", format!("web-{family}")),
            service: ObjectName::new("default", "web"),
            family,
            ports: vec![SlicePort { name: "".into(), protocol: self.protocol, port: 8080 }],
            endpoints: self.numbers().iter().map(|n| endpoint(*n)).collect(),
            triggered: None,
        }
    }

    /// Below 10: on this node.
    fn numbers(&self) -> &'static [u8] {
        match self.endpoints {
            Endpoints::None => &[],
            Endpoints::Elsewhere => &[11, 12],
            Endpoints::Everywhere => &[1, 2, 11],
        }
    }

    /// All endpoints in order.
    pub(crate) fn all(&self, family: Family) -> Vec<EndpointAddr> {
        self.numbers().iter().map(|n| EndpointAddr { ip: endpoint_ip(family, *n), port: 8080 }).collect()
    }

    /// The endpoints on this node in order.
    pub(crate) fn local(&self, family: Family) -> Vec<EndpointAddr> {
        let here = self.numbers().iter().filter(|n| **n < 10);
        here.map(|n| EndpointAddr { ip: endpoint_ip(family, *n), port: 8080 }).collect()
    }

    /// The first packet of a connection.
    pub(crate) fn packet(&self, from: From, to: Kind, family: Family) -> Packet {
        let (to, port) = match to {
            Kind::ClusterIp => (cluster_ip(family), PORT),
            Kind::ExternalIp => (external_ip(family), PORT),
            Kind::LoadBalancerIp => (load_balancer_ip(family), PORT),
            Kind::NodePort => (node_ip(family), NODE_PORT),
        };
        let number = self.protocol.number();
        match from {
            From::Pod => forwarded(endpoint_ip(family, 9), to, number, port, "veth9"),
            From::Node => of_node(node_ip(family), to, number, port),
            From::Outside => forwarded(ip(family, [203, 0, 113, 9], "2001:db8:113::9"), to, number, port, "eth0"),
        }
    }
}
