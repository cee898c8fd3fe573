use super::*;
use crate::model::{Conditions, EndpointAddr, Family, Hints};
use crate::state::Endpoint;

const READY: Conditions = Conditions { ready: true, serving: true, terminating: false };
const LEAVING: Conditions = Conditions { ready: false, serving: true, terminating: true };
const DOWN: Conditions = Conditions { ready: false, serving: false, terminating: false };

fn endpoint(n: u8, conditions: Conditions, local: bool) -> Endpoint<'static> {
    let addr = EndpointAddr { ip: [10, 244, 0, n].into(), port: 80 };
    Endpoint { addr, conditions, local, hints: None, slice: "s" }
}

fn hinted<'a>(n: u8, hints: &'a Hints) -> Endpoint<'a> {
    Endpoint { hints: Some(hints), ..endpoint(n, READY, false) }
}

fn last(addrs: &[EndpointAddr]) -> Vec<u8> {
    let octet = |addr: &EndpointAddr| match addr.ip {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(ip) => ip.octets()[15],
    };
    addrs.iter().map(octet).collect()
}

#[test]
fn ready_endpoints_come_first_for_each_policy_apart() {
    let all = [endpoint(1, READY, false), endpoint(2, LEAVING, true), endpoint(3, DOWN, true)];
    let choice = choose(&all, "node", None);
    assert_eq!(last(&choice.cluster), [1]);
    assert_eq!(last(&choice.local), [2], "on this node only a terminating one serves");
    assert_eq!(last(&choice.on_node), [2]);
}

#[test]
fn terminating_ones_serve_when_none_is_ready() {
    let choice = choose(&[endpoint(1, LEAVING, false), endpoint(2, DOWN, false)], "node", None);
    assert_eq!(last(&choice.cluster), [1]);
    assert!(choice.local.is_empty());
}

fn hints(zones: &[&str], nodes: &[&str]) -> Hints {
    let arcs = |names: &[&str]| names.iter().map(|n| (*n).into()).collect();
    Hints { zones: arcs(zones), nodes: arcs(nodes) }
}

#[test]
fn hints_are_used_only_when_every_ready_endpoint_has_one_and_one_names_us() {
    let (a, b, none) = (hints(&["a"], &[]), hints(&["b"], &[]), hints(&[], &[]));
    let zone = |endpoints: &[Endpoint<'_>], zone| {
        let choice = choose(endpoints, "node", zone);
        (last(&choice.cluster), choice.topology)
    };
    assert_eq!(zone(&[hinted(1, &a), hinted(2, &b)], Some("b")), (vec![2], Topology::SameZone));
    let all = |why| (vec![1, 2], Topology::All(why));
    assert_eq!(zone(&[hinted(1, &a), hinted(2, &b)], Some("c")), all(HintsIgnored::NotForUs));
    assert_eq!(zone(&[hinted(1, &a), hinted(2, &b)], None), all(HintsIgnored::NoZone));
    assert_eq!(zone(&[hinted(1, &a), hinted(2, &none)], Some("a")), all(HintsIgnored::Incomplete));
    assert_eq!(zone(&[endpoint(1, READY, false), endpoint(2, READY, false)], Some("a")), all(HintsIgnored::None));
}

#[test]
fn node_hints_beat_zone_hints() {
    let (ours, theirs) = (hints(&["b"], &["node"]), hints(&["a"], &["other"]));
    let both = [hinted(1, &theirs), hinted(2, &ours)];
    assert_eq!(choose(&both, "node", Some("a")).topology, Topology::SameNode);
    assert_eq!(last(&choose(&both, "node", Some("a")).cluster), [2]);
    assert_eq!(last(&choose(&both, "elsewhere", Some("a")).cluster), [1]);
}

#[test]
fn hints_of_endpoints_that_are_not_ready_do_not_count() {
    let a = hints(&["a"], &[]);
    let mixed = [hinted(1, &a), endpoint(2, DOWN, false)];
    assert_eq!(choose(&mixed, "node", Some("a")).topology, Topology::SameZone);
}

mod routes {
    use super::*;
    use crate::model::{EndpointSlice, Protocol, Service, ServicePort, SliceEndpoint, SlicePort, TrafficPolicy};
    use crate::state::ServiceEntry;

    fn entry(policy: TrafficPolicy, endpoints: &[(u8, &str)]) -> ServiceEntry {
        let port = ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80, node_port: Some(30080) };
        let service = Service {
            cluster_ips: vec![[10, 96, 0, 1].into()],
            external_ips: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            ports: vec![port],
            external_policy: policy,
            source_ranges: vec!["10.0.0.0/8".parse().unwrap(), "::/0".parse().unwrap()],
            ..Service::named("default", "web")
        };
        let endpoint = |(n, node): &(u8, &str)| SliceEndpoint {
            address: [10, 244, 0, *n].into(),
            conditions: Conditions::default(),
            node: Some((*node).into()),
            hints: None,
        };
        let slice = EndpointSlice {
            name: crate::model::ObjectName::new("default", "web-1"),
            service: service.name.clone(),
            family: Family::V4,
            ports: vec![SlicePort { name: "".into(), protocol: Protocol::Tcp, port: 8080 }],
            endpoints: endpoints.iter().map(endpoint).collect(),
            triggered: None,
        };
        ServiceEntry { service: Some(service), slices: [("web-1".into(), slice)].into() }
    }

    fn only(entry: &ServiceEntry, external_ips: bool) -> PortRoutes {
        let mut routes = route(entry, Viewpoint { node_name: "node", node: None, external_ips });
        assert_eq!(routes.len(), 1);
        routes.remove(0)
    }

    #[test]
    fn without_endpoints_everything_is_refused() {
        let routes = only(&entry(TrafficPolicy::Local, &[]), true);
        assert_eq!((routes.internal, routes.external), (Route::Reject, Route::Reject));
    }

    #[test]
    fn under_local_policy_without_local_endpoints_external_traffic_is_dropped() {
        let routes = only(&entry(TrafficPolicy::Local, &[(1, "other")]), true);
        assert_eq!((routes.internal, routes.external), (Route::Balance(Pool::Cluster), Route::Drop));
        assert_eq!(last(&routes.cluster), [1], "the short-circuits need the Cluster pool");
    }

    #[test]
    fn frontends_and_ranges_are_those_of_the_family() {
        let routes = only(&entry(TrafficPolicy::Cluster, &[(1, "node")]), true);
        assert_eq!(routes.external_ips, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
        assert_eq!(routes.source_ranges, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(last(&routes.on_node), [1]);
        assert!(routes.local.is_empty(), "no policy is Local");
    }

    #[test]
    fn hints_that_have_no_say_are_named() {
        let mut hinted = entry(TrafficPolicy::Cluster, &[(1, "node"), (2, "other")]);
        assert_eq!(only(&hinted, true).hints_ignored, None, "there are no hints");
        let slice = hinted.slices.values_mut().next().unwrap();
        slice.endpoints[0].hints = Some(hints(&["a"], &[]).into());
        assert_eq!(only(&hinted, true).hints_ignored, Some(HintsIgnored::Incomplete));
        hinted.slices.values_mut().next().unwrap().endpoints[1].hints = Some(hints(&["b"], &[]).into());
        assert_eq!(only(&hinted, true).hints_ignored, Some(HintsIgnored::NoZone));
    }

    #[test]
    fn external_ips_can_be_switched_off() {
        assert!(only(&entry(TrafficPolicy::Cluster, &[]), false).external_ips.is_empty());
    }

    #[test]
    fn a_range_that_lets_everyone_in_is_no_guard() {
        let mut open = entry(TrafficPolicy::Cluster, &[]);
        open.service.as_mut().unwrap().source_ranges.push("0.0.0.0/0".parse().unwrap());
        assert!(only(&open, true).source_ranges.is_empty());
    }
}
