//! EndpointSlices.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use crate::model::{
    Change, Conditions, EndpointSlice, Event, Family, Hints, ObjectKind, ObjectName, Protocol, SliceEndpoint, SlicePort,
};

use super::address::special;
use super::findings::Findings;
use super::intern::Interner;
use super::kind::{Kind, Origin, Parsed};
use super::lenient::Lenient;
use super::meta::{HEADLESS, META, Meta, SERVICE_NAME, TRIGGER_TIME, slim_resource};
use super::protobuf::{Form, Shape, many, one};
use super::text::Text;

type List<T> = Lenient<Vec<Lenient<T>>>;

/// An EndpointSlice, slim.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SlimSlice {
    metadata: Meta,
    address_type: Lenient<String>,
    endpoints: List<SlimEndpoint>,
    ports: List<SlimPort>,
}

slim_resource!(SlimSlice, k8s_openapi::api::discovery::v1::EndpointSlice);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SlimEndpoint {
    addresses: List<Text<IpAddr>>,
    conditions: Lenient<SlimConditions>,
    node_name: Lenient<String>,
    hints: Lenient<SlimHints>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimConditions {
    ready: Lenient<bool>,
    serving: Lenient<bool>,
    terminating: Lenient<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SlimHints {
    for_zones: List<ForName>,
    for_nodes: List<ForName>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ForName {
    name: Lenient<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimPort {
    name: Lenient<String>,
    protocol: Lenient<Text<Protocol>>,
    port: Lenient<i64>,
}

static SHAPE: Shape = Shape(&[
    one(1, "metadata", Form::Object(&META)),
    many(2, "endpoints", Form::Object(&ENDPOINT)),
    many(3, "ports", Form::Object(&PORT)),
    one(4, "addressType", Form::Text),
]);
static ENDPOINT: Shape = Shape(&[
    many(1, "addresses", Form::Text),
    one(2, "conditions", Form::Object(&CONDITIONS)),
    one(6, "nodeName", Form::Text),
    one(8, "hints", Form::Object(&HINTS)),
]);
static CONDITIONS: Shape =
    Shape(&[one(1, "ready", Form::Flag), one(2, "serving", Form::Flag), one(3, "terminating", Form::Flag)]);
static HINTS: Shape = Shape(&[many(1, "forZones", Form::Object(&NAME)), many(2, "forNodes", Form::Object(&NAME))]);
static NAME: Shape = Shape(&[one(1, "name", Form::Text)]);
static PORT: Shape = Shape(&[one(1, "name", Form::Text), one(2, "protocol", Form::Text), one(3, "port", Form::Number)]);

impl Kind for SlimSlice {
    type Name = ObjectName;
    type Model = EndpointSlice;
    const KIND: ObjectKind = ObjectKind::EndpointSlice;
    const SHAPE: &'static Shape = &SHAPE;

    fn name(&self) -> ObjectName {
        self.metadata.object_name()
    }

    fn into_model(mut self, _origin: Origin, names: &mut Interner) -> Parsed<ObjectName, EndpointSlice> {
        let name = self.name();
        let mut out = Findings::new(Self::KIND, &name);
        let headless = self.metadata.has_label(HEADLESS);
        let model = if self.metadata.check(&mut out) && !headless { self.read(names, &mut out) } else { None };
        let rejections = out.done();
        Parsed { name, model, rejections }
    }

    fn event(change: Change<ObjectName, EndpointSlice>) -> Event {
        Event::Slice(change)
    }
}

impl SlimSlice {
    fn read(mut self, names: &mut Interner, out: &mut Findings<'_>) -> Option<EndpointSlice> {
        let family = family(self.address_type, out)?;
        let name = self.metadata.object_name();
        let service = service_name(&mut self.metadata, out)?;
        let service = ObjectName { namespace: name.namespace.clone(), name: service.into() };
        let trigger_field = format_args!("metadata.annotations[{TRIGGER_TIME}]");
        Some(EndpointSlice {
            name,
            service,
            family,
            ports: ports(self.ports, names, out),
            endpoints: endpoints(self.endpoints, family, names, out),
            triggered: out.take(self.metadata.trigger, trigger_field, "the change is not timed"),
        })
    }
}

/// The family; `None` for FQDN slices, which nothing can be done with.
fn family(value: Lenient<String>, out: &mut Findings<'_>) -> Option<Family> {
    let skip = "the slice is skipped";
    let absent = matches!(value, Lenient::Absent);
    if absent {
        out.reject("addressType", format!("absent; {skip}"));
    }
    match out.take(value, "addressType", skip)?.as_str() {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        "FQDN" => None,
        other => {
            out.reject("addressType", format!("{other:?} is not an address type; {skip}"));
            None
        }
    }
}

fn service_name(metadata: &mut Meta, out: &mut Findings<'_>) -> Option<String> {
    let field = format_args!("metadata.labels[{SERVICE_NAME}]");
    let label = metadata.take_label(SERVICE_NAME);
    if label == Lenient::Absent {
        out.reject(field, "absent, so the slice belongs to no Service; it is skipped");
    }
    let name = out.take(label, field, "the slice is skipped")?;
    if name.is_empty() {
        out.reject(field, "empty, so the slice belongs to no Service; it is skipped");
    }
    (!name.is_empty()).then_some(name)
}

fn ports(list: List<SlimPort>, names: &mut Interner, out: &mut Findings<'_>) -> Vec<SlicePort> {
    let skip = "this port is left out";
    let mut ports = Vec::new();
    for (place, slim) in out.items(list, "ports", skip) {
        let bad_name = matches!(slim.name, Lenient::Bad(_));
        let bad_protocol = matches!(slim.protocol, Lenient::Bad(_));
        let name = out.take(slim.name, format_args!("ports[{place}].name"), skip).unwrap_or_default();
        let protocol = out.take(slim.protocol, format_args!("ports[{place}].protocol"), skip);
        let number = out.take(slim.port, format_args!("ports[{place}].port"), skip);
        if bad_name || bad_protocol {
            continue;
        }
        let port = number.and_then(|number| out.port(number, format_args!("ports[{place}].port"), skip));
        ports.extend(port.map(|port| SlicePort {
            name: names.name(&name),
            protocol: protocol.map_or(Protocol::Tcp, |Text(protocol)| protocol),
            port,
        }));
    }
    ports
}

fn endpoints(
    list: List<SlimEndpoint>,
    family: Family,
    names: &mut Interner,
    out: &mut Findings<'_>,
) -> Vec<SliceEndpoint> {
    let list = out.items(list, "endpoints", "this endpoint is left out");
    let mut endpoints = Vec::with_capacity(list.len());
    for (place, slim) in list {
        let Some(address) = address(slim.addresses, place, family, out) else { continue };
        let conditions = conditions(slim.conditions, place, out);
        let node_field = format_args!("endpoints[{place}].nodeName");
        let node = out.take(slim.node_name, node_field, "it counts as on no known node");
        let node = node.map(|node| names.name(&node));
        let hints = hints(slim.hints, place, names, out);
        endpoints.push(SliceEndpoint { address, conditions, node, hints });
    }
    endpoints
}

/// The endpoint's one address that counts.
fn address(list: List<Text<IpAddr>>, place: usize, family: Family, out: &mut Findings<'_>) -> Option<IpAddr> {
    let skip = "this endpoint is left out";
    let addresses = out.take(list, format_args!("endpoints[{place}].addresses"), skip);
    let Some(first) = addresses.and_then(|list| list.into_iter().next()) else {
        out.reject(format_args!("endpoints[{place}].addresses"), format!("empty; {skip}"));
        return None;
    };
    let field = format_args!("endpoints[{place}].addresses[0]");
    let Text(ip) = out.take(first, field, skip)?;
    if Family::of(ip) != family {
        out.reject(field, format!("{ip} in a slice of {family} addresses; {skip}"));
        return None;
    }
    if let Some(what) = special(ip) {
        out.reject(field, format!("{ip} is a {what} address; {skip}"));
        return None;
    }
    Some(ip)
}

fn conditions(value: Lenient<SlimConditions>, place: usize, out: &mut Findings<'_>) -> Conditions {
    let usual = "its default counts";
    let given = out.take(value, format_args!("endpoints[{place}].conditions"), usual).unwrap_or_default();
    let mut one = |value, name: &str, default| {
        out.take(value, format_args!("endpoints[{place}].conditions.{name}"), usual).unwrap_or(default)
    };
    Conditions {
        ready: one(given.ready, "ready", true),
        serving: one(given.serving, "serving", true),
        terminating: one(given.terminating, "terminating", false),
    }
}

fn hints(value: Lenient<SlimHints>, place: usize, names: &mut Interner, out: &mut Findings<'_>) -> Option<Box<Hints>> {
    let hints = out.take(value, format_args!("endpoints[{place}].hints"), "there are no hints")?;
    let zones = for_names(hints.for_zones, place, "forZones", names, out);
    let nodes = for_names(hints.for_nodes, place, "forNodes", names, out);
    (!zones.is_empty() || !nodes.is_empty()).then(|| Box::new(Hints { zones, nodes }))
}

fn for_names(
    list: List<ForName>,
    place: usize,
    field: &str,
    names: &mut Interner,
    out: &mut Findings<'_>,
) -> Vec<Arc<str>> {
    if matches!(list, Lenient::Absent) {
        return Vec::new();
    }
    let (path, skip) = (format!("endpoints[{place}].hints.{field}"), "this hint is left out");
    let mut found = Vec::new();
    for (nth, item) in out.items(list, &path, skip) {
        let name = out.take(item.name, format_args!("{path}[{nth}].name"), skip);
        found.extend(name.map(|name| names.name(&name)));
    }
    found
}

#[cfg(test)]
#[path = "slice_tests.rs"]
mod tests;
