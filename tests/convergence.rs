//! Rung 4: any order, duplication or splitting of events, and injected failures, end in the same ruleset.

#[path = "support/canonical.rs"]
mod canonical;

use canonical::canonical;
use ferroproxy::agent::{Arrivals, Engine, Rules};
use ferroproxy::apply::memory::Memory;
use ferroproxy::apply::target::{CommitError, Live, Remedy, Target};
use ferroproxy::apply::{compare, diff};
use ferroproxy::compile::bytes::Bytes;
use ferroproxy::compile::ruleset::Name;
use ferroproxy::model::{
    Change, Conditions, Config, EndpointSlice, Event, Family, Hints, LocalDetector, Node, NodePortAddresses,
    ObjectName, PerFamily, Protocol, Service, ServiceCidr, ServicePort, SliceEndpoint, SlicePort, SourceConfig,
    TrafficPolicy,
};
use ferroproxy::state::State;
use proptest::prelude::*;

const NODE: &str = "node-a";

fn any_config() -> impl Strategy<Value = Config> {
    let detector = prop_oneof![
        3 => Just(config().detector),
        1 => Just(LocalDetector::None),
        2 => Just(LocalDetector::NodeCidr),
        1 => Just(LocalDetector::BridgeInterface("cni0".into())),
    ];
    let node_ports = prop_oneof![Just(NodePortAddresses::Primary), Just(NodePortAddresses::All)];
    (detector, node_ports, any::<bool>()).prop_map(|(detector, node_port_addresses, masquerade_all)| Config {
        detector,
        node_port_addresses,
        masquerade_all,
        ..config()
    })
}

fn config() -> Config {
    let nets = PerFamily { v4: Some("10.244.0.0/16".parse().unwrap()), v6: Some("fd00:10:244::/48".parse().unwrap()) };
    Config { detector: LocalDetector::ClusterCidr(nets), ..Config::new(SourceConfig::Manifests("unused".into()), NODE) }
}

/// A small world in which frontends collide often.
fn service() -> impl Strategy<Value = Service> {
    let port = (0usize..2, prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)], proptest::option::of(0u16..3));
    let ports = proptest::collection::vec(port, 1..3);
    let policies = (any::<bool>(), any::<bool>());
    let externals = (proptest::collection::vec(0u8..3, 0..3), proptest::collection::vec(0u8..3, 0..2));
    // Mostly a service keeps its cluster IP; it may take another's.
    let name = (0u8..5, proptest::option::weighted(0.2, 0u8..5));
    (name, ports, policies, externals, any::<bool>(), 0i64..3).prop_map(
        |((n, moved), ports, policies, externals, dual, age)| {
            let policy = |local| if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
            let at = moved.unwrap_or(n);
            let mut cluster_ips = vec![[10, 96, 0, at].into()];
            if dual {
                cluster_ips.push(format!("fd00:10:96::{at:x}").parse().unwrap());
            }
            let port = |(i, (number, protocol, node_port)): (usize, (usize, Protocol, Option<u16>))| ServicePort {
                name: format!("p{i}").into(),
                protocol,
                port: 80 + number as u16,
                node_port: node_port.map(|n| 30_000 + n),
            };
            Service {
                created: (age > 0).then(|| jiff::Timestamp::from_second(age).unwrap()),
                cluster_ips,
                external_ips: externals.0.iter().map(|n| [192, 0, 2, *n].into()).collect(),
                load_balancer_ips: externals.1.iter().map(|n| [198, 51, 100, *n].into()).collect(),
                ports: ports.into_iter().enumerate().map(port).collect(),
                internal_policy: policy(policies.0),
                external_policy: policy(policies.1),
                source_ranges: ranges(externals.1.len(), n),
                ..Service::named("default", &format!("s{n}"))
            }
        },
    )
}

/// Some services guard their load-balancer IPs, with nested ranges.
fn ranges(many: usize, n: u8) -> Vec<ipnet::IpNet> {
    let all = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24"].map(|net| net.parse().unwrap());
    all.into_iter().skip(usize::from(n) % 3).take(many * (usize::from(n) % 2 + 1)).collect()
}

fn slice() -> impl Strategy<Value = EndpointSlice> {
    let endpoint = (0u8..6, 0u8..4, any::<bool>(), 0u8..8);
    (0u8..8, 0u8..5, any::<bool>(), proptest::collection::vec(endpoint, 0..5)).prop_map(|(n, of, v6, endpoints)| {
        let endpoint = |(last, conditions, local, hint): (u8, u8, bool, u8)| SliceEndpoint {
            address: if v6 { format!("fd00:10:244::{last:x}").parse().unwrap() } else { [10, 244, 0, last].into() },
            conditions: Conditions { ready: conditions != 0, serving: true, terminating: conditions < 2 },
            node: Some(if local { NODE } else { "elsewhere" }.into()),
            hints: (hint > 3).then(|| {
                let nodes = (hint == 4).then(|| NODE.into()).into_iter().collect();
                Box::new(Hints { zones: vec![format!("z{}", hint % 2).into()], nodes })
            }),
        };
        let port = |i: usize, protocol| SlicePort { name: format!("p{i}").into(), protocol, port: 8080 };
        EndpointSlice {
            name: ObjectName::new("default", format!("slice{n}")),
            service: ObjectName::new("default", format!("s{of}")),
            family: if v6 { Family::V6 } else { Family::V4 },
            ports: vec![port(0, Protocol::Tcp), port(0, Protocol::Udp), port(1, Protocol::Tcp), port(1, Protocol::Udp)],
            endpoints: endpoints.into_iter().map(endpoint).collect(),
            triggered: None,
        }
    })
}

fn node() -> impl Strategy<Value = Event> {
    let node = (any::<bool>(), proptest::option::of(0u8..2), proptest::option::of(0u8..3));
    let told = node.prop_map(|(known, zone, pods)| {
        let ips = if known { vec![[192, 0, 2, 100].into()] } else { Vec::new() };
        let labels = zone.map(|n| ("topology.kubernetes.io/zone".into(), format!("z{n}"))).into_iter().collect();
        let pod_cidrs = pods.map(|n| format!("10.244.{n}.0/24").parse().unwrap()).into_iter().collect();
        Event::Node(Change::Upsert(Node { name: NODE.into(), internal_ips: ips, labels, pod_cidrs, ..Node::default() }))
    });
    prop_oneof![4 => told, 1 => Just(Event::Node(Change::Delete(NODE.into())))]
}

fn cidr() -> impl Strategy<Value = Event> {
    let name = || prop_oneof![Just("kubernetes"), Just("more")];
    let told = (name(), 0usize..4).prop_map(|(name, n)| {
        let cidrs = ["10.96.0.0/12", "10.96.0.0/16", "10.97.0.0/16", "0.0.0.0/0"];
        let cidrs = vec![cidrs[n].parse().unwrap(), "fd00:10:96::/112".parse().unwrap()];
        Event::ServiceCidr(Change::Upsert(ServiceCidr { name: name.into(), cidrs }))
    });
    prop_oneof![3 => told, 1 => name().prop_map(|name| Event::ServiceCidr(Change::Delete(name.into())))]
}

/// One event, or a list that replaces all that was known of a kind.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let services = proptest::collection::vec(service(), 0..4);
    let slices = proptest::collection::vec(slice(), 0..6);
    let list = |events: Vec<Event>, first, last| [vec![first], events, vec![last]].concat();
    prop_oneof![
        20 => event().prop_map(|event| vec![event]),
        1 => services.prop_map(move |told| {
            let told = told.into_iter().map(|s| Event::Service(Change::Upsert(s))).collect();
            list(told, Event::Service(Change::Init), Event::Service(Change::Synced))
        }),
        1 => slices.prop_map(move |told| {
            let told = told.into_iter().map(|s| Event::Slice(Change::Upsert(s))).collect();
            list(told, Event::Slice(Change::Init), Event::Slice(Change::Synced))
        }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let gone = |prefix: &'static str| move |n| ObjectName::new("default", format!("{prefix}{n}"));
    prop_oneof![
        6 => service().prop_map(|s| Event::Service(Change::Upsert(s))),
        8 => slice().prop_map(|s| Event::Slice(Change::Upsert(s))),
        2 => (0u8..5).prop_map(gone("s")).prop_map(|n| Event::Service(Change::Delete(n))),
        2 => (0u8..8).prop_map(gone("slice")).prop_map(|n| Event::Slice(Change::Delete(n))),
        2 => node(),
        2 => cidr(),
    ]
}

/// A refusal to inject, some of them after something foreign happened to the tables.
#[derive(Clone, Debug)]
enum Trouble {
    None,
    Refused(Remedy),
    TableLost(Family),
    SetEmptied,
    Unreadable(usize),
    Poison(u8, Remedy),
}

/// An element that one of the services is likely to ask for.
fn key_of(n: u8) -> (Name, Bytes) {
    let frontend = Bytes::new().addr([10, 96, 0, n % 5].into()).proto(Protocol::Tcp).port(80);
    match n / 5 {
        0 => ("services".into(), frontend),
        1 => ("endpoints".into(), frontend.number(0)),
        _ => ("cluster-ips".into(), Bytes::new().addr([10, 96, 0, n % 5].into())),
    }
}

fn for_good() -> impl Strategy<Value = Remedy> {
    prop_oneof![Just(Remedy::Resync), Just(Remedy::Rebuild), Just(Remedy::GiveUp)]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        6 => Just(Trouble::None),
        1 => Just(Trouble::Refused(Remedy::Retry)),
        1 => Just(Trouble::Refused(Remedy::Resync)),
        1 => Just(Trouble::Refused(Remedy::Rebuild)),
        1 => Just(Trouble::Refused(Remedy::GiveUp)),
        1 => Just(Trouble::TableLost(Family::V4)),
        1 => Just(Trouble::SetEmptied),
        1 => (1usize..4).prop_map(Trouble::Unreadable),
        2 => (0u8..15, for_good()).prop_map(|(n, remedy)| Trouble::Poison(n, remedy)),
    ]
}

fn inject(memory: &mut Memory, trouble: &Trouble) {
    match trouble {
        Trouble::None => {}
        Trouble::Refused(remedy) => memory.failures.push(CommitError { remedy: *remedy, ..injected() }),
        Trouble::Unreadable(times) => {
            memory.unreadable = *times;
            memory.failures.push(CommitError { remedy: Remedy::Resync, ..injected() });
        }
        Trouble::Poison(n, remedy) => {
            memory.poison.insert(key_of(*n), *remedy);
        }
        Trouble::TableLost(family) => *memory.live.get_mut(*family) = None,
        Trouble::SetEmptied => {
            let table = memory.live.v4.as_mut();
            if let Some(set) = table.and_then(|t| t.sets.get_mut("services")) {
                set.elements.clear();
            }
        }
    }
}

fn injected() -> CommitError {
    CommitError { remedy: Remedy::Retry, errno: None, message: "injected".into(), element: None }
}

fn engine(config: &Config, memory: Memory) -> Engine<Memory> {
    Engine::new(config.clone(), Family::ALL.to_vec(), memory)
}

/// What a fresh process makes of the state.
fn from_scratch(config: &Config, state: &State) -> Live {
    let mut engine = engine(config, Memory::default());
    engine.sync(state.snapshot(), Default::default(), &Arrivals::default());
    engine.target_mut().read_back().unwrap()
}

fn in_force(engine: &mut Engine<Memory>) -> Live {
    engine.target_mut().read_back().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_story_ends_where_a_fresh_start_ends(
        config in any_config(),
        story in proptest::collection::vec((events(), any::<bool>(), any::<bool>(), trouble()), 1..60),
    ) {
        let (mut state, mut engine) = (State::new(), engine(&config, Memory::default()));
        for (events, twice, pause, trouble) in story {
            if twice {
                events.iter().cloned().for_each(|event| state.apply(event));
            }
            events.into_iter().for_each(|event| state.apply(event));
            if pause {
                inject(engine.target_mut(), &trouble);
                let changes = state.take_changes();
                engine.sync(state.snapshot(), changes, &Arrivals::default());
            }
        }
        let changes = state.take_changes();
        engine.target_mut().failures.clear();
        engine.target_mut().poison.clear();
        engine.target_mut().unreadable = 0;
        engine.sync(state.snapshot(), changes, &Arrivals::default());
        // What nobody told us (a lost table) is found by the audit.
        engine.audit(state.snapshot());
        prop_assert!(!engine.is_failing());
        prop_assert_eq!(engine.sync(state.snapshot(), Default::default(), &Arrivals::default()).quarantined.len(), 0);
        prop_assert_eq!(canonical(&in_force(&mut engine)), canonical(&from_scratch(&config, &state)));
    }

    #[test]
    fn what_the_kernel_refuses_costs_its_services_only(
        config in any_config(),
        story in proptest::collection::vec(event(), 1..40),
        poison in proptest::collection::btree_map((0u8..15).prop_map(key_of), for_good(), 0..4),
    ) {
        let mut memory = Memory::default();
        memory.poison = poison;
        let (mut state, mut engine) = (State::new(), engine(&config, memory));
        let mut left_out = Vec::new();
        for event in story {
            state.apply(event);
            let changes = state.take_changes();
            left_out = engine.sync(state.snapshot(), changes, &Arrivals::default()).quarantined;
            prop_assert!(!engine.is_failing());
        }
        // Without the services left out, and what they still had, nothing tells the world from one in which they never were.
        for name in left_out {
            let (namespace, name) = name.split_once('/').unwrap();
            state.apply(Event::Service(Change::Delete(ObjectName::new(namespace, name))));
        }
        let changes = state.take_changes();
        prop_assert_eq!(engine.sync(state.snapshot(), changes, &Arrivals::default()).quarantined.len(), 0);
        prop_assert_eq!(canonical(&in_force(&mut engine)), canonical(&from_scratch(&config, &state)));
    }

    #[test]
    fn the_remembered_difference_is_the_real_one(
        config in any_config(),
        story in proptest::collection::vec(event(), 1..40),
    ) {
        let (mut state, mut engine) = (State::new(), engine(&config, Memory::default()));
        for event in story {
            state.apply(event);
            let changes = state.take_changes();
            engine.sync(state.snapshot(), changes, &Arrivals::default());
            let live = in_force(&mut engine);
            let draft = engine.compiler().unwrap().draft();
            prop_assert!(diff(draft).is_empty());
            for (family, wanted) in draft.ruleset().iter() {
                let pending = compare(family, wanted.as_ref().unwrap(), live.get(family).as_ref());
                prop_assert_eq!(pending, Default::default());
            }
        }
    }

    #[test]
    fn a_restart_changes_nothing(config in any_config(), story in proptest::collection::vec(event(), 1..40)) {
        let (mut state, mut first) = (State::new(), engine(&config, Memory::default()));
        for event in story {
            state.apply(event);
            let changes = state.take_changes();
            first.sync(state.snapshot(), changes, &Arrivals::default());
        }
        let mut second = engine(&config, first.target().clone());
        let report = second.sync(state.snapshot(), Default::default(), &Arrivals::default());
        prop_assert_eq!(report.operations, 0, "slots and capacities are adopted");
    }
}
