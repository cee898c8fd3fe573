//! Objects that come in protobuf are the objects that come in JSON.
//!
//! The fake server writes protobuf with types that are generated from Kubernetes' definitions; ferroproxy reads it by its own tables.

mod support;

use std::collections::BTreeSet;

use ferroproxy::model::{ApiConfig, Encoding};
use ferroproxy::source::{Feed, api};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use support::fake_api::{FakeApi, Resource, Verb};
use support::world::World;

/// An object of fields that may be there. The API server leaves empty lists out.
fn object(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let each =
        fields.into_iter().map(|(name, value)| proptest::option::weighted(0.8, value).prop_map(move |v| (name, v)));
    let all: Vec<_> = each.map(Strategy::boxed).collect();
    all.prop_map(|fields| {
        let given = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.filter(|value| *value != json!([]))?)));
        Value::Object(given.collect::<Map<_, _>>())
    })
    .boxed()
}

fn one_of(values: &[&'static str]) -> BoxedStrategy<Value> {
    select(values.to_vec()).prop_map(Value::from).boxed()
}

fn list(item: BoxedStrategy<Value>, most: usize) -> BoxedStrategy<Value> {
    vec(item, 0..=most).prop_map(Value::from).boxed()
}

fn number(range: std::ops::Range<i64>) -> BoxedStrategy<Value> {
    range.prop_map(Value::from).boxed()
}

fn flag() -> BoxedStrategy<Value> {
    any::<bool>().prop_map(Value::from).boxed()
}

const ADDRESSES: &[&str] = &["10.0.0.1", "10.0.0.2", "fd00::1", "no address", "127.0.0.1", "192.0.2.7"];
const TIMES: &[&str] = &["2026-11-21T10:00:00Z", "1970-01-01T00:00:01Z", "2026-11-21T10:00:00.25Z"];

fn metadata(n: usize) -> BoxedStrategy<Value> {
    let label = one_of(&["", "web", "x"]);
    let labels = object(vec![("kubernetes.io/service-name", label.clone()), ("topology.kubernetes.io/zone", label)]);
    let trigger = object(vec![("endpoints.kubernetes.io/last-change-trigger-time", one_of(TIMES))]);
    let rest = object(vec![
        ("creationTimestamp", one_of(TIMES)),
        ("deletionTimestamp", one_of(TIMES)),
        ("labels", labels),
        ("annotations", trigger),
    ]);
    let named = move |mut meta: Value| {
        meta["name"] = format!("object-{n}").into();
        meta["namespace"] = "shop".into();
        meta
    };
    rest.prop_map(named).boxed()
}

fn service(n: usize) -> BoxedStrategy<Value> {
    let port = object(vec![
        ("name", one_of(&["http", "dns"])),
        ("protocol", one_of(&["TCP", "UDP", "SCTP", "ICMP"])),
        ("port", number(-1..70_000)),
        ("nodePort", number(30_000..30_010)),
    ]);
    let timeout = object(vec![("timeoutSeconds", number(1..90_000))]);
    let spec = object(vec![
        ("type", one_of(&["ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "Odd"])),
        ("clusterIP", one_of(&["None", "10.0.0.1"])),
        ("clusterIPs", list(one_of(ADDRESSES), 3)),
        ("externalIPs", list(one_of(ADDRESSES), 3)),
        ("ports", list(port, 4)),
        ("internalTrafficPolicy", one_of(&["Cluster", "Local", "Odd"])),
        ("externalTrafficPolicy", one_of(&["Cluster", "Local", "Odd"])),
        ("sessionAffinity", one_of(&["None", "ClientIP", "Odd"])),
        ("sessionAffinityConfig", object(vec![("clientIP", timeout)])),
        ("loadBalancerSourceRanges", list(one_of(&["10.0.0.0/8", " 192.0.2.0/24 ", "fd00::/64", "odd"]), 3)),
        ("healthCheckNodePort", number(1..70_000)),
    ]);
    let ingress = object(vec![("ip", one_of(ADDRESSES)), ("ipMode", one_of(&["VIP", "Proxy"]))]);
    let status = object(vec![("loadBalancer", object(vec![("ingress", list(ingress, 3))]))]);
    (metadata(n), spec, status)
        .prop_map(|(metadata, spec, status)| json!({"metadata": metadata, "spec": spec, "status": status}))
        .boxed()
}

fn slice(n: usize) -> BoxedStrategy<Value> {
    let conditions = object(vec![("ready", flag()), ("serving", flag()), ("terminating", flag())]);
    let name = object(vec![("name", one_of(&["a", "b"]))]);
    let hints = object(vec![("forZones", list(name.clone(), 2)), ("forNodes", list(name, 2))]);
    let endpoint = object(vec![
        ("addresses", list(one_of(ADDRESSES), 2)),
        ("conditions", conditions),
        // The API refuses an empty one.
        ("nodeName", one_of(&["a", "b"])),
        ("hints", hints),
    ]);
    let port = object(vec![
        ("name", one_of(&["", "http"])),
        ("protocol", one_of(&["TCP", "UDP", "ICMP"])),
        ("port", number(1..70_000)),
    ]);
    let kind = one_of(&["IPv4", "IPv6", "FQDN", "Odd"]);
    (metadata(n), kind, object(vec![("endpoints", list(endpoint, 6)), ("ports", list(port, 3))]))
        .prop_map(|(metadata, kind, mut slice)| {
            slice["metadata"] = metadata;
            slice["addressType"] = kind;
            slice
        })
        .boxed()
}

fn node() -> BoxedStrategy<Value> {
    let taint =
        object(vec![("key", one_of(&["a", "b"])), ("value", one_of(&["x"])), ("effect", one_of(&["NoSchedule"]))]);
    let address =
        object(vec![("type", one_of(&["InternalIP", "ExternalIP", "Hostname"])), ("address", one_of(ADDRESSES))]);
    let nets = ["10.1.0.0/24", "fd00:1::/64", "odd"];
    let spec =
        object(vec![("podCIDR", one_of(&nets)), ("podCIDRs", list(one_of(&nets), 2)), ("taints", list(taint, 2))]);
    (metadata(0), spec, object(vec![("addresses", list(address, 4))]))
        .prop_map(|(mut metadata, spec, status)| {
            metadata["name"] = "node-a".into();
            json!({"metadata": metadata, "spec": spec, "status": status})
        })
        .boxed()
}

async fn connect(fake: &FakeApi, encoding: Encoding) -> Feed {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = Some(fake.write_kubeconfig(dir.path()));
    api::stream(&ApiConfig { kubeconfig, encoding, ..ApiConfig::default() }, "node-a").await.unwrap()
}

/// Everything a source tells of the server: listed first, or watched as it comes.
async fn told(fake: &FakeApi, encoding: Encoding) -> World {
    let (mut feed, mut world) = (connect(fake, encoding).await, World::default());
    world.until(&mut feed, World::synced).await;
    world
}

#[derive(Clone, Debug)]
struct Objects {
    services: Vec<Value>,
    slices: Vec<Value>,
    node: Value,
    cidrs: Value,
}

fn objects() -> impl Strategy<Value = Objects> {
    let services: Vec<_> = (0..8).map(service).collect();
    let slices: Vec<_> = (0..8).map(slice).collect();
    let cidrs = list(one_of(&["10.96.0.0/12", "odd", "fd00::/112"]), 2);
    (services, slices, node(), cidrs).prop_map(|(services, slices, node, cidrs)| Objects {
        services,
        slices,
        node,
        cidrs,
    })
}

/// What could not be used; the words may differ.
fn rejected(world: &World) -> BTreeSet<(String, String)> {
    world.rejections.iter().map(|r| (r.object.to_string(), r.field.to_string())).collect()
}

fn serve(objects: &Objects) -> FakeApi {
    let fake = FakeApi::start();
    objects.services.iter().cloned().for_each(|service| fake.put_service(service));
    objects.slices.iter().cloned().for_each(|slice| fake.put_slice(slice));
    fake.put_node(objects.node.clone());
    fake.put_service_cidr(json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": objects.cidrs}}));
    fake
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_encodings_tell_the_same(objects in objects(), streaming in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let fake = serve(&objects);
        fake.set_streaming(streaming);
        let (protobuf, json) = runtime.block_on(async {
            (told(&fake, Encoding::Protobuf).await, told(&fake, Encoding::Json).await)
        });
        prop_assert_eq!(&protobuf.services.objects, &json.services.objects);
        prop_assert_eq!(&protobuf.slices.objects, &json.slices.objects);
        prop_assert_eq!(&protobuf.nodes.objects, &json.nodes.objects);
        prop_assert_eq!(&protobuf.cidrs.objects, &json.cidrs.objects);
        prop_assert_eq!(rejected(&protobuf), rejected(&json));
    }
}

fn web(ip: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_only_json_is_understood() {
    let fake = FakeApi::start();
    fake.speak_only_json();
    fake.put_service(web("10.96.0.1"));
    let (mut feed, mut world) = (connect(&fake, Encoding::Protobuf).await, World::default());
    world.until(&mut feed, World::synced).await;
    fake.wait_watching(Resource::Services, 1);
    fake.put_service(web("10.96.0.2"));
    let changed = |world: &World| {
        world.services.objects.values().any(|s| s.cluster_ips == ["10.96.0.2".parse::<std::net::IpAddr>().unwrap()])
    };
    world.until(&mut feed, changed).await;
    // One question in vain, then never again.
    assert_eq!(fake.requests(Resource::Services, Verb::Watch).len(), 2);
}
