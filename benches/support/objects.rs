//! The made-up cluster as the API server has it: JSON of a usual size, the same for the same numbers.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::support::fake_api::FakeApi;

/// The namespace of all of it: one for each run, for a server without controllers never finishes deleting one.
pub fn namespace() -> String {
    format!("bench-{}", std::process::id())
}
/// Nodes the endpoints are spread over.
const NODES: usize = 100;

/// Fills a server with services of so many endpoints each.
pub fn fill(fake: &FakeApi, services: usize, endpoints: usize) {
    fake.put_node(json!({
        "metadata": {"name": "node-0"},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]},
    }));
    for n in 0..services {
        fake.put_service(service(n));
        fake.put_slice(slice(n, endpoints, 0));
    }
}

/// A service's cluster IP.
pub fn cluster_ip(n: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 1)) + number(n))
}

/// The Service of that number.
pub fn service(n: usize) -> Value {
    let ip = cluster_ip(n).to_string();
    json!({
        "metadata": {
            "namespace": namespace(), "name": format!("svc-{n}"), "uid": uid(n), "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": format!("svc-{n}")},
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "selector": {"app": format!("svc-{n}")},
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
        },
        "status": {"loadBalancer": {}},
    })
}

/// The EndpointSlice of that service. With every `round` its first endpoint is another.
pub fn slice(n: usize, endpoints: usize, round: usize) -> Value {
    let list: Vec<Value> = (0..endpoints).map(|at| endpoint(n, at, address(n, at, endpoints, round))).collect();
    json!({
        "metadata": {
            "namespace": namespace(), "name": format!("svc-{n}-abcde"), "generateName": format!("svc-{n}-"), "uid": uid(n),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"kubernetes.io/service-name": format!("svc-{n}"),
                       "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": format!("svc-{n}"), "uid": uid(n), "controller": true}],
        },
        "addressType": "IPv4", "endpoints": list, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })
}

fn endpoint(n: usize, at: usize, address: Ipv4Addr) -> Value {
    json!({
        "addresses": [address.to_string()], "conditions": {"ready": true, "serving": true, "terminating": false},
        "nodeName": format!("node-{}", (n + at) % NODES),
        "targetRef": {"kind": "Pod", "namespace": namespace(), "name": format!("svc-{n}-{at}"), "uid": uid(n * 1000 + at)},
    })
}

/// Endpoints are in 10.128.0.0/10; the first one moves on to 10.192.0.0/10 with the rounds.
fn address(n: usize, at: usize, endpoints: usize, round: usize) -> Ipv4Addr {
    let (base, offset) = match (at, round) {
        (0, 1..) => (Ipv4Addr::new(10, 192, 0, 1), round),
        _ => (Ipv4Addr::new(10, 128, 0, 1), n * endpoints + at),
    };
    Ipv4Addr::from(u32::from(base) + number(offset))
}

fn uid(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

fn number(n: usize) -> u32 {
    u32::try_from(n).expect("a small number")
}
