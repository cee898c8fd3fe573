//! Treatments: what is done with a packet once its frontend is known. Frontends treated alike share the chains.
//!
//! A treatment is a value. Its parts are small chains, each named after what it does, that go to the next: entry, then pick.

mod rules;

use super::affinity::OURS;
use super::layout::{Reach, SetId};
use super::manners::Manners;
use super::ruleset::{Chain, ChainKind, Hook, HookPoint, Name, Verdict};
use super::stmt::{Rule, Stmt};
use crate::model::Family;
use crate::policy::Pool;

/// Where connections are refused: by TCP reset, or by ICMP port unreachable.
pub const REJECT: &str = "KUBE-REJECT";
/// Where packets are marked to be masqueraded.
pub const MARK_MASQ: &str = "KUBE-MARK-MASQ";

/// The pick of one of `slots` endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pick {
    /// By what the packet came, and so the key.
    pub reach: Reach,
    /// Among which endpoints.
    pub pool: Pool,
    /// How many there are; at least 1.
    pub slots: u32,
    /// For how many seconds a client keeps its endpoint, if it does.
    pub sticky: Option<u32>,
}

/// Where a treatment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// DNAT to an endpoint.
    Pick(Pick),
    /// Silence.
    Drop,
    /// Refused.
    Reject,
}

/// What comes before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// Nothing.
    None,
    /// Cluster-IP traffic: masquerade sources that are not local to the cluster.
    Internal,
    /// External traffic under the Cluster policy: masquerade.
    External,
    /// External traffic under the Local policy: the cluster's own sources and the node itself go to this pick of the Cluster pool, the latter
    /// masqueraded; the rest goes on as it is.
    ShortCircuit(Pick),
}

/// One value: equal ones share their chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Treatment {
    /// Whether only the sources in `firewall` may pass; the others are dropped before anything else is decided.
    pub guarded: bool,
    /// The entry.
    pub entry: Entry,
    /// The end.
    pub end: End,
}

/// A shared chain on demand: one part of a treatment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The guard before the rest of a treatment.
    Guard(Treatment),
    /// The pick itself.
    Pick(Pick),
    /// An entry with its end.
    Entry(Treatment),
    /// A base chain of session affinity's: it clears the packet's priority before the packet leaves.
    ClearPriority,
}

/// Where `meta priority` is cleared again: before any masquerade, which would end the packet's way through the NAT chains.
const CLEAR_PRIORITY: &str = "nat-postrouting-affinity";
const BEFORE_SRCNAT: i32 = 99;

impl Pick {
    /// `KUBE-SVC-3`, `KUBE-SVL-3` (local), with `NP-` for node ports and `-STICKY-10800s` behind for session affinity.
    fn suffix(self) -> String {
        let pool = match self.pool {
            Pool::Cluster => "SVC",
            Pool::Local => "SVL",
        };
        let plain = match self.reach {
            Reach::Address => format!("{pool}-{}", self.slots),
            Reach::NodePort => format!("{pool}-NP-{}", self.slots),
        };
        match self.sticky {
            Some(seconds) => format!("{plain}-STICKY-{seconds}s"),
            None => plain,
        }
    }

    fn one_slot(self) -> Pick {
        Pick { slots: 1, ..self }
    }
}

impl End {
    fn suffix(self) -> String {
        match self {
            End::Pick(pick) => pick.suffix(),
            End::Drop => "DROP".to_owned(),
            End::Reject => "REJECT".to_owned(),
        }
    }

    /// The verdict that leads there.
    fn verdict(self) -> Verdict {
        match self {
            End::Pick(pick) => Verdict::Goto(Part::Pick(pick).name()),
            End::Drop => Verdict::Drop,
            End::Reject => Verdict::Goto(REJECT.into()),
        }
    }
}

impl Treatment {
    /// The part a frontend's element leads to; `None` when the verdict is the end itself.
    pub fn first_part(self) -> Option<Part> {
        match (self.entry, self.end) {
            _ if self.guarded => Some(Part::Guard(self)),
            (Entry::None, End::Pick(pick)) => Some(Part::Pick(pick)),
            (Entry::None, _) => None,
            _ => Some(Part::Entry(self)),
        }
    }

    /// What comes after the guard.
    fn unguarded(self) -> Treatment {
        Treatment { guarded: false, ..self }
    }

    /// The verdict of a frontend's element.
    pub fn verdict(self) -> Verdict {
        match self.first_part() {
            Some(part) => Verdict::Goto(part.name()),
            None => self.end.verdict(),
        }
    }
}

impl Part {
    /// The chain's name.
    pub fn name(self) -> Name {
        let suffix = match self {
            Part::Guard(treatment) => format!("FW-{}", entry_suffix(treatment)),
            Part::Pick(pick) => pick.suffix(),
            Part::Entry(treatment) => entry_suffix(treatment),
            Part::ClearPriority => return CLEAR_PRIORITY.into(),
        };
        Name::from(format!("KUBE-{suffix}"))
    }

    /// The parts it needs: those its rules lead to, and what a sticky pick leaves to be cleared.
    pub fn needs(self) -> Vec<Part> {
        match self {
            Part::ClearPriority => Vec::new(),
            Part::Pick(pick) => {
                let fallback = (pick.slots > 1).then_some(Part::Pick(pick.one_slot()));
                fallback.into_iter().chain(pick.sticky.map(|_| Part::ClearPriority)).collect()
            }
            Part::Guard(treatment) => treatment.unguarded().first_part().into_iter().collect(),
            Part::Entry(Treatment { entry, end, .. }) => {
                let short = match entry {
                    Entry::ShortCircuit(pick) => Some(Part::Pick(pick)),
                    _ => None,
                };
                let end = match end {
                    End::Pick(pick) => Some(Part::Pick(pick)),
                    _ => None,
                };
                short.into_iter().chain(end).collect()
            }
        }
    }

    /// The sets it needs that not every table has.
    pub fn needs_sets(self) -> Vec<SetId> {
        match self {
            Part::Pick(Pick { reach, pool, sticky: Some(_), .. }) => {
                vec![SetId::StickySlots(reach, pool), SetId::StickyEndpoints(reach, pool), SetId::Affinity]
            }
            _ => Vec::new(),
        }
    }

    /// The chain.
    pub fn chain(self, family: Family, manners: &Manners) -> Chain {
        let rules = match self {
            Part::Guard(treatment) => rules::guard(treatment, family),
            Part::Pick(pick) => rules::pick(pick, family),
            Part::Entry(treatment) => rules::entry(treatment, family, manners),
            Part::ClearPriority => vec![Rule::new([Stmt::PriorityHas(OURS), Stmt::PriorityClear])],
        };
        let early = Hook { kind: ChainKind::Nat, point: HookPoint::Postrouting, priority: BEFORE_SRCNAT };
        Chain { hook: (self == Part::ClearPriority).then_some(early), rules }
    }
}

fn entry_suffix(Treatment { entry, end, .. }: Treatment) -> String {
    match entry {
        Entry::None => end.suffix(),
        Entry::Internal => format!("INT-{}", end.suffix()),
        Entry::External => format!("EXT-{}", end.suffix()),
        Entry::ShortCircuit(pick) => format!("EXT-{}-{}", pick.suffix(), end.suffix()),
    }
}
