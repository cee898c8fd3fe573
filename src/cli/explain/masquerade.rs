//! Why a packet's source is rewritten, or is not.

use super::frontend::Found;
use super::question::cluster_network;
use super::story::Source;
use super::tell::Known;
use super::walk::Walk;
use crate::compile::walk::{Origin, Packet};
use crate::model::{LocalDetector, TrafficPolicy};

/// What becomes of the source of a packet that is delivered.
pub(super) fn source(known: &Known<'_>, found: &Found<'_>, packet: &Packet, walks: &[Walk]) -> Source {
    let masqueraded = walks.iter().any(|walk| walk.outcome.masqueraded);
    let marked = walks.iter().any(|walk| walk.is_marked);
    let why = match (masqueraded, marked) {
        (true, true) => why_marked(known, found, packet),
        (true, false) => "only on the way to itself, as an endpoint takes no answer from its own address".to_owned(),
        (false, true) => "it stays on the node, where no source is rewritten".to_owned(),
        (false, false) => why_kept(known, found, packet),
    };
    Source { masqueraded, why }
}

fn why_marked(known: &Known<'_>, found: &Found<'_>, packet: &Packet) -> String {
    match found.policy() {
        _ if found.is_internal() && known.config.masquerade_all => "masqueradeAll is set".to_owned(),
        _ if found.is_internal() => outside(known, packet),
        TrafficPolicy::Cluster => {
            "external traffic under policy Cluster may leave the node again, and its answer must come back here"
                .to_owned()
        }
        TrafficPolicy::Local => "the node itself may reach an endpoint elsewhere".to_owned(),
    }
}

fn outside(known: &Known<'_>, packet: &Packet) -> String {
    match cluster_network(known.config, known.snapshot, packet.family()) {
        Some(net) => format!("it is outside the cluster's network {net}"),
        None if packet.origin == Origin::FromNode => {
            "the node's own packets come in by no interface of a pod".to_owned()
        }
        None => "it comes in by no interface of a pod".to_owned(),
    }
}

fn why_kept(known: &Known<'_>, found: &Found<'_>, packet: &Packet) -> String {
    let net = cluster_network(known.config, known.snapshot, packet.family());
    match (&known.config.detector, net) {
        _ if !found.is_internal() && !found.is_short_circuited() => {
            "external traffic under policy Local keeps its source".to_owned()
        }
        (LocalDetector::BridgeInterface(name), _) => format!("it comes in by {name}: a pod"),
        (LocalDetector::InterfaceNamePrefix(name), _) => format!("it comes in by {name}0: a pod"),
        (_, Some(net)) => format!("it is inside the cluster's network {net}"),
        (_, None) => "no detector of local traffic is configured (--cluster-cidr, detectLocalMode)".to_owned(),
    }
}
