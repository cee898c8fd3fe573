//! What rules answer to a question, in words that both kinds of rules share.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::EndpointAddr;
use crate::peer;

/// What becomes of a packet, over all random draws.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    /// No rule touches it.
    LeftAlone,
    /// Its sender is told at once.
    Refused,
    /// It vanishes.
    Dropped,
    /// It goes to one of these; whether its source becomes the node's.
    Delivered(BTreeMap<EndpointAddr, bool>),
}

impl Answer {
    /// From what can become of a packet that asked for `asked`.
    pub(super) fn of(outcomes: &BTreeSet<peer::Outcome>, asked: EndpointAddr) -> Answer {
        let any = |fate| outcomes.iter().any(|outcome| outcome.fate == fate);
        // All draws end alike, but for where they lead; should they not, the worst counts.
        if any(peer::Fate::Dropped) {
            return Answer::Dropped;
        }
        if any(peer::Fate::Refused) {
            return Answer::Refused;
        }
        let rewritten = outcomes.iter().filter(|outcome| outcome.destination != asked);
        let endpoints: BTreeMap<_, _> = rewritten.map(|outcome| (outcome.destination, outcome.masqueraded)).collect();
        if endpoints.is_empty() { Answer::LeftAlone } else { Answer::Delivered(endpoints) }
    }

    /// One word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Answer::LeftAlone => "left alone",
            Answer::Refused => "refused",
            Answer::Dropped => "dropped",
            Answer::Delivered(_) => "delivered",
        }
    }

    /// The endpoints; none unless it is delivered.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (&EndpointAddr, bool)> {
        let endpoints = match self {
            Answer::Delivered(endpoints) => Some(endpoints),
            _ => None,
        };
        endpoints.into_iter().flatten().map(|(addr, masqueraded)| (addr, *masqueraded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{Fate, Outcome};

    fn to(port: u16) -> EndpointAddr {
        EndpointAddr { ip: [10, 0, 0, 1].into(), port }
    }

    #[test]
    fn what_is_not_rewritten_is_left_alone_and_one_refusal_counts_for_all() {
        let outcome = |fate, port| Outcome { fate, destination: to(port), masqueraded: port == 2 };
        let of = |outcomes: &[Outcome]| Answer::of(&outcomes.iter().copied().collect(), to(1));
        assert_eq!(of(&[outcome(Fate::Delivered, 1)]), Answer::LeftAlone);
        let both = [outcome(Fate::Delivered, 2), outcome(Fate::Delivered, 3)];
        assert_eq!(of(&both), Answer::Delivered([(to(2), true), (to(3), false)].into()));
        assert_eq!(of(&[both[0], outcome(Fate::Refused, 1)]), Answer::Refused);
    }
}
