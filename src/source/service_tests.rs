//! Tests of [`super`].

use serde_json::{Value, json};

use super::*;
use crate::model::{Protocol, ServicePort};

fn parse_from(origin: Origin, json: Value) -> Parsed<ObjectName, Service> {
    let slim: SlimService = serde_json::from_value(json).expect("a slim type takes any object");
    slim.into_model(origin, &mut Interner::default())
}

fn with(spec: Value) -> Value {
    let mut all = json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]});
    for (key, value) in spec.as_object().expect("a spec") {
        all[key] = value.clone();
    }
    json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": all})
}

fn parse(spec: Value) -> Parsed<ObjectName, Service> {
    parse_from(Origin::Api, with(spec))
}

fn fields(parsed: &Parsed<ObjectName, Service>) -> Vec<&str> {
    parsed.rejections.iter().map(|r| r.field.as_str()).collect()
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

#[test]
fn every_field_that_counts_is_read() {
    let parsed = parse_from(
        Origin::Api,
        json!({
            "metadata": {"namespace": "shop", "name": "web", "creationTimestamp": "2024-05-01T10:00:00Z", "managedFields": [{}]},
            "spec": {
                "type": "LoadBalancer", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"],
                "externalIPs": ["192.0.2.1"], "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local",
                "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http", "nodePort": 30080},
                          {"name": "dns", "protocol": "UDP", "port": 53}],
                "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
                "loadBalancerSourceRanges": [" 10.0.0.0/8 "], "healthCheckNodePort": 31000,
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}, {"ip": "203.0.113.2", "ipMode": "VIP"},
                       {"ip": "203.0.113.3", "ipMode": "Proxy"}, {"hostname": "lb.example"}]}},
        }),
    );
    assert_eq!(parsed.rejections, []);
    let port = |name: &str, protocol, port, node_port| ServicePort { name: name.into(), protocol, port, node_port };
    assert_eq!(
        parsed.model,
        Some(Service {
            name: ObjectName::new("shop", "web"),
            created: Some("2024-05-01T10:00:00Z".parse().unwrap()),
            kind: ServiceKind::LoadBalancer,
            cluster_ips: ips(&["10.96.0.1", "fd00::1"]),
            external_ips: ips(&["192.0.2.1"]),
            load_balancer_ips: ips(&["203.0.113.1", "203.0.113.2"]),
            ports: vec![port("http", Protocol::Tcp, 80, Some(30080)), port("dns", Protocol::Udp, 53, None)],
            internal_policy: TrafficPolicy::Local,
            external_policy: TrafficPolicy::Local,
            affinity: Some(60),
            source_ranges: vec!["10.0.0.0/8".parse().unwrap()],
            health_check_node_port: Some(31000),
        })
    );
}

#[test]
fn defaults_are_the_apis() {
    let service = parse(json!({})).model.unwrap();
    let mut wanted = Service::named("shop", "web");
    wanted.cluster_ips = ips(&["10.96.0.1"]);
    wanted.ports = vec![ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80, node_port: None }];
    assert_eq!(service, wanted);
}

#[test]
fn services_that_are_not_proxied_are_skipped_silently() {
    for spec in [
        json!({"type": "ExternalName"}),
        json!({"clusterIP": "None", "clusterIPs": ["None"]}),
        json!({"clusterIP": "None", "clusterIPs": null}),
        json!({"clusterIP": "", "clusterIPs": []}),
    ] {
        let parsed = parse(spec.clone());
        assert_eq!((parsed.model, parsed.rejections), (None, vec![]), "{spec}");
    }
}

#[test]
fn a_service_of_another_proxy_is_skipped() {
    for label in [PROXY_NAME, HEADLESS] {
        let mut json = with(json!({}));
        json["metadata"]["labels"] = json!({label: ""});
        for origin in [Origin::Api, Origin::Manifest] {
            let parsed = parse_from(origin, json.clone());
            assert_eq!((parsed.model, parsed.rejections), (None, vec![]), "{label}");
        }
    }
}

#[test]
fn the_single_cluster_ip_counts_where_there_is_no_list() {
    let service = parse(json!({"clusterIP": "010.096.0.9", "clusterIPs": null})).model.unwrap();
    assert_eq!(service.cluster_ips, ips(&["10.96.0.9"]));
}

#[test]
fn a_bad_cluster_ip_costs_its_family_only() {
    let parsed = parse(json!({"clusterIPs": ["10.96.0.300", "fd00::1"]}));
    assert_eq!(fields(&parsed), ["spec.clusterIPs[0]"]);
    assert_eq!(parsed.model.unwrap().cluster_ips, ips(&["fd00::1"]));
    let parsed = parse(json!({"clusterIPs": ["10.96.0.1", "10.96.0.2"]}));
    assert_eq!(fields(&parsed), ["spec.clusterIPs[1]"]);
    let parsed = parse(json!({"clusterIPs": [7]}));
    assert_eq!(parsed.model.unwrap().cluster_ips, ips(&["10.96.0.1"]), "the single field still says it");
}

#[test]
fn bad_ports_cost_only_themselves() {
    let parsed = parse(json!({"ports": [
        {"name": "zero", "port": 0}, {"name": "big", "port": 65536}, {"name": "word", "port": "http"}, {"name": "none"},
        {"name": "proto", "protocol": "ICMP", "port": 1}, {"name": 5, "port": 2}, "nonsense",
        {"name": "ok", "port": 65535}, {"name": "ok", "port": 3}, {"name": "twice", "port": 65535},
        {"name": "udp", "protocol": "UDP", "port": 65535},
    ]}));
    let wanted = [0, 1, 2, 3].map(|n| format!("spec.ports[{n}].port")).into_iter();
    let wanted = wanted.chain(["protocol", "name"].iter().zip(4..).map(|(f, n)| format!("spec.ports[{n}].{f}")));
    let wanted: Vec<String> = wanted.collect();
    assert_eq!(fields(&parsed)[..1], ["spec.ports[6]"], "items of a wrong form are found first");
    assert_eq!(fields(&parsed)[1..7], wanted[..]);
    assert_eq!(fields(&parsed)[7..], ["spec.ports[8].name", "spec.ports[9].port"]);
    let ports: Vec<_> = parsed.model.unwrap().ports.into_iter().map(|p| (p.name, p.protocol)).collect();
    assert_eq!(ports, [("ok".into(), Protocol::Tcp), ("udp".into(), Protocol::Udp)]);
}

#[test]
fn a_bad_node_port_costs_the_node_port() {
    let parsed = parse(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 70000}]}));
    assert_eq!(fields(&parsed), ["spec.ports[0].nodePort"]);
    assert_eq!(parsed.model.unwrap().ports[0].node_port, None);
    let parsed = parse(json!({"ports": [{"port": 80, "nodePort": 30000}]}));
    assert_eq!(fields(&parsed), ["spec.ports[0].nodePort"], "type ClusterIP has none");
    let parsed = parse(json!({"ports": [{"port": 80, "nodePort": 0}]}));
    assert_eq!(parsed.rejections, []);
}

#[test]
fn bad_addresses_cost_only_themselves() {
    let parsed = parse(json!({"externalIPs": ["192.0.2.1", "192.0.2", "127.0.0.1", "192.0.2.1", null, "2001:db8::1"]}));
    assert_eq!(fields(&parsed), ["spec.externalIPs[1]", "spec.externalIPs[2]"]);
    assert_eq!(parsed.model.unwrap().external_ips, ips(&["192.0.2.1", "2001:db8::1"]));
    assert!(parsed.rejections[0].reason.contains("\"192.0.2\""), "{}", parsed.rejections[0]);

    let parsed = parse(json!({"loadBalancerSourceRanges": ["10.0.0.0/8", "10.0.0.0/40"]}));
    assert_eq!(fields(&parsed), ["spec.loadBalancerSourceRanges[1]"]);
    assert_eq!(parsed.model.unwrap().source_ranges.len(), 1);

    let mut json = with(json!({}));
    json["status"] = json!({"loadBalancer": {"ingress": [{"ip": "x"}, {"ip": "203.0.113.1"}]}});
    let parsed = parse_from(Origin::Api, json);
    assert_eq!(fields(&parsed), ["status.loadBalancer.ingress[0].ip"]);
    assert_eq!(parsed.model.unwrap().load_balancer_ips, ips(&["203.0.113.1"]));
}

#[test]
fn affinity_has_the_apis_default() {
    let affinity = |config| parse(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}));
    assert_eq!(affinity(json!(null)).model.unwrap().affinity, Some(10_800));
    assert_eq!(affinity(json!({"clientIP": {}})).model.unwrap().affinity, Some(10_800));
    assert_eq!(affinity(json!({"clientIP": {"timeoutSeconds": 90_000}})).model.unwrap().affinity, Some(90_000));
    for wrong in [json!(0), json!(-5), json!("1h")] {
        let parsed = affinity(json!({"clientIP": {"timeoutSeconds": wrong}}));
        assert_eq!(fields(&parsed), ["spec.sessionAffinityConfig.clientIP.timeoutSeconds"]);
        assert_eq!(parsed.model.unwrap().affinity, Some(10_800));
    }
    let config = json!({"clientIP": {"timeoutSeconds": 60}});
    let without = parse(json!({"sessionAffinity": "None", "sessionAffinityConfig": config}));
    assert_eq!(without.model.unwrap().affinity, None);
}

#[test]
fn unknown_words_are_named_and_the_default_counts() {
    let parsed = parse(json!({"type": "Magic", "internalTrafficPolicy": "Near", "sessionAffinity": "Cookie"}));
    assert_eq!(fields(&parsed), ["spec.type", "spec.internalTrafficPolicy", "spec.sessionAffinity"]);
    let service = parsed.model.unwrap();
    assert_eq!((service.kind, service.internal_policy, service.affinity), Default::default());
}

#[test]
fn manifests_need_their_addresses_and_node_ports() {
    let parsed = parse_from(Origin::Manifest, with(json!({"clusterIP": null, "clusterIPs": null})));
    assert_eq!((parsed.model.is_none(), fields(&parsed)), (true, vec!["spec.clusterIP"]));
    let parsed = parse_from(Origin::Manifest, with(json!({"type": "NodePort"})));
    assert_eq!((parsed.model.is_some(), fields(&parsed)), (true, vec!["spec.ports[0].nodePort"]));
}

#[test]
fn an_object_of_a_wrong_form_is_named() {
    let parsed = parse_from(Origin::Api, json!({"metadata": {"namespace": "a", "name": "b"}, "spec": "broken"}));
    assert_eq!((parsed.model.is_none(), fields(&parsed)), (true, vec!["spec"]));
    assert_eq!(parsed.rejections[0].object, "a/b");
    let parsed = parse_from(Origin::Api, json!({"metadata": {"namespace": "a"}, "spec": {}}));
    assert_eq!((parsed.model.is_none(), fields(&parsed)), (true, vec!["metadata.name"]));
    let parsed = parse_from(Origin::Api, json!({"metadata": {"name": 5}, "spec": {}}));
    assert_eq!((parsed.model.is_none(), fields(&parsed)), (true, vec!["metadata.name"]));
}
