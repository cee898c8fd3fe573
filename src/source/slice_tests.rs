//! Tests of [`super`].

use serde_json::{Value, json};

use super::*;

fn parse_with(names: &mut Interner, json: Value) -> Parsed<ObjectName, EndpointSlice> {
    let slim: SlimSlice = serde_json::from_value(json).expect("a slim type takes any object");
    slim.into_model(Origin::Api, names)
}

fn parse(change: Value) -> Parsed<ObjectName, EndpointSlice> {
    let mut json = json!({
        "metadata": {"namespace": "shop", "name": "web-1", "labels": {SERVICE_NAME: "web"}},
        "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": [{"addresses": ["10.1.0.1"]}],
    });
    for (key, value) in change.as_object().expect("fields") {
        json[key] = value.clone();
    }
    parse_with(&mut Interner::default(), json)
}

fn fields(parsed: &Parsed<ObjectName, EndpointSlice>) -> Vec<&str> {
    parsed.rejections.iter().map(|r| r.field.as_str()).collect()
}

fn endpoint(ip: &str) -> SliceEndpoint {
    SliceEndpoint { address: ip.parse().unwrap(), conditions: Conditions::default(), node: None, hints: None }
}

#[test]
fn every_field_that_counts_is_read() {
    let parsed = parse(json!({
        "metadata": {"namespace": "shop", "name": "web-1", "labels": {SERVICE_NAME: "web"},
                     "annotations": {TRIGGER_TIME: "2024-05-01T10:00:00.25Z"}},
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}, {"name": null, "protocol": "UDP", "port": 53}],
        "endpoints": [{
            "addresses": ["10.1.0.1", "10.1.0.2"], "nodeName": "node-a", "zone": "z1",
            "conditions": {"ready": false, "serving": true, "terminating": true},
            "hints": {"forZones": [{"name": "z1"}], "forNodes": [{"name": "node-a"}]},
        }],
    }));
    assert_eq!(parsed.rejections, []);
    let port = |name: &str, protocol, port| SlicePort { name: name.into(), protocol, port };
    assert_eq!(
        parsed.model,
        Some(EndpointSlice {
            name: ObjectName::new("shop", "web-1"),
            service: ObjectName::new("shop", "web"),
            family: Family::V4,
            ports: vec![port("http", Protocol::Tcp, 8080), port("", Protocol::Udp, 53)],
            endpoints: vec![SliceEndpoint {
                conditions: Conditions { ready: false, serving: true, terminating: true },
                node: Some("node-a".into()),
                hints: Some(Box::new(Hints { zones: vec!["z1".into()], nodes: vec!["node-a".into()] })),
                ..endpoint("10.1.0.1")
            }],
            triggered: Some("2024-05-01T10:00:00.25Z".parse().unwrap()),
        })
    );
}

#[test]
fn nulls_and_absent_fields_have_the_apis_defaults() {
    let slice = parse(json!({"ports": null, "endpoints": null})).model.unwrap();
    assert_eq!((slice.ports, slice.endpoints), (vec![], vec![]));
    let slice = parse(json!({"endpoints": [{"addresses": ["10.1.0.1"], "conditions": {"ready": null}, "hints": {}}]}));
    assert_eq!(slice.model.unwrap().endpoints, [endpoint("10.1.0.1")]);
}

#[test]
fn bad_addresses_cost_only_their_endpoint() {
    let addresses = ["10.1.0.1", "10.1.0", "fd00::1", "127.0.0.1", "169.254.1.1", "224.0.0.1", "0.0.0.0", "010.1.0.02"];
    let mut endpoints: Vec<Value> = addresses.iter().map(|ip| json!({"addresses": [ip]})).collect();
    endpoints.extend([json!({"addresses": []}), json!({"addresses": [5, "10.1.0.9"]}), json!("nonsense")]);
    let parsed = parse(json!({"endpoints": endpoints}));
    let mut wanted: Vec<String> = vec!["endpoints[10]".into()];
    wanted.extend((1..7).map(|n| format!("endpoints[{n}].addresses[0]")));
    wanted.extend(["endpoints[8].addresses".into(), "endpoints[9].addresses[0]".into()]);
    assert_eq!(fields(&parsed), wanted);
    assert_eq!(parsed.model.unwrap().endpoints, [endpoint("10.1.0.1"), endpoint("10.1.0.2")]);
}

#[test]
fn ipv4_in_an_ipv6_slice_is_named() {
    let parsed =
        parse(json!({"addressType": "IPv6", "endpoints": [{"addresses": ["10.1.0.1"]}, {"addresses": ["fd00::1"]}]}));
    assert_eq!(fields(&parsed), ["endpoints[0].addresses[0]"]);
    assert!(parsed.rejections[0].reason.contains("10.1.0.1 in a slice of IPv6"), "{}", parsed.rejections[0]);
    assert_eq!(parsed.model.unwrap().endpoints, [endpoint("fd00::1")]);
}

#[test]
fn bad_ports_cost_only_themselves() {
    let parsed = parse(json!({"ports": [
        {"name": "none"}, {"name": "zero", "port": 0}, {"name": "word", "port": "x"}, {"port": 1, "protocol": "GRE"}, {"name": "ok", "port": 9},
    ]}));
    assert_eq!(fields(&parsed), ["ports[1].port", "ports[2].port", "ports[3].protocol"]);
    let ports: Vec<_> = parsed.model.unwrap().ports.into_iter().map(|p| p.port).collect();
    assert_eq!(ports, [9]);
}

#[test]
fn slices_that_are_not_proxied_are_skipped_silently() {
    let headless = json!({"metadata": {"name": "a", "labels": {SERVICE_NAME: "web", HEADLESS: ""}}});
    for change in [json!({"addressType": "FQDN"}), headless] {
        let parsed = parse(change.clone());
        assert_eq!((parsed.model, parsed.rejections), (None, vec![]), "{change}");
    }
}

#[test]
fn a_slice_without_a_service_is_skipped_and_named() {
    for labels in [json!(null), json!({}), json!({SERVICE_NAME: ""}), json!({SERVICE_NAME: 5})] {
        let parsed = parse(json!({"metadata": {"namespace": "shop", "name": "lost", "labels": labels}}));
        assert_eq!(parsed.model, None);
        assert_eq!(fields(&parsed), ["metadata.labels[kubernetes.io/service-name]"]);
        assert_eq!(parsed.rejections[0].object, "shop/lost");
    }
    assert_eq!(fields(&parse(json!({"addressType": "IPX"}))), ["addressType"]);
    assert_eq!(fields(&parse(json!({"addressType": null}))), ["addressType"]);
}

#[test]
fn bad_conditions_nodes_and_hints_cost_only_themselves() {
    let parsed = parse(json!({"endpoints": [{
        "addresses": ["10.1.0.1"], "nodeName": 5, "conditions": {"ready": "yes", "serving": false},
        "hints": {"forZones": [{"name": 1}, {"name": "z2"}]},
    }]}));
    let at = |field: &str| format!("endpoints[0].{field}");
    assert_eq!(fields(&parsed), [at("conditions.ready"), at("nodeName"), at("hints.forZones[0].name")]);
    let endpoint = parsed.model.unwrap().endpoints.remove(0);
    assert_eq!(endpoint.conditions, Conditions { ready: true, serving: false, terminating: false });
    assert_eq!(endpoint.hints.unwrap().zones, ["z2".into()]);
}

#[test]
fn a_bad_trigger_time_is_named() {
    let metadata = json!({"name": "a", "labels": {SERVICE_NAME: "web"}, "annotations": {TRIGGER_TIME: "yesterday"}});
    let parsed = parse(json!({"metadata": metadata}));
    assert_eq!(fields(&parsed), ["metadata.annotations[endpoints.kubernetes.io/last-change-trigger-time]"]);
    assert_eq!(parsed.model.unwrap().triggered, None);
}

#[test]
fn equal_node_names_share_one_allocation() {
    let mut names = Interner::default();
    let mut node = |name: &str| {
        let parsed = parse_with(
            &mut names,
            json!({
                "metadata": {"name": name, "labels": {SERVICE_NAME: "web"}}, "addressType": "IPv4",
                "endpoints": [{"addresses": ["10.1.0.1"], "nodeName": "node-a"}],
            }),
        );
        parsed.model.unwrap().endpoints.remove(0).node.unwrap()
    };
    assert!(Arc::ptr_eq(&node("first"), &node("second")));
}
