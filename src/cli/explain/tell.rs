//! Puts the story together from the walks and what is known.

use std::collections::BTreeMap;

use super::candidates::candidates;
use super::frontend::{Found, asked, found};
use super::masquerade::source;
use super::story::{Asked, Destination, Story, Verdict};
use super::walk::{Miss, Walk};
use crate::cli::args::Sender;
use crate::cli::planned::Planned;
use crate::compile::walk::{Environment, Origin, Packet};
use crate::model::{Config, Protocol, ProxyMode, TrafficPolicy};
use crate::peer::{Fate, Outcome};
use crate::state::Snapshot;

/// What is known besides the walks.
pub(super) struct Known<'a> {
    pub(super) config: &'a Config,
    pub(super) snapshot: &'a Snapshot,
    pub(super) planned: &'a Planned,
    pub(super) around: &'a Environment,
}

/// The story of a packet.
pub(super) fn tell(known: &Known<'_>, from: Sender, packet: &Packet, walks: &[Walk]) -> Story {
    let first = walks.first();
    let found = first.zip(asked(packet)).and_then(|(walk, frontend)| found(known, walk, frontend));
    let (endpoints, hints) = found.as_ref().map(|found| candidates(known, found)).unwrap_or_default();
    let used = endpoints.iter().filter(|candidate| candidate.used).count();
    let verdict = verdict(walks);
    let delivered = found.as_ref().filter(|_| verdict == Verdict::Delivered);
    Story {
        packet: asked_for(known, from, packet),
        source: delivered.map(|found| source(known, found, packet, walks)),
        why: why(known, (found.as_ref(), used), verdict, packet, first),
        frontend: found.map(|found| found.told(packet.origin == Origin::FromNode)),
        endpoints,
        hints,
        path: first.map(|walk| walk.steps.clone()).unwrap_or_default(),
        verdict,
        destinations: destinations(walks),
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
fn verdict(walks: &[Walk]) -> Verdict {
    let any = |fate| walks.iter().any(|walk| walk.outcome.fate == fate);
    match () {
        () if any(Fate::Dropped) => Verdict::Dropped,
        () if any(Fate::Refused) => Verdict::Refused,
        () if walks.iter().any(|walk| walk.is_dnated) => Verdict::Delivered,
        () => Verdict::LeftAlone,
    }
}

fn why(
    known: &Known<'_>,
    (found, used): (Option<&Found<'_>>, usize),
    verdict: Verdict,
    packet: &Packet,
    walk: Option<&Walk>,
) -> String {
    let miss = walk.and_then(|walk| walk.miss);
    match (verdict, found) {
        (Verdict::Delivered, Some(found)) if found.service.affinity.is_some() => {
            "a client that is not remembered goes to one of its endpoints at random, each with the same chance"
                .to_owned()
        }
        (Verdict::Delivered, _) => "to one of its endpoints at random, each with the same chance".to_owned(),
        (Verdict::Refused, Some(_)) => "the service has no usable endpoint".to_owned(),
        (Verdict::Dropped, Some(_)) if walk.is_some_and(|walk| walk.is_turned_away) => {
            "the service's loadBalancerSourceRanges do not hold the source".to_owned()
        }
        (Verdict::Dropped, Some(found)) if used == 0 && found.policy() == TrafficPolicy::Local => {
            "the policy is Local and no usable endpoint is on this node".to_owned()
        }
        (Verdict::Refused, None) if miss == Some(Miss::ClusterIp) => {
            format!("{} is the cluster IP of {}, which has no such port", packet.destination, owners(known, packet))
        }
        (Verdict::Dropped, None) if miss == Some(Miss::ServiceCidr) => {
            "it is inside the range of cluster IPs, but no service has this one".to_owned()
        }
        (Verdict::LeftAlone, _) if known.config.mode == ProxyMode::Iptables && !owners(known, packet).is_empty() => {
            format!(
                "{} is the cluster IP of {}, which has no such port; iptables mode refuses no other ports, so it goes its way untouched",
                packet.destination,
                owners(known, packet)
            )
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

fn destinations(walks: &[Walk]) -> Vec<Destination> {
    let mut counted = BTreeMap::<Outcome, usize>::new();
    for Walk { outcome, .. } in walks.iter().filter(|walk| walk.outcome.fate == Fate::Delivered) {
        *counted.entry(*outcome).or_default() += 1;
    }
    let told = |(outcome, count): (Outcome, usize)| Destination {
        address: outcome.destination.to_string(),
        share: count as f64 / walks.len() as f64,
        masqueraded: outcome.masqueraded,
    };
    counted.into_iter().map(told).collect()
}
