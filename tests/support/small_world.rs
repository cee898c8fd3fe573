//! Random small worlds, in which frontends collide often, and random packets in them.

use std::net::IpAddr;

use ferroproxy::compile::walk::{Environment, Packet};
use ferroproxy::model::{
    Change, Conditions, Config, EndpointSlice, Event, Family, Hints, LocalDetector, Node, NodePortAddresses,
    ObjectName, PerFamily, Protocol, Service, ServiceCidr, ServicePort, SliceEndpoint, SlicePort, SourceConfig,
    TrafficPolicy,
};
use ferroproxy::state::State;
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::walking::{forwarded, of_node};

/// The own node's name.
pub(crate) const NODE: &str = "node-a";

/// Everything there is.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) services: Vec<Service>,
    pub(crate) slices: Vec<EndpointSlice>,
    pub(crate) node: Option<Node>,
    pub(crate) cidrs: Vec<IpNet>,
    pub(crate) around: Environment,
}

impl World {
    /// Told to a store, as a source would.
    pub(crate) fn state(&self) -> State {
        let mut state = State::new();
        let events = self.services.iter().cloned().map(|s| Event::Service(Change::Upsert(s)));
        events.for_each(|event| state.apply(event));
        self.slices.iter().cloned().for_each(|slice| state.apply(Event::Slice(Change::Upsert(slice))));
        self.node.iter().cloned().for_each(|node| state.apply(Event::Node(Change::Upsert(node))));
        let cidr = ServiceCidr { name: "kubernetes".into(), cidrs: self.cidrs.clone() };
        state.apply(Event::ServiceCidr(Change::Upsert(cidr)));
        let loopback = Family::ALL.map(|family| Place::Loopback.ip(family));
        state.apply(Event::LocalAddresses(self.around.local_addresses.iter().copied().chain(loopback).collect()));
        state
    }

    /// A packet that hits a frontend some Service claims, if it is aimed and there is one.
    pub(crate) fn send(&self, shot: &Shot) -> Packet {
        let family = shot.packet.family();
        let ports = self.services.iter().flat_map(|service| service.ports.iter().map(move |port| (service, port)));
        let frontends = ports.flat_map(|(service, port)| {
            let ips = service.cluster_ips.iter().chain(&service.external_ips).chain(&service.load_balancer_ips);
            let nodes = [Place::Node(1), Place::Node(3)].map(|place| place.ip(family));
            let by_node_port = port.node_port.map(|number| nodes.map(|ip| (ip, number, port.protocol)));
            ips.map(|ip| (*ip, port.port, port.protocol)).chain(by_node_port.into_iter().flatten())
        });
        let frontends: Vec<_> = frontends.filter(|(ip, ..)| Family::of(*ip) == family).collect();
        match &shot.aim {
            Some(aim) if !frontends.is_empty() => {
                let (destination, destination_port, protocol) = *aim.get(&frontends);
                Packet { destination, destination_port, protocol: protocol.number(), ..shot.packet.clone() }
            }
            _ => shot.packet.clone(),
        }
    }
}

/// A packet, and perhaps what it is aimed at.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    packet: Packet,
    aim: Option<Index>,
}

/// The places of a world, the same in both families.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// 1 to 3 are on this node, the rest elsewhere.
    Pod(u8),
    /// 1 is this node's InternalIP; 3 may be another address on its interfaces, of which its Node does not know.
    Node(u8),
    NodeOutside,
    ClusterIp(u8),
    External(u8),
    LoadBalancer(u8),
    Client(u8),
    Loopback,
}

impl Place {
    fn ip(self, family: Family) -> IpAddr {
        let (v4, v6) = match self {
            Place::Pod(n) => ([10, 244, 0, n], [0xfd00, 0x244, 0, n.into()]),
            Place::Node(n) => ([192, 168, 0, n], [0xfd00, 0x168, 0, n.into()]),
            Place::NodeOutside => ([203, 0, 113, 1], [0x2001, 0xdb8, 0x113, 1]),
            Place::ClusterIp(n) => ([10, 96, 0, n], [0xfd00, 0x96, 0, n.into()]),
            Place::External(n) => ([192, 0, 2, n], [0x2001, 0xdb8, 2, n.into()]),
            Place::LoadBalancer(n) => ([198, 51, 100, n], [0x2001, 0xdb8, 0x100, n.into()]),
            Place::Client(n) => ([172, 16, 9, n], [0x2001, 0xdb8, 0x16, n.into()]),
            Place::Loopback => ([127, 0, 0, 1], [0, 0, 0, 1]),
        };
        match family {
            Family::V4 => v4.into(),
            Family::V6 => [v6[0], v6[1], 0, 0, 0, 0, v6[2], v6[3]].into(),
        }
    }
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a network")
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn families() -> impl Strategy<Value = Vec<Family>> {
    prop_oneof![2 => Just(Family::ALL.to_vec()), 1 => family().prop_map(|f| vec![f])]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![3 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)]
}

fn policy() -> impl Strategy<Value = TrafficPolicy> {
    prop_oneof![Just(TrafficPolicy::Cluster), Just(TrafficPolicy::Local)]
}

/// An address someone may put into `externalIPs` or an LB status: the node's own and others' cluster IPs among them.
fn public() -> impl Strategy<Value = Place> {
    prop_oneof![
        4 => (0u8..3).prop_map(Place::External),
        4 => (0u8..3).prop_map(Place::LoadBalancer),
        1 => Just(Place::Node(1)),
        1 => (0u8..4).prop_map(Place::ClusterIp),
    ]
}

/// Nested, repeated and adjacent ranges, some with bits beyond their prefix; the same in both families.
const SOURCE_RANGES: [[&str; 2]; 14] = [
    ["10.244.0.0/24", "fd00:244::/64"],
    ["10.244.0.3/30", "fd00:244::3/126"],
    ["10.244.0.4/31", "fd00:244::4/127"],
    ["10.244.0.2/32", "fd00:244::2/128"],
    ["172.16.9.0/24", "2001:db8:16::/48"],
    ["172.16.9.1/31", "2001:db8:16::1/127"],
    ["172.16.9.1/32", "2001:db8:16::1/128"],
    ["192.168.0.0/24", "fd00:168::/32"],
    ["192.168.0.1/32", "fd00:168::1/128"],
    ["203.0.113.0/24", "2001:db8:113::/48"],
    ["198.51.100.1/32", "2001:db8:100::1/128"],
    ["0.0.0.0/1", "::/1"],
    ["128.0.0.0/1", "8000::/1"],
    ["0.0.0.0/0", "::/0"],
];

/// Networks with local addresses in them, with others, with loopback, with none, with everything.
const NODE_NETS: [[&str; 2]; 8] = [
    ["192.168.0.0/24", "fd00:168::/64"],
    ["192.168.0.1/32", "fd00:168::1/128"],
    ["192.168.0.3/31", "fd00:168::3/127"],
    ["203.0.113.9/24", "2001:db8:113::9/48"],
    ["10.96.0.0/16", "fd00:96::/64"],
    ["127.0.0.0/8", "::1/128"],
    ["172.30.0.0/16", "2001:db8:30::/48"],
    ["0.0.0.0/0", "::/0"],
];

/// Some of these networks.
fn nets(of: &'static [[&str; 2]], most: usize) -> impl Strategy<Value = Vec<IpNet>> {
    let one = (0..of.len(), 0usize..2).prop_map(|(n, family)| net(of[n][family]));
    vec(one, 0..=most)
}

fn service_port() -> impl Strategy<Value = (Protocol, u16, Option<u16>)> {
    (protocol(), 80u16..82, option::of(30_000u16..30_003))
}

fn service() -> impl Strategy<Value = Service> {
    let addresses = (families(), vec(public(), 0..3), vec(public(), 0..3));
    let ports = vec(service_port(), 1..4);
    let ports = prop_oneof![9 => ports, 1 => Just(Vec::new())];
    let ranges = prop_oneof![1 => Just(Vec::new()), 2 => nets(&SOURCE_RANGES, 5)];
    let policies = (policy(), policy());
    let affinity = option::weighted(0.3, 1u32..=86_400);
    let rest = (policies, affinity, 0i64..3);
    (0u8..4, addresses, ports, rest, ranges).prop_map(|(n, addresses, ports, rest, ranges)| {
        let (policies, affinity, age) = rest;
        let (families, external, balanced) = addresses;
        let both = |places: &[Place]| -> Vec<IpAddr> {
            places.iter().flat_map(|place| Family::ALL.map(|family| place.ip(family))).collect()
        };
        let port = |(i, (protocol, port, node_port)): (usize, (Protocol, u16, Option<u16>))| ServicePort {
            name: format!("p{i}").into(),
            protocol,
            port,
            node_port,
        };
        Service {
            created: (age > 0).then(|| jiff::Timestamp::from_second(age).expect("a time")),
            cluster_ips: families.iter().map(|family| Place::ClusterIp(n).ip(*family)).collect(),
            external_ips: both(&external),
            load_balancer_ips: both(&balanced),
            ports: ports.into_iter().enumerate().map(port).collect(),
            internal_policy: policies.0,
            external_policy: policies.1,
            source_ranges: ranges,
            affinity,
            ..Service::named("default", &format!("s{n}"))
        }
    })
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let (ready, down) = (Conditions::default(), Conditions { ready: false, serving: false, terminating: false });
    let leaving = Conditions { ready: false, serving: true, terminating: true };
    prop_oneof![
        4 => Just(ready),
        1 => Just(down),
        2 => Just(leaving),
        1 => any::<[bool; 3]>().prop_map(|[ready, serving, terminating]| Conditions { ready, serving, terminating }),
    ]
}

/// Hints of a whole slice are often of one kind: else none would ever be complete.
fn hints(kind: u8, zone: u8, node: u8) -> Option<Box<Hints>> {
    let zones = [&["a"] as &[&str], &["b"], &["a", "b"], &[]][usize::from(zone % 4)];
    let nodes = [&[NODE] as &[&str], &["node-b"], &[NODE, "node-b"], &[]][usize::from(node % 4)];
    let arcs = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    let (zones, nodes) = match kind {
        0..=2 => return None,
        3 => (arcs(&zones[..zones.len().min(1)]), Vec::new()),
        4 => (Vec::new(), arcs(nodes)),
        5 => (arcs(zones), arcs(nodes)),
        _ if zone == node => return None,
        _ => (arcs(zones), Vec::new()),
    };
    Some(Box::new(Hints { zones, nodes }))
}

fn endpoint_place() -> impl Strategy<Value = Place> {
    prop_oneof![
        12 => (1u8..7).prop_map(Place::Pod),
        2 => (1u8..3).prop_map(Place::Node),
        1 => (0u8..4).prop_map(Place::ClusterIp),
    ]
}

/// Where an endpoint runs follows from its address, as in a real cluster.
fn home(place: Place) -> Option<std::sync::Arc<str>> {
    match place {
        Place::Pod(1..=3) | Place::Node(1) => Some(NODE.into()),
        Place::Pod(6) => None,
        _ => Some("node-b".into()),
    }
}

fn slice() -> impl Strategy<Value = EndpointSlice> {
    let endpoints = vec((endpoint_place(), conditions(), 0u8..4, 0u8..4), 0..6);
    let ports = vec(option::weighted(0.8, 8080u16..8082), 12);
    (0u8..8, 0u8..4, family(), ports, endpoints, 0u8..7).prop_map(|(n, of, family, ports, endpoints, kind)| {
        let endpoint = |(place, conditions, zone, node): (Place, Conditions, u8, u8)| SliceEndpoint {
            address: place.ip(family),
            conditions,
            node: home(place),
            hints: hints(kind, zone, node),
        };
        let names = (0..4).flat_map(|i| [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].map(|protocol| (i, protocol)));
        let port = |((i, protocol), port): ((usize, _), Option<u16>)| {
            Some(SlicePort { name: format!("p{i}").into(), protocol, port: port? })
        };
        EndpointSlice {
            name: ObjectName::new("default", format!("slice{n}")),
            service: ObjectName::new("default", format!("s{of}")),
            family,
            ports: names.zip(ports).filter_map(port).collect(),
            endpoints: endpoints.into_iter().map(endpoint).collect(),
            triggered: None,
        }
    })
}

fn node() -> impl Strategy<Value = Option<Node>> {
    let zone = option::of(prop_oneof![3 => Just("a"), 1 => Just("c"), 1 => Just("")]);
    let addresses = (families(), any::<bool>());
    option::weighted(
        0.9,
        (zone, addresses, families()).prop_map(|(zone, (families, inside), podded)| {
            let ips = |place: Place| families.iter().map(|family| place.ip(*family)).collect::<Vec<_>>();
            let zone = zone.map(|zone| ("topology.kubernetes.io/zone".to_owned(), zone.to_owned()));
            let pods = |family: &Family| net(if *family == Family::V4 { "10.244.0.0/30" } else { "fd00:244::/126" });
            Node {
                name: NODE.into(),
                internal_ips: if inside { ips(Place::Node(1)) } else { Vec::new() },
                external_ips: ips(Place::NodeOutside),
                pod_cidrs: podded.iter().map(pods).collect(),
                labels: zone.into_iter().collect(),
                ..Node::default()
            }
        }),
    )
}

fn detector() -> impl Strategy<Value = LocalDetector> {
    let (v4, v6) = (Some(net("10.244.0.0/16")), Some(net("fd00:244::/64")));
    prop_oneof![
        2 => Just(LocalDetector::None),
        3 => Just(LocalDetector::ClusterCidr(PerFamily { v4, v6 })),
        1 => Just(LocalDetector::ClusterCidr(PerFamily { v4, v6: None })),
        1 => Just(LocalDetector::NodeCidr),
        1 => Just(LocalDetector::BridgeInterface("cni0".into())),
        1 => Just(LocalDetector::InterfaceNamePrefix("veth".into())),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    let node_ports = prop_oneof![
        1 => Just(NodePortAddresses::All),
        1 => Just(NodePortAddresses::Primary),
        2 => nets(&NODE_NETS, 4).prop_map(NodePortAddresses::Cidrs),
    ];
    let bound = option::weighted(0.1, family().prop_map(|family| Place::NodeOutside.ip(family)));
    let bit = prop_oneof![Just(14u8), Just(0), Just(31)];
    (detector(), node_ports, bound, bit, prop::bool::weighted(0.2), prop::bool::weighted(0.9)).prop_map(
        |(detector, node_port_addresses, bind_address, masquerade_bit, masquerade_all, external)| Config {
            detector,
            node_port_addresses,
            bind_address,
            masquerade_bit,
            masquerade_all,
            feature_gates: [("AllowServiceExternalIPs".to_owned(), external)].into(),
            ..Config::new(SourceConfig::Manifests("unused".into()), NODE)
        },
    )
}

/// A world.
pub(crate) fn world() -> impl Strategy<Value = World> {
    let cidrs = prop_oneof![
        3 => Just(vec![net("10.96.0.0/16"), net("fd00:96::/112")]),
        1 => Just(vec![net("10.96.0.0/30"), net("10.96.0.2/31")]),
        1 => Just(Vec::new()),
    ];
    // A node-local cache binds a cluster IP; an interface has a second address.
    let more = (prop::bool::weighted(0.2), any::<bool>());
    let objects = (vec(service(), 1..6), vec(slice(), 2..9));
    (config(), objects, node(), cidrs, more).prop_map(|(config, (services, slices), node, cidrs, (cached, second))| {
        let mut places = vec![Place::Node(1), Place::NodeOutside];
        places.extend(cached.then_some(Place::ClusterIp(1)));
        places.extend(second.then_some(Place::Node(3)));
        let local = places.iter().flat_map(|place| Family::ALL.map(|family| place.ip(family)));
        let around = Environment { local_addresses: local.collect() };
        // Of objects told twice the last word counts.
        World { config, services, slices, node, cidrs, around }
    })
}

fn source() -> impl Strategy<Value = (Place, bool)> {
    prop_oneof![
        4 => (1u8..8).prop_map(|n| (Place::Pod(n), false)),
        2 => Just((Place::Node(1), true)),
        1 => Just((Place::NodeOutside, true)),
        1 => Just((Place::Loopback, true)),
        1 => Just((Place::Node(2), false)),
        2 => (0u8..2).prop_map(|n| (Place::Client(n), false)),
        1 => (0u8..3).prop_map(|n| (Place::LoadBalancer(n), false)),
    ]
}

fn destination() -> impl Strategy<Value = Place> {
    prop_oneof![
        6 => (0u8..5).prop_map(Place::ClusterIp),
        3 => (0u8..3).prop_map(Place::External),
        3 => (0u8..3).prop_map(Place::LoadBalancer),
        3 => (1u8..4).prop_map(Place::Node),
        1 => Just(Place::NodeOutside),
        1 => Just(Place::Loopback),
        1 => (1u8..7).prop_map(Place::Pod),
        1 => Just(Place::Client(1)),
    ]
}

/// Most are aimed.
pub(crate) fn shot() -> impl Strategy<Value = Shot> {
    (packet(), option::weighted(0.7, any::<Index>())).prop_map(|(packet, aim)| Shot { packet, aim })
}

/// The first packet of a connection.
fn packet() -> impl Strategy<Value = Packet> {
    let number = prop_oneof![9 => protocol().prop_map(Protocol::number), 1 => Just(1u8)];
    let port = prop_oneof![4 => 80u16..82, 4 => 30_000u16..30_003, 1 => 8080u16..8082, 1 => Just(443u16)];
    let interface = prop_oneof![Just("veth1"), Just("cni0"), Just("eth0"), Just("cni01")];
    let mark = prop_oneof![2 => Just(0u32), 1 => any::<u32>()];
    (family(), source(), destination(), number, port, interface, mark).prop_map(
        |(family, (from, own), to, protocol, port, interface, mark)| {
            let (from, to) = (from.ip(family), to.ip(family));
            // ICMP has no ports.
            let port = if protocol == 1 { 0 } else { port };
            let packet = match own {
                true => of_node(from, to, protocol, port),
                false => forwarded(from, to, protocol, port, interface),
            };
            Packet { mark, ..packet }
        },
    )
}
