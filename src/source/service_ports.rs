//! The ports of a Service.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::model::{Protocol, ServiceKind, ServicePort};

use super::findings::Findings;
use super::intern::Interner;
use super::kind::Origin;
use super::lenient::Lenient;
use super::protobuf::{Form, Shape, one};
use super::text::Text;

/// A port of a Service, slim.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SlimPort {
    name: Lenient<String>,
    protocol: Lenient<Text<Protocol>>,
    port: Lenient<i64>,
    node_port: Lenient<i64>,
}

/// `core.v1.ServicePort`.
pub(crate) static PORT: Shape = Shape(&[
    one(1, "name", Form::Text),
    one(2, "protocol", Form::Text),
    one(3, "port", Form::Number),
    one(5, "nodePort", Form::Number),
]);

/// The ports that can be used. A name, or a number of a protocol, that stands twice counts once.
pub(crate) fn ports(
    list: Lenient<Vec<Lenient<SlimPort>>>,
    kind: ServiceKind,
    origin: Origin,
    names: &mut Interner,
    out: &mut Findings<'_>,
) -> Vec<ServicePort> {
    let mut ports = Vec::new();
    let (mut seen_names, mut seen_ports) = (BTreeSet::new(), BTreeSet::new());
    for (place, slim) in out.items(list, "spec.ports", "this port is left out") {
        let Some(port) = one_port(place, slim, kind, origin, names, out) else { continue };
        if !seen_names.insert(port.name.clone()) {
            out.reject(format_args!("spec.ports[{place}].name"), "used twice; this port is left out");
        } else if !seen_ports.insert((port.protocol, port.port)) {
            out.reject(format_args!("spec.ports[{place}].port"), "used twice; this port is left out");
        } else {
            ports.push(port);
        }
    }
    ports
}

fn one_port(
    place: usize,
    slim: SlimPort,
    kind: ServiceKind,
    origin: Origin,
    names: &mut Interner,
    out: &mut Findings<'_>,
) -> Option<ServicePort> {
    let skip = "this port is left out";
    let at = |field: &str| format!("spec.ports[{place}].{field}");
    let name = good(slim.name, || at("name"), out, skip)?.unwrap_or_default();
    let protocol = good(slim.protocol, || at("protocol"), out, skip)?.map_or(Protocol::Tcp, |Text(protocol)| protocol);
    let Some(number) = good(slim.port, || at("port"), out, skip)? else {
        out.reject(at("port"), format!("absent; {skip}"));
        return None;
    };
    let port = out.port(number, at("port"), skip)?;
    let node_port = node_port(slim.node_port, &at("nodePort"), kind, origin, out);
    Some(ServicePort { name: names.name(&name), protocol, port, node_port })
}

/// `None` when the field was given and is bad, `Some(None)` when it is absent.
fn good<T>(
    value: Lenient<T>,
    field: impl FnOnce() -> String,
    out: &mut Findings<'_>,
    consequence: &str,
) -> Option<Option<T>> {
    match value {
        Lenient::Bad(_) => {
            out.take(value, field(), consequence);
            None
        }
        Lenient::Absent => Some(None),
        Lenient::Good(value) => Some(Some(value)),
    }
}

fn node_port(
    value: Lenient<i64>,
    field: &str,
    kind: ServiceKind,
    origin: Origin,
    out: &mut Findings<'_>,
) -> Option<u16> {
    let ignored = "the node port is left out";
    let absent = matches!(value, Lenient::Absent);
    match out.take(value, field, ignored).unwrap_or(0) {
        0 => {
            if absent && kind == ServiceKind::NodePort && origin == Origin::Manifest {
                out.reject(field, "absent, and manifests have no API server to allocate one");
            }
            None
        }
        _ if kind == ServiceKind::ClusterIp => {
            out.reject(field, format!("a Service of type ClusterIP has no node ports; {ignored}"));
            None
        }
        number => out.port(number, field, ignored),
    }
}
