use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::{Family, Protocol};

const UDP: Protocol = Protocol::Udp;

fn ip(last: u8) -> IpAddr {
    [10, 96, 0, last].into()
}

fn pod(last: u8, port: u16) -> EndpointAddr {
    EndpointAddr { ip: [10, 244, 0, last].into(), port }
}

fn name(n: u8) -> ObjectName {
    ObjectName::new("default", format!("dns-{n}"))
}

fn ports(frontends: &[Frontend], endpoints: &[EndpointAddr]) -> Vec<PortFlows> {
    let endpoints = endpoints.iter().copied().collect();
    vec![PortFlows { family: Family::V4, frontends: frontends.to_vec(), endpoints }]
}

/// A flow to `destination` port 53 that `answers` answers.
fn flow(destination: IpAddr, answers: EndpointAddr) -> Flow {
    let destination = EndpointAddr { ip: destination, port: 53 };
    Flow { protocol: UDP, source: pod(200, 4000), destination, reply_source: answers, id: 1 }
}

/// A flow that met no rule.
fn untouched(destination: IpAddr) -> Flow {
    flow(destination, EndpointAddr { ip: destination, port: 53 })
}

const DNS: Frontend = Frontend::Address(IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 1)), UDP, 53);
const NODE_PORT: Frontend = Frontend::NodePort(UDP, 53);

/// A ledger that has looked at everything with `endpoints` behind DNS and the node port on `ip(77)`.
fn looked(endpoints: &[EndpointAddr]) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.announce(name(1), ports(&[DNS, NODE_PORT], endpoints));
    ledger.announce_scope(NodePortScope::On([ip(77)].into()));
    ledger.settle();
    ledger.begin();
    ledger.finish(true);
    ledger
}

fn change(ledger: &mut Ledger, n: u8, now: Vec<PortFlows>) {
    ledger.announce(name(n), now);
    ledger.settle();
    ledger.begin();
}

fn stale(ledger: &Ledger, flow: Flow) -> bool {
    ledger.is_stale(&flow, |_| panic!("nobody asked"))
}

#[test]
fn an_endpoint_that_left_takes_its_flows_along_and_no_others() {
    let mut ledger = looked(&[pod(1, 53), pod(2, 53)]);
    change(&mut ledger, 1, ports(&[DNS, NODE_PORT], &[pod(2, 53)]));
    for destination in [ip(1), ip(77)] {
        assert!(stale(&ledger, flow(destination, pod(1, 53))));
        assert!(!stale(&ledger, flow(destination, pod(2, 53))));
    }
    assert!(!stale(&ledger, flow(ip(78), pod(1, 53))), "node ports do not answer there");
    assert!(!stale(&ledger, Flow { protocol: Protocol::Sctp, ..flow(ip(1), pod(1, 53)) }), "another protocol");
    let elsewhere = EndpointAddr { ip: ip(1), port: 54 };
    assert!(!stale(&ledger, Flow { destination: elsewhere, ..flow(ip(1), pod(1, 53)) }), "another port");
}

#[test]
fn a_changed_target_port_is_another_endpoint() {
    let mut ledger = looked(&[pod(1, 53)]);
    change(&mut ledger, 1, ports(&[DNS], &[pod(1, 5353)]));
    assert!(stale(&ledger, flow(ip(1), pod(1, 53))));
    assert!(!stale(&ledger, flow(ip(1), pod(1, 5353))));
}

#[test]
fn flows_that_met_no_rule_go_when_the_first_endpoint_comes() {
    let mut ledger = looked(&[]);
    change(&mut ledger, 1, ports(&[DNS, NODE_PORT], &[pod(1, 53)]));
    assert!(stale(&ledger, untouched(ip(1))));
    assert!(stale(&ledger, untouched(ip(77))));
    assert!(!stale(&ledger, untouched(ip(2))));
}

#[test]
fn without_endpoints_no_flow_to_the_frontend_is_left() {
    let mut ledger = looked(&[pod(1, 53)]);
    change(&mut ledger, 1, ports(&[DNS, NODE_PORT], &[]));
    assert!(stale(&ledger, flow(ip(1), pod(1, 53))));
    assert!(stale(&ledger, flow(ip(77), pod(1, 53))));
}

#[test]
fn of_a_deleted_service_only_flows_to_its_endpoints_go() {
    let mut ledger = looked(&[pod(1, 53)]);
    change(&mut ledger, 1, Vec::new());
    assert!(stale(&ledger, flow(ip(1), pod(1, 53))));
    assert!(stale(&ledger, flow(ip(77), pod(1, 53))));
    assert!(!stale(&ledger, flow(ip(1), pod(9, 53))), "by another agent's rules");
    assert!(!stale(&ledger, untouched(ip(1))));
    ledger.finish(true);
    assert!(!stale(&ledger, flow(ip(1), pod(1, 53))), "forgotten once swept");
}

#[test]
fn a_look_that_failed_is_due_again() {
    let mut ledger = looked(&[pod(1, 53)]);
    change(&mut ledger, 1, Vec::new());
    ledger.finish(false);
    assert!(ledger.is_due());
    ledger.begin();
    assert!(stale(&ledger, flow(ip(1), pod(1, 53))));
}

#[test]
fn more_endpoints_are_nothing_to_look_at() {
    let mut ledger = looked(&[pod(1, 53)]);
    ledger.announce(name(1), ports(&[DNS, NODE_PORT], &[pod(1, 53), pod(2, 53)]));
    ledger.announce(name(7), Vec::new());
    ledger.settle();
    assert!(!ledger.is_due());
}

#[test]
fn what_is_announced_serves_at_once_and_what_leaves_serves_until_it_is_in_force() {
    let mut ledger = looked(&[pod(1, 53)]);
    change(&mut ledger, 1, ports(&[DNS], &[pod(2, 53)]));
    ledger.announce(name(1), ports(&[DNS], &[pod(3, 53)]));
    assert!(stale(&ledger, flow(ip(1), pod(1, 53))));
    for last in [2, 3] {
        assert!(!stale(&ledger, flow(ip(1), pod(last, 53))), "{last}");
    }
}

#[test]
fn an_announcement_that_was_replaced_may_have_left_flows() {
    let mut ledger = looked(&[pod(1, 53)]);
    ledger.announce(name(1), ports(&[DNS], &[pod(1, 53), pod(2, 53)]));
    change(&mut ledger, 1, ports(&[DNS], &[pod(1, 53)]));
    assert!(stale(&ledger, flow(ip(1), pod(2, 53))));
    assert!(!stale(&ledger, flow(ip(1), pod(1, 53))));
}

#[test]
fn a_frontend_that_moves_to_another_service_keeps_nothing_of_the_first() {
    let mut ledger = looked(&[pod(1, 53)]);
    ledger.announce(name(1), Vec::new());
    change(&mut ledger, 2, ports(&[DNS], &[pod(2, 53)]));
    assert!(stale(&ledger, flow(ip(1), pod(1, 53))));
    assert!(!stale(&ledger, flow(ip(1), pod(2, 53))));
}

#[test]
fn on_every_local_address_node_ports_ask_whose_it_is() {
    let mut ledger = Ledger::default();
    ledger.announce(name(1), ports(&[NODE_PORT], &[pod(1, 53)]));
    ledger.settle();
    assert_eq!(ledger.begin(), [Question::To(UDP, 53)]);
    let local = |ip: IpAddr| ip == IpAddr::from([192, 0, 2, 10]);
    assert!(ledger.is_stale(&untouched([192, 0, 2, 10].into()), local));
    assert!(!ledger.is_stale(&untouched([203, 0, 113, 9].into()), local), "passing through");
    assert!(!ledger.is_stale(&untouched([127, 0, 0, 1].into()), |_| true));
}

#[test]
fn before_anything_is_in_force_nothing_is_due() {
    let mut ledger = Ledger::default();
    assert!(!ledger.is_due());
    ledger.announce(name(1), ports(&[DNS], &[pod(1, 53)]));
    assert!(!ledger.is_due());
    ledger.settle();
    assert!(ledger.is_due());
}

#[test]
fn other_node_port_addresses_are_a_reason_to_look_at_everything() {
    let mut ledger = looked(&[pod(1, 53)]);
    ledger.announce_scope(NodePortScope::On([ip(77)].into()));
    ledger.settle();
    assert!(!ledger.is_due(), "the same");
    ledger.announce_scope(NodePortScope::On([ip(78)].into()));
    ledger.settle();
    ledger.begin();
    assert!(stale(&ledger, untouched(ip(78))));
}

#[test]
fn few_ports_are_asked_for_apart() {
    let mut ledger = looked(&[pod(1, 53)]);
    ledger.announce(name(1), Vec::new());
    ledger.settle();
    assert_eq!(ledger.begin(), [Question::To(UDP, 53)]);
    let many: Vec<_> = (0..9).map(|port| Frontend::Address(ip(9), Protocol::Sctp, port)).collect();
    ledger.announce(name(2), ports(&many, &[pod(1, 1)]));
    ledger.settle();
    assert_eq!(ledger.begin(), [UDP, Protocol::Sctp].map(Question::Of));
}

/// Services 0 to 3, each with one of four frontends, and some of six endpoints; `None`: deleted.
type Step = Vec<(u8, Option<(u8, Vec<u8>)>)>;

fn step() -> impl Strategy<Value = Step> {
    let endpoints = proptest::collection::vec(0u8..6, 0..4);
    let service = (0u8..4, proptest::option::of((0u8..4, endpoints)));
    proptest::collection::vec(service, 1..4)
}

proptest! {
    /// After any history of syncs and looks, what a look takes away is stale by the plain reading, and nothing stale that
    /// ferroproxy's own rules made is left.
    #[test]
    fn looks_take_what_is_stale_and_nothing_else(steps in proptest::collection::vec((step(), any::<bool>()), 1..12)) {
        let mut ledger = Ledger::default();
        let mut services: BTreeMap<u8, (u8, Vec<u8>)> = BTreeMap::new();
        let mut flows: BTreeSet<(u8, u8)> = BTreeSet::new();
        for (changes, succeeds) in steps {
            for (service, now) in changes {
                let told = now.as_ref().map(|(front, pods)| {
                    let pods: Vec<_> = pods.iter().map(|last| pod(*last, 53)).collect();
                    ports(&[Frontend::Address(ip(*front), UDP, 53)], &pods)
                });
                ledger.announce(name(service), told.unwrap_or_default());
                match now {
                    Some(now) => services.insert(service, now),
                    None => services.remove(&service),
                };
            }
            ledger.settle();
            ledger.begin();
            let serves = |front: u8, last: u8| services.values().any(|(f, pods)| *f == front && pods.contains(&last));
            let gone: Vec<_> =
                flows.iter().copied().filter(|(front, last)| stale(&ledger, flow(ip(*front), pod(*last, 53)))).collect();
            for (front, last) in gone {
                prop_assert!(!serves(front, last), "{front} -> {last} is healthy");
                if succeeds {
                    flows.remove(&(front, last));
                }
            }
            ledger.finish(succeeds);
            if succeeds {
                prop_assert!(flows.iter().all(|(front, last)| serves(*front, *last)), "{flows:?} {services:?}");
            }
            // New flows, as the rules now in force make them.
            flows.extend(services.values().flat_map(|(front, pods)| pods.iter().map(|last| (*front, *last))));
        }
    }
}
