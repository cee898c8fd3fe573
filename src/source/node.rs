//! The own Node.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use crate::model::{Change, Event, Node, ObjectKind, Taint};

use super::address::parse_ip;
use super::findings::Findings;
use super::intern::Interner;
use super::kind::{Kind, Origin, Parsed};
use super::lenient::Lenient;
use super::meta::{META, Meta, Words, slim_resource};
use super::protobuf::{Form, Shape, many, one};
use super::text::Text;

type List<T> = Lenient<Vec<Lenient<T>>>;

/// A Node, slim.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimNode {
    metadata: Meta,
    spec: Lenient<Spec>,
    status: Lenient<Status>,
}

slim_resource!(SlimNode, k8s_openapi::api::core::v1::Node);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Lenient<Text<IpNet>>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: List<Text<IpNet>>,
    taints: List<SlimTaint>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimTaint {
    key: Lenient<String>,
    value: Lenient<String>,
    effect: Lenient<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    addresses: List<SlimAddress>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimAddress {
    r#type: Lenient<String>,
    address: Lenient<String>,
}

static SHAPE: Shape = Shape(&[
    one(1, "metadata", Form::Object(&META)),
    one(2, "spec", Form::Object(&SPEC)),
    one(3, "status", Form::Object(&STATUS)),
]);
static SPEC: Shape =
    Shape(&[one(1, "podCIDR", Form::Text), many(7, "podCIDRs", Form::Text), many(5, "taints", Form::Object(&TAINT))]);
static TAINT: Shape = Shape(&[one(1, "key", Form::Text), one(2, "value", Form::Text), one(3, "effect", Form::Text)]);
static STATUS: Shape = Shape(&[many(5, "addresses", Form::Object(&ADDRESS))]);
static ADDRESS: Shape = Shape(&[one(1, "type", Form::Text), one(2, "address", Form::Text)]);

/// A Node's name as names of nodes are compared: trimmed and in lower case.
pub(crate) fn normalised(name: &str) -> String {
    name.trim().to_lowercase()
}

impl Kind for SlimNode {
    type Name = String;
    type Model = Node;
    const KIND: ObjectKind = ObjectKind::Node;
    const SHAPE: &'static Shape = &SHAPE;

    fn name(&self) -> String {
        normalised(self.metadata.plain_name())
    }

    fn into_model(mut self, _origin: Origin, _names: &mut Interner) -> Parsed<String, Node> {
        let name = self.name();
        let mut out = Findings::new(Self::KIND, &name);
        let model = self.metadata.check(&mut out).then(|| self.read(&mut out));
        let rejections = out.done();
        Parsed { name, model, rejections }
    }

    fn event(change: Change<String, Node>) -> Event {
        Event::Node(change)
    }
}

impl SlimNode {
    fn read(self, out: &mut Findings<'_>) -> Node {
        let name = self.name();
        let spec = out.take(self.spec, "spec", "it is taken as empty").unwrap_or_default();
        let status = out.take(self.status, "status", "it is taken as empty").unwrap_or_default();
        let (internal_ips, external_ips) = addresses(status.addresses, out);
        Node {
            name,
            internal_ips,
            external_ips,
            pod_cidrs: pod_cidrs(spec.pod_cidrs, spec.pod_cidr, out),
            labels: labels(self.metadata.labels, out),
            taints: taints(spec.taints, out),
            deleting: !matches!(self.metadata.deleted, Lenient::Absent),
        }
    }
}

/// The internal and the external addresses. Host names and DNS names do not count.
fn addresses(list: List<SlimAddress>, out: &mut Findings<'_>) -> (Vec<IpAddr>, Vec<IpAddr>) {
    let (mut internal, mut external) = (Vec::new(), Vec::new());
    let skip = "this address is left out";
    for (place, slim) in out.items(list, "status.addresses", skip) {
        let kind = out.take(slim.r#type, format_args!("status.addresses[{place}].type"), skip);
        let into = match kind.as_deref() {
            Some("InternalIP") => &mut internal,
            Some("ExternalIP") => &mut external,
            _ => continue,
        };
        let field = format_args!("status.addresses[{place}].address");
        let Some(text) = out.take(slim.address, field, skip) else { continue };
        match parse_ip(&text) {
            Some(ip) => into.push(ip),
            None => out.reject(field, format!("{text:?} is not an IP address; {skip}")),
        }
    }
    (internal, external)
}

fn pod_cidrs(list: List<Text<IpNet>>, single: Lenient<Text<IpNet>>, out: &mut Findings<'_>) -> Vec<IpNet> {
    let skip = "this network is left out";
    if matches!(list, Lenient::Absent) {
        return out.take(single, "spec.podCIDR", skip).map(|Text(net)| net).into_iter().collect();
    }
    out.items(list, "spec.podCIDRs", skip).into_iter().map(|(_, Text(net))| net).collect()
}

fn labels(words: Words, out: &mut Findings<'_>) -> BTreeMap<String, String> {
    let words = out.take(words, "metadata.labels", "there are no labels").unwrap_or_default();
    let mut labels = BTreeMap::new();
    for (key, value) in words {
        let value = out.take(value, format_args!("metadata.labels[{key}]"), "this label is left out");
        labels.extend(value.map(|value| (key, value)));
    }
    labels
}

fn taints(list: List<SlimTaint>, out: &mut Findings<'_>) -> Vec<Taint> {
    let mut taints = Vec::new();
    for (place, slim) in out.items(list, "spec.taints", "this taint is left out") {
        let mut one = |value, name: &str| {
            out.take(value, format_args!("spec.taints[{place}].{name}"), "it is taken as empty").unwrap_or_default()
        };
        let (key, value, effect) = (one(slim.key, "key"), one(slim.value, "value"), one(slim.effect, "effect"));
        taints.push(Taint { key, value, effect });
    }
    taints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: serde_json::Value) -> Parsed<String, Node> {
        let slim: SlimNode = serde_json::from_value(json).unwrap();
        slim.into_model(Origin::Api, &mut Interner::default())
    }

    #[test]
    fn what_counts_of_a_node_is_read() {
        let parsed = parse(serde_json::json!({
            "metadata": {"name": " Node-A ", "labels": {"topology.kubernetes.io/zone": "z1"},
                         "deletionTimestamp": "2024-01-01T00:00:00Z"},
            "spec": {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24", "fd00:1::/64"],
                     "taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]},
            "status": {"addresses": [{"type": "Hostname", "address": "node-a"}, {"type": "InternalIP", "address": "10.0.0.1"},
                       {"type": "ExternalIP", "address": "192.0.2.1"}, {"type": "InternalIP", "address": "fd00::1"}]},
        }));
        assert_eq!(parsed.rejections, []);
        let key = "ToBeDeletedByClusterAutoscaler".to_owned();
        assert_eq!(
            parsed.model,
            Some(Node {
                name: "node-a".into(),
                internal_ips: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
                external_ips: vec!["192.0.2.1".parse().unwrap()],
                pod_cidrs: vec!["10.1.0.0/24".parse().unwrap(), "fd00:1::/64".parse().unwrap()],
                labels: BTreeMap::from([("topology.kubernetes.io/zone".into(), "z1".into())]),
                taints: vec![Taint { key, value: String::new(), effect: "NoSchedule".into() }],
                deleting: true,
            })
        );
    }

    #[test]
    fn bad_addresses_cost_only_themselves() {
        let parsed = parse(serde_json::json!({
            "metadata": {"name": "a"}, "spec": {"podCIDRs": ["10.1.0.0/24", "nonsense"]},
            "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.x"}, {"type": "InternalIP", "address": "10.0.0.2"}]},
        }));
        let node = parsed.model.unwrap();
        assert_eq!(node.internal_ips, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(node.pod_cidrs.len(), 1);
        let fields: Vec<_> = parsed.rejections.iter().map(|r| r.field.as_str()).collect();
        assert_eq!(fields, ["status.addresses[0].address", "spec.podCIDRs[1]"]);
    }

    #[test]
    fn a_single_pod_cidr_counts_where_there_is_no_list() {
        let parsed = parse(serde_json::json!({"metadata": {"name": "a"}, "spec": {"podCIDR": "10.1.0.0/24"}}));
        assert_eq!(parsed.model.unwrap().pod_cidrs, ["10.1.0.0/24".parse::<IpNet>().unwrap()]);
    }
}
