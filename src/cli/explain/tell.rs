//! Puts the story together from the walks and what is known.

use std::collections::BTreeMap;

use super::candidates::candidates;
use super::frontend::{Found, asked, found, lookups};
use super::masquerade::source;
use super::story::{Asked, Destination, Story, Verdict};
use crate::cli::args::Sender;
use crate::compile::Compiler;
use crate::compile::layout::SetId;
use crate::compile::walk::{Environment, Event, Fate, Origin, Outcome, Packet, Trace};
use crate::model::{Config, Protocol, TrafficPolicy};
use crate::state::Snapshot;

/// What is known besides the walks.
pub(super) struct Known<'a> {
    pub(super) config: &'a Config,
    pub(super) snapshot: &'a Snapshot,
    pub(super) compiler: &'a Compiler,
    pub(super) around: &'a Environment,
}

/// The story of a packet.
pub(super) fn tell(known: &Known<'_>, from: Sender, packet: &Packet, traces: &[Trace]) -> Story {
    let first = traces.first();
    let found = first.zip(asked(packet)).and_then(|(trace, frontend)| found(known, trace, frontend));
    let (endpoints, hints) = found.as_ref().map(|found| candidates(known, found)).unwrap_or_default();
    let used = endpoints.iter().filter(|candidate| candidate.used).count();
    let verdict = verdict(traces);
    let delivered = found.as_ref().filter(|_| verdict == Verdict::Delivered);
    Story {
        packet: asked_for(known, from, packet),
        source: delivered.map(|found| source(known, found, packet, traces)),
        why: why(known, (found.as_ref(), used), verdict, packet, first),
        frontend: found.map(|found| found.told(packet.origin == Origin::FromNode)),
        endpoints,
        hints,
        path: first.iter().flat_map(|trace| &trace.steps).map(ToString::to_string).collect(),
        verdict,
        destinations: destinations(traces),
    }
}

fn asked_for(known: &Known<'_>, from: Sender, packet: &Packet) -> Asked {
    let protocol = Protocol::from_number(packet.protocol).map(|protocol| protocol.to_string());
    Asked {
        from: packet.source,
        sender: match from {
            Sender::Pod => "a pod of this node",
            Sender::External => "outside the cluster",
            _ if known.around.is_local(packet.source) => "the node itself",
            _ => "as given",
        },
        to: std::net::SocketAddr::new(packet.destination, packet.destination_port).to_string(),
        protocol: protocol.unwrap_or_else(|| packet.protocol.to_string()),
    }
}

/// All draws end alike, but for where they lead; should they not, the worst counts.
fn verdict(traces: &[Trace]) -> Verdict {
    let any = |is: fn(&Fate) -> bool| traces.iter().any(|trace| is(&trace.fate));
    let rewritten = |trace: &Trace| trace.steps.iter().any(|step| matches!(step.event, Event::Dnat(_)));
    match () {
        () if any(|fate| matches!(fate, Fate::Drop)) => Verdict::Dropped,
        () if any(|fate| matches!(fate, Fate::Reject(_))) => Verdict::Refused,
        () if traces.iter().any(rewritten) => Verdict::Delivered,
        () => Verdict::LeftAlone,
    }
}

fn why(
    known: &Known<'_>,
    (found, used): (Option<&Found<'_>>, usize),
    verdict: Verdict,
    packet: &Packet,
    trace: Option<&Trace>,
) -> String {
    let looked_up = |set: SetId, hit| {
        trace.is_some_and(|trace| lookups(trace).any(|(name, there)| there == hit && name == set.text()))
    };
    let met = |set| looked_up(set, true);
    match (verdict, found) {
        (Verdict::Delivered, Some(found)) if found.service.affinity.is_some() => {
            "a client that is not remembered goes to one of its endpoints at random, each with the same chance"
                .to_owned()
        }
        (Verdict::Delivered, _) => "to one of its endpoints at random, each with the same chance".to_owned(),
        (Verdict::Refused, Some(_)) => "the service has no usable endpoint".to_owned(),
        (Verdict::Dropped, Some(_)) if looked_up(SetId::Firewall, false) => {
            "the service's loadBalancerSourceRanges do not hold the source".to_owned()
        }
        (Verdict::Dropped, Some(found)) if used == 0 && found.policy() == TrafficPolicy::Local => {
            "the policy is Local and no usable endpoint is on this node".to_owned()
        }
        (Verdict::Refused, None) if met(SetId::ClusterIps) => {
            format!("{} is the cluster IP of {}, which has no such port", packet.destination, owners(known, packet))
        }
        (Verdict::Dropped, None) if met(SetId::ServiceCidrs) => {
            "it is inside the range of cluster IPs, but no service has this one".to_owned()
        }
        (Verdict::LeftAlone, _) => {
            "no service has this address, protocol and port: it goes its way untouched".to_owned()
        }
        // Only rules of the kernel that the source does not ask for.
        _ => "the rules say so, but the source has no service for it".to_owned(),
    }
}

/// The services whose cluster IP the destination is, with their ports.
fn owners(known: &Known<'_>, packet: &Packet) -> String {
    let services = known.snapshot.services.values().filter_map(|entry| entry.service.as_ref());
    let ours = services.filter(|service| service.cluster_ips.contains(&packet.destination));
    let told = ours.map(|service| {
        let ports: Vec<String> = service.ports.iter().map(|port| format!("{}/{}", port.port, port.protocol)).collect();
        format!("{} ({})", service.name, ports.join(", "))
    });
    told.collect::<Vec<_>>().join(" and ")
}

fn destinations(traces: &[Trace]) -> Vec<Destination> {
    let mut counted = BTreeMap::<Outcome, usize>::new();
    for Trace { fate, destination, masqueraded, .. } in traces.iter().filter(|trace| trace.fate == Fate::Accept) {
        *counted.entry(Outcome { fate: *fate, destination: *destination, masqueraded: *masqueraded }).or_default() += 1;
    }
    let told = |(outcome, count): (Outcome, usize)| Destination {
        address: outcome.destination.to_string(),
        share: count as f64 / traces.len() as f64,
        masqueraded: outcome.masqueraded,
    };
    counted.into_iter().map(told).collect()
}
