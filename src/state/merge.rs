//! Merging the slices of a service port.

use crate::model::{Conditions, EndpointAddr, EndpointSlice, Family, Hints, Protocol};

/// One endpoint of a service port, merged from all slices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// Address and port.
    pub addr: EndpointAddr,
    /// Its conditions.
    pub conditions: Conditions,
    /// Whether it is on the own node.
    pub local: bool,
    /// Its topology hints.
    pub hints: Option<&'a Hints>,
    /// The slice it came from.
    pub slice: &'a str,
}

/// The endpoints of the port `(name, protocol)` in one family, ordered by address and port, each once: non-terminating beats
/// terminating, ready beats not ready, then the slice's name decides.
pub(super) fn merge_endpoints<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    port: (&str, Protocol),
    family: Family,
    node: &str,
) -> Vec<Endpoint<'a>> {
    let mut merged: Vec<Endpoint<'a>> =
        slices.filter(|slice| slice.family == family).flat_map(|slice| of_slice(slice, port, node)).collect();
    merged.sort_by(|a, b| rank(a).cmp(&rank(b)));
    merged.dedup_by(|later, earlier| later.addr == earlier.addr);
    merged
}

fn of_slice<'a, 'b>(
    slice: &'a EndpointSlice,
    (name, protocol): (&'b str, Protocol),
    node: &'b str,
) -> impl Iterator<Item = Endpoint<'a>> + use<'a, 'b> {
    let numbers =
        move || slice.ports.iter().filter(move |p| *p.name == *name && p.protocol == protocol).map(|p| p.port);
    slice.endpoints.iter().flat_map(move |endpoint| {
        let local = endpoint.node.as_deref() == Some(node);
        numbers().map(move |port| Endpoint {
            addr: EndpointAddr { ip: endpoint.address, port },
            conditions: endpoint.conditions,
            local,
            hints: endpoint.hints.as_deref(),
            slice: &slice.name.name,
        })
    })
}

/// Sorts by address; among equal addresses the one to keep comes first.
fn rank<'e>(endpoint: &'e Endpoint<'_>) -> (EndpointAddr, bool, bool, &'e str) {
    (endpoint.addr, endpoint.conditions.terminating, !endpoint.conditions.ready, endpoint.slice)
}
