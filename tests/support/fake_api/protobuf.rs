//! Objects in protobuf as the API server writes them, by types that are generated from Kubernetes' own definitions.
//!
//! As Go does: a string or a number that is no pointer is written when it is empty too. Fields of wrong types cannot be said in protobuf: a
//! test that needs them has the server speak JSON only.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_pb::api::core::v1::{
    ClientIpConfig, LoadBalancerIngress, LoadBalancerStatus, Node, NodeAddress, NodeSpec, NodeStatus, Service,
    ServicePort, ServiceSpec, ServiceStatus, SessionAffinityConfig, Taint,
};
use k8s_pb::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use k8s_pb::api::networking::v1::{ServiceCIDR, ServiceCIDRSpec};
use k8s_pb::apimachinery::pkg::apis::meta::v1::{ListMeta, ManagedFieldsEntry, ObjectMeta, Status, Time, WatchEvent};
use k8s_pb::apimachinery::pkg::runtime::{RawExtension, TypeMeta, Unknown};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::Value;

use super::store::Resource;

/// The media type of a list, and of a watch.
pub(crate) const LIST: &str = "application/vnd.kubernetes.protobuf";
pub(crate) const WATCH: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// A whole list.
pub(crate) fn list(resource: Resource, version: u64, items: &[Value]) -> Vec<u8> {
    let meta = ListMeta { resource_version: Some(version.to_string()), ..ListMeta::default() };
    let mut raw = Vec::new();
    field(1, &meta.encode_to_vec(), &mut raw);
    items.iter().for_each(|item| field(2, &message(resource, item), &mut raw));
    enveloped(&format!("{}List", resource.kind()), resource.api_version(), raw)
}

/// One event of a watch, with its length before it.
pub(crate) fn frame(resource: Resource, event: &Value) -> Vec<u8> {
    let (kind, object) = (text(event, "type"), &event["object"]);
    let raw = match kind.as_deref() {
        Some("ERROR") => enveloped("Status", "v1", status(object).encode_to_vec()),
        _ => enveloped(resource.kind(), resource.api_version(), message(resource, object)),
    };
    framed(&WatchEvent { r#type: kind, object: Some(RawExtension { raw: Some(raw) }) }.encode_to_vec())
}

/// Anything, with its length before it.
pub(crate) fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a small frame").to_be_bytes();
    [&length, bytes].concat()
}

/// A Status as the body of a refusal.
pub(crate) fn refusal(object: &Value) -> Vec<u8> {
    enveloped("Status", "v1", status(object).encode_to_vec())
}

fn enveloped(kind: &str, api_version: &str, raw: Vec<u8>) -> Vec<u8> {
    let type_meta = TypeMeta { api_version: Some(api_version.into()), kind: Some(kind.into()) };
    let empty = Some(String::new());
    let unknown =
        Unknown { type_meta: Some(type_meta), raw: Some(raw), content_encoding: empty.clone(), content_type: empty };
    [b"k8s\0".as_slice(), &unknown.encode_to_vec()].concat()
}

fn field(number: u32, bytes: &[u8], into: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, into);
    encode_varint(bytes.len() as u64, into);
    into.extend_from_slice(bytes);
}

fn message(resource: Resource, object: &Value) -> Vec<u8> {
    match resource {
        Resource::Services => service(object).encode_to_vec(),
        Resource::Slices => slice(object).encode_to_vec(),
        Resource::Nodes => node(object).encode_to_vec(),
        Resource::ServiceCidrs => {
            let spec = ServiceCIDRSpec { cidrs: texts(&object["spec"], "cidrs") };
            ServiceCIDR { metadata: Some(meta(object)), spec: Some(spec), status: None }.encode_to_vec()
        }
    }
}

/// A pointer to a string.
fn text(object: &Value, field: &str) -> Option<String> {
    match &object[field] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => panic!("{field} is {other}, which protobuf cannot say: have the server speak JSON only"),
    }
}

/// A string: always there.
fn plain(object: &Value, field: &str) -> Option<String> {
    Some(text(object, field).unwrap_or_default())
}

fn texts(object: &Value, field: &str) -> Vec<String> {
    items(object, field).iter().map(said).collect()
}

fn said(item: &Value) -> String {
    item.as_str().unwrap_or_else(|| panic!("{item} is no text")).to_owned()
}

fn number(object: &Value, field: &str) -> Option<i32> {
    match &object[field] {
        Value::Null => None,
        other => Some(other.as_i64().and_then(|n| n.try_into().ok()).unwrap_or_else(|| panic!("{field} is {other}"))),
    }
}

fn plain_number(object: &Value, field: &str) -> Option<i32> {
    Some(number(object, field).unwrap_or_default())
}

fn flag(object: &Value, field: &str) -> Option<bool> {
    match &object[field] {
        Value::Null => None,
        other => Some(other.as_bool().unwrap_or_else(|| panic!("{field} is {other}"))),
    }
}

fn items<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    match &object[field] {
        Value::Null => &[],
        other => other.as_array().unwrap_or_else(|| panic!("{field} is {other}")),
    }
}

fn words(object: &Value, field: &str) -> BTreeMap<String, String> {
    let map = object[field].as_object().into_iter().flatten();
    map.map(|(key, value)| (key.clone(), said(value))).collect()
}

/// A pointer to a time. One that Go never set stands there empty.
fn time(object: &Value, field: &str) -> Option<Time> {
    let at: Timestamp = text(object, field)?.parse().expect("a time");
    Some(Time { seconds: Some(at.as_second()), nanos: Some(at.subsec_nanosecond()) })
}

fn meta(object: &Value) -> ObjectMeta {
    let meta = &object["metadata"];
    ObjectMeta {
        name: plain(meta, "name"),
        generate_name: plain(meta, "generateName"),
        namespace: plain(meta, "namespace"),
        self_link: Some(String::new()),
        uid: plain(meta, "uid"),
        resource_version: plain(meta, "resourceVersion"),
        generation: Some(0),
        creation_timestamp: Some(time(meta, "creationTimestamp").unwrap_or_default()),
        deletion_timestamp: time(meta, "deletionTimestamp"),
        labels: words(meta, "labels"),
        annotations: words(meta, "annotations"),
        // Nothing of it counts; there is always some.
        managed_fields: vec![ManagedFieldsEntry { manager: Some("a test".into()), ..ManagedFieldsEntry::default() }],
        ..ObjectMeta::default()
    }
}

fn service(object: &Value) -> Service {
    let spec = (!object["spec"].is_null()).then(|| service_spec(&object["spec"]));
    let ingress = items(&object["status"]["loadBalancer"], "ingress").iter().map(|ingress| LoadBalancerIngress {
        ip: plain(ingress, "ip"),
        hostname: plain(ingress, "hostname"),
        ip_mode: text(ingress, "ipMode"),
        ports: Vec::new(),
    });
    let load_balancer = Some(LoadBalancerStatus { ingress: ingress.collect() });
    Service {
        metadata: Some(meta(object)),
        spec,
        status: Some(ServiceStatus { load_balancer, conditions: Vec::new() }),
    }
}

fn service_spec(spec: &Value) -> ServiceSpec {
    let port = |port: &Value| ServicePort {
        name: plain(port, "name"),
        protocol: plain(port, "protocol"),
        port: plain_number(port, "port"),
        node_port: plain_number(port, "nodePort"),
        ..ServicePort::default()
    };
    let client_ip = |config: &Value| ClientIpConfig { timeout_seconds: number(config, "timeoutSeconds") };
    let affinity = |config: &Value| SessionAffinityConfig {
        client_ip: (!config["clientIP"].is_null()).then(|| client_ip(&config["clientIP"])),
    };
    let config = &spec["sessionAffinityConfig"];
    ServiceSpec {
        ports: items(spec, "ports").iter().map(port).collect(),
        cluster_ip: plain(spec, "clusterIP"),
        cluster_ips: texts(spec, "clusterIPs"),
        r#type: plain(spec, "type"),
        external_ips: texts(spec, "externalIPs"),
        session_affinity: plain(spec, "sessionAffinity"),
        session_affinity_config: (!config.is_null()).then(|| affinity(config)),
        load_balancer_ip: Some(String::new()),
        load_balancer_source_ranges: texts(spec, "loadBalancerSourceRanges"),
        external_name: Some(String::new()),
        external_traffic_policy: plain(spec, "externalTrafficPolicy"),
        internal_traffic_policy: text(spec, "internalTrafficPolicy"),
        health_check_node_port: plain_number(spec, "healthCheckNodePort"),
        selector: words(spec, "selector"),
        ..ServiceSpec::default()
    }
}

fn slice(object: &Value) -> EndpointSlice {
    let port = |port: &Value| EndpointPort {
        name: text(port, "name"),
        protocol: text(port, "protocol"),
        port: number(port, "port"),
        app_protocol: None,
    };
    EndpointSlice {
        metadata: Some(meta(object)),
        address_type: plain(object, "addressType"),
        endpoints: items(object, "endpoints").iter().map(endpoint).collect(),
        ports: items(object, "ports").iter().map(port).collect(),
    }
}

fn endpoint(object: &Value) -> Endpoint {
    let (conditions, hints) = (&object["conditions"], &object["hints"]);
    let zone = |zone: &Value| ForZone { name: plain(zone, "name") };
    let node = |node: &Value| ForNode { name: plain(node, "name") };
    Endpoint {
        addresses: texts(object, "addresses"),
        conditions: Some(EndpointConditions {
            ready: flag(conditions, "ready"),
            serving: flag(conditions, "serving"),
            terminating: flag(conditions, "terminating"),
        }),
        hostname: text(object, "hostname"),
        node_name: text(object, "nodeName"),
        zone: text(object, "zone"),
        hints: (!hints.is_null()).then(|| EndpointHints {
            for_zones: items(hints, "forZones").iter().map(zone).collect(),
            for_nodes: items(hints, "forNodes").iter().map(node).collect(),
        }),
        ..Endpoint::default()
    }
}

fn node(object: &Value) -> Node {
    let (spec, status) = (&object["spec"], &object["status"]);
    let taint = |taint: &Value| Taint {
        key: plain(taint, "key"),
        value: plain(taint, "value"),
        effect: plain(taint, "effect"),
        time_added: None,
    };
    let address = |address: &Value| NodeAddress { r#type: plain(address, "type"), address: plain(address, "address") };
    let spec = NodeSpec {
        pod_cidr: plain(spec, "podCIDR"),
        pod_cid_rs: texts(spec, "podCIDRs"),
        taints: items(spec, "taints").iter().map(taint).collect(),
        ..NodeSpec::default()
    };
    let addresses = items(status, "addresses").iter().map(address).collect();
    let status = NodeStatus { addresses, ..NodeStatus::default() };
    Node { metadata: Some(meta(object)), spec: Some(spec), status: Some(status) }
}

fn status(object: &Value) -> Status {
    Status {
        status: plain(object, "status"),
        message: plain(object, "message"),
        reason: plain(object, "reason"),
        code: plain_number(object, "code"),
        ..Status::default()
    }
}
