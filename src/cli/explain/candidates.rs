//! The endpoints of a service port, and why each is used or not.

use super::frontend::Found;
use super::story::Candidate;
use super::tell::Known;
use crate::model::{EndpointAddr, EndpointSlice, SliceEndpoint};
use crate::policy::{Choice, HintsIgnored, Pool, Topology, Viewpoint, choose, judge};
use crate::state::Endpoint;

/// Every endpoint the slices name for the port, by address; those that stand twice too. And how hints were used.
pub(super) fn candidates(known: &Known<'_>, found: &Found<'_>) -> (Vec<Candidate>, Option<String>) {
    let node = &*known.config.node_name;
    let from = Viewpoint { node_name: node, node: known.snapshot.node.as_ref(), external_ips: true };
    let merged = found.entry.endpoints(found.port, found.frontend.family, node);
    let choice = choose(&merged, node, from.zone());
    let mut told: Vec<(EndpointAddr, Candidate)> = Vec::new();
    for (slice, endpoint, addr) in standing(found) {
        let Some(kept) = merged.iter().find(|kept| kept.addr == addr) else { continue };
        let counts = kept.slice == &*slice.name.name
            && kept.conditions == endpoint.conditions
            && !told.iter().any(|(earlier, told)| *earlier == addr && told.slice == kept.slice);
        let candidate = match counts {
            true => judged(kept, endpoint, &choice, found.pool),
            false => duplicate(kept, slice, endpoint),
        };
        told.push((addr, candidate));
    }
    told.sort_by_key(|(addr, candidate)| (*addr, candidate.why.starts_with(DUPLICATE)));
    (told.into_iter().map(|(_, candidate)| candidate).collect(), hints(&choice, found.pool))
}

const DUPLICATE: &str = "duplicate";

/// What the slices say, before it is merged.
fn standing<'a>(found: &Found<'a>) -> impl Iterator<Item = (&'a EndpointSlice, &'a SliceEndpoint, EndpointAddr)> {
    let (family, port) = (found.frontend.family, found.port);
    let slices = found.entry.slices.values().filter(move |slice| slice.family == family);
    slices.flat_map(move |slice| {
        let numbers = slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol);
        numbers.flat_map(move |p| {
            slice.endpoints.iter().map(move |e| (slice, e, EndpointAddr { ip: e.address, port: p.port }))
        })
    })
}

fn judged(kept: &Endpoint<'_>, said: &SliceEndpoint, choice: &Choice, pool: Pool) -> Candidate {
    let standing = judge(kept, choice, pool);
    Candidate {
        address: kept.addr.to_string(),
        node: said.node.as_deref().map(str::to_owned),
        slice: kept.slice.to_owned(),
        used: standing.is_in(),
        why: standing.to_string(),
    }
}

fn duplicate(kept: &Endpoint<'_>, slice: &EndpointSlice, said: &SliceEndpoint) -> Candidate {
    Candidate {
        address: kept.addr.to_string(),
        node: said.node.as_deref().map(str::to_owned),
        slice: slice.name.name.to_string(),
        used: false,
        why: format!("{DUPLICATE}: the one in slice {} counts", kept.slice),
    }
}

/// Hints have no say under policy Local.
fn hints(choice: &Choice, pool: Pool) -> Option<String> {
    match (pool, choice.topology) {
        (Pool::Local, _) => None,
        // Nothing to be surprised about.
        (_, Topology::All(HintsIgnored::None)) => None,
        (_, Topology::All(why)) => Some(format!("not used: {why}")),
        (_, Topology::SameNode) => Some("used: endpoints hinted for this node".to_owned()),
        (_, Topology::SameZone) => Some("used: endpoints hinted for this node's zone".to_owned()),
    }
}
