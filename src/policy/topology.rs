//! Topology hints (KEP-2433, KEP-4444): which part of the ready endpoints this node should use.

use std::fmt;

use crate::model::Hints;
use crate::state::Endpoint;

/// How hints cut the ready endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Those hinted for this node.
    SameNode,
    /// Those hinted for this node's zone.
    SameZone,
    /// All of them, and why.
    All(HintsIgnored),
}

/// Why hints were not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintsIgnored {
    /// No ready endpoint carries one.
    None,
    /// At least one ready endpoint has no hint.
    Incomplete,
    /// The node has no zone label.
    NoZone,
    /// No hint names this node or its zone.
    NotForUs,
}

impl fmt::Display for HintsIgnored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HintsIgnored::None => "no endpoint has topology hints",
            HintsIgnored::Incomplete => "a ready endpoint has no topology hint",
            HintsIgnored::NoZone => "the node has no label topology.kubernetes.io/zone",
            HintsIgnored::NotForUs => "no topology hint names this node or its zone",
        })
    }
}

impl Topology {
    /// Decides over the ready endpoints, for the node's name and zone.
    pub fn of(ready: &[&Endpoint<'_>], node: &str, zone: Option<&str>) -> Topology {
        let for_node = Tally::of(ready, |hints| &hints.nodes, Some(node));
        if for_node.complete && for_node.ours {
            return Topology::SameNode;
        }
        let for_zone = Tally::of(ready, |hints| &hints.zones, zone);
        if for_zone.complete && for_zone.ours {
            return Topology::SameZone;
        }
        Topology::All(match (for_node.any || for_zone.any, for_node.complete || for_zone.complete) {
            (false, _) => HintsIgnored::None,
            (true, false) => HintsIgnored::Incomplete,
            (true, true) if zone.is_none() && for_zone.complete => HintsIgnored::NoZone,
            (true, true) => HintsIgnored::NotForUs,
        })
    }

    /// Whether a ready endpoint is among those to use.
    pub fn admits(self, endpoint: &Endpoint<'_>, node: &str, zone: Option<&str>) -> bool {
        let names = |pick: fn(&Hints) -> &Vec<std::sync::Arc<str>>, name: &str| {
            endpoint.hints.is_some_and(|hints| pick(hints).iter().any(|n| **n == *name))
        };
        match self {
            Topology::All(_) => true,
            Topology::SameNode => names(|h| &h.nodes, node),
            Topology::SameZone => zone.is_some_and(|zone| names(|h| &h.zones, zone)),
        }
    }
}

/// What the hints of one kind say together.
struct Tally {
    any: bool,
    complete: bool,
    ours: bool,
}

impl Tally {
    fn of(ready: &[&Endpoint<'_>], pick: fn(&Hints) -> &Vec<std::sync::Arc<str>>, name: Option<&str>) -> Tally {
        let mut tally = Tally { any: false, complete: !ready.is_empty(), ours: false };
        for endpoint in ready {
            match endpoint.hints.map(pick) {
                Some(names) if !names.is_empty() => {
                    tally.any = true;
                    tally.ours |= name.is_some_and(|name| names.iter().any(|n| **n == *name));
                }
                _ => tally.complete = false,
            }
        }
        tally
    }
}
