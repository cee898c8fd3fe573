use super::merge::merge_endpoints;
use super::*;
use crate::model::{Conditions, Family, Protocol, ServicePort, SliceEndpoint, SlicePort};

fn name(text: &str) -> ObjectName {
    ObjectName::new("default", text)
}

fn service(text: &str, port: u16) -> Service {
    let port = ServicePort { name: "".into(), protocol: Protocol::Tcp, port, node_port: None };
    Service { cluster_ips: vec![[10, 96, 0, 1].into()], ports: vec![port], ..Service::named("default", text) }
}

fn slice(text: &str, of: &str, last: &[u8]) -> EndpointSlice {
    let endpoint = |n: &u8| SliceEndpoint {
        address: [10, 244, 0, *n].into(),
        conditions: Conditions::default(),
        node: None,
        hints: None,
    };
    EndpointSlice {
        name: name(text),
        service: name(of),
        family: Family::V4,
        ports: vec![SlicePort { name: "".into(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: last.iter().map(endpoint).collect(),
        triggered: None,
    }
}

fn told(events: impl IntoIterator<Item = Event>) -> State {
    let mut state = State::new();
    events.into_iter().for_each(|event| state.apply(event));
    state
}

fn put(service: Service) -> Event {
    Event::Service(Change::Upsert(service))
}

fn put_slice(slice: EndpointSlice) -> Event {
    Event::Slice(Change::Upsert(slice))
}

fn names(changes: &Changes) -> Vec<String> {
    changes.services.iter().map(ToString::to_string).collect()
}

fn count(state: &State) -> usize {
    state.snapshot().services.values().filter(|entry| entry.service.is_some()).count()
}

#[test]
fn nothing_is_complete_before_both_lists() {
    let mut state = told([Event::Service(Change::Init), Event::Service(Change::Synced)]);
    assert!(!state.is_complete());
    state.apply(Event::Slice(Change::Synced));
    assert!(state.is_complete());
}

#[test]
fn a_relist_replaces_what_was_known() {
    let mut state = told([put(service("a", 80)), put(service("b", 80)), put_slice(slice("a-1", "a", &[1]))]);
    state.take_changes();
    for event in [Change::Init, Change::Upsert(service("b", 80)), Change::Synced] {
        state.apply(Event::Service(event));
    }
    let changes = state.take_changes();
    assert_eq!(names(&changes), ["default/a"]);
    assert_eq!(changes.service_events, 1);
    // The slice outlives its Service: it is another kind's story.
    assert!(state.snapshot().services[&name("a")].service.is_none());
}

#[test]
fn a_relist_keeps_what_is_in_force_until_it_is_complete() {
    let mut state = told([put(service("a", 80))]);
    state.take_changes();
    state.apply(Event::Service(Change::Init));
    assert!(!state.has_changes());
    assert_eq!(count(&state), 1);
}

#[test]
fn a_delete_inside_a_list_holds() {
    let mut state = State::new();
    for event in [Change::Init, Change::Upsert(service("a", 80)), Change::Delete(name("a")), Change::Synced] {
        state.apply(Event::Service(event));
    }
    assert_eq!(count(&state), 0);
}

#[test]
fn the_same_again_changes_nothing() {
    let mut state = told([put(service("a", 80)), put_slice(slice("a-1", "a", &[1]))]);
    state.take_changes();
    state.apply(put(service("a", 80)));
    state.apply(put_slice(slice("a-1", "a", &[1])));
    state.apply(Event::Slice(Change::Delete(name("never-seen"))));
    assert_eq!(state.take_changes(), Changes::default());
}

#[test]
fn a_relabelled_slice_leaves_one_service_for_the_other() {
    let mut state = told([put_slice(slice("s", "a", &[1]))]);
    state.take_changes();
    state.apply(put_slice(slice("s", "b", &[1])));
    assert_eq!(names(&state.take_changes()), ["default/a", "default/b"]);
    assert!(!state.snapshot().services.contains_key(&name("a")));
}

#[test]
fn slices_are_merged_and_doubles_counted_once() {
    let mut dying = slice("a-2", "a", &[1, 3]);
    dying.endpoints[0].conditions = Conditions { ready: true, serving: true, terminating: true };
    let slices = [dying, slice("a-1", "a", &[1, 2])];
    let merged = merge_endpoints(slices.iter(), ("", Protocol::Tcp), Family::V4, "node");
    let seen: Vec<(String, &str)> = merged.iter().map(|e| (e.addr.to_string(), e.slice)).collect();
    let expected = [("10.244.0.1:8080", "a-1"), ("10.244.0.2:8080", "a-1"), ("10.244.0.3:8080", "a-2")];
    assert_eq!(seen, expected.map(|(addr, slice)| (addr.to_owned(), slice)));
}

#[test]
fn named_ports_have_their_own_number_in_each_slice() {
    let mut other = slice("a-2", "a", &[2]);
    other.ports[0].port = 9090;
    let mut unrelated = slice("a-3", "a", &[3]);
    unrelated.ports[0].name = "metrics".into();
    let slices = [slice("a-1", "a", &[1]), other, unrelated];
    let merged = merge_endpoints(slices.iter(), ("", Protocol::Tcp), Family::V4, "node");
    let seen: Vec<String> = merged.iter().map(|e| e.addr.to_string()).collect();
    assert_eq!(seen, ["10.244.0.1:8080", "10.244.0.2:9090"]);
    assert!(merge_endpoints(slices.iter(), ("", Protocol::Udp), Family::V4, "node").is_empty());
}

#[test]
fn a_node_that_is_not_in_a_list_is_gone_and_remembered() {
    let node = |n: &str| Node { name: n.into(), ..Node::default() };
    let mut state = told([Event::Node(Change::Upsert(node("one")))]);
    assert!(state.take_changes().node && !state.knows_node());
    state.apply(Event::Node(Change::Init));
    state.apply(Event::Node(Change::Synced));
    assert!(state.take_changes().node && state.knows_node());
    let last = Node { deleting: true, ..node("one") };
    assert_eq!(state.snapshot().node, Some(last), "the rules go by what was known last");
}

#[test]
fn local_addresses_are_unknown_until_told_and_the_same_again_changes_nothing() {
    let mut state = State::new();
    assert_eq!(state.snapshot().local_addresses, None);
    state.apply(Event::LocalAddresses(BTreeSet::new()));
    assert!(state.take_changes().local_addresses, "that there are none is an answer");
    let some = Event::LocalAddresses([[192, 0, 2, 10].into()].into());
    state.apply(some.clone());
    assert!(!state.take_changes().is_empty());
    state.apply(some);
    assert!(!state.has_changes());
}
