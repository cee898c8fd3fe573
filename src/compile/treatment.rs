//! Treatments: what is done with a packet once its frontend is known. Frontends treated alike share the chains.
//!
//! A treatment is a value. Its parts are small chains, each named after what it does, that go to the next: entry, then pick.

use std::net::IpAddr;

use super::affinity::{OURS, SERVICE_BITS};
use super::layout::{Reach, SetId, affinity_fields, firewall_fields, slot_fields};
use super::ruleset::{Chain, ChainKind, Field, Hook, HookPoint, Name, Verdict};
use super::stmt::{Is, Rule, Stmt};
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

/// Who counts as local to the cluster, in one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Locality {
    /// Nobody can tell.
    #[default]
    Unknown,
    /// Sources inside a network.
    Inside(ipnet::IpNet),
    /// What came in by an interface with this name (or this beginning of a name).
    By {
        /// The name, or its beginning.
        interface: String,
        /// Whether `interface` is only the beginning.
        prefix: bool,
    },
}

impl Locality {
    /// The match for sources that are local (or are not); `None` when nobody can tell.
    fn matching(&self, family: Family, is: Is) -> Option<Stmt> {
        match self {
            Locality::Unknown => None,
            Locality::Inside(net) => Some(Stmt::Net(Field::Saddr(family), is, *net)),
            Locality::By { interface, prefix } => {
                Some(Stmt::InputInterface { name: interface.clone(), prefix: *prefix, is })
            }
        }
    }
}

/// What chains need to know of the settings in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manners {
    /// Who is local.
    pub locality: Locality,
    /// Whether all cluster-IP traffic is masqueraded.
    pub masquerade_all: bool,
    /// The node's own address: source ranges that hold it admit the load-balancer IPs themselves.
    pub node_ip: Option<IpAddr>,
    /// Whether the new connections to each frontend are counted.
    pub count_connections: bool,
}

impl Manners {
    /// Whether cluster-IP traffic needs an entry of its own.
    pub fn has_internal_entry(&self) -> bool {
        self.masquerade_all || self.locality != Locality::Unknown
    }
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
            Part::Guard(treatment) => guard_rules(treatment, family),
            Part::Pick(pick) => pick_rules(pick, family),
            Part::Entry(treatment) => entry_rules(treatment, family, manners),
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

fn guard_rules(treatment: Treatment, family: Family) -> Vec<Rule> {
    let stranger = Stmt::InSet(firewall_fields(family), Is::NotIn, SetId::Firewall.name());
    vec![
        Rule::new([stranger, Stmt::Verdict(Verdict::Drop)]).comment("not in loadBalancerSourceRanges"),
        Rule::new([Stmt::Verdict(treatment.unguarded().verdict())]),
    ]
}

/// A packet that is on its way while the last slot goes may draw a slot that is no more: it gets slot 0, and if that went too, it is
/// refused (rules are read as of the chain's start, sets as of now: `nft_do_chain` in `net/netfilter/nf_tables_core.c`).
fn pick_rules(pick: Pick, family: Family) -> Vec<Rule> {
    let missed = match pick.slots {
        1 => Verdict::Goto(REJECT.into()),
        _ => Verdict::Goto(Part::Pick(pick.one_slot()).name()),
    };
    let mut rules = match pick.sticky {
        Some(seconds) => sticky_rules(pick, seconds, family),
        None => {
            let fields = slot_fields(pick.reach, family, Field::Random(pick.slots));
            vec![Rule::new([Stmt::DnatMap(fields, SetId::Endpoints(pick.reach, pick.pool).name())])]
        }
    };
    rules.push(Rule::new([Stmt::Verdict(missed)]));
    rules
}

/// The packet draws an endpoint's number, learns it unless its client is known, and takes what is known of the client: so of two
/// connections at once the first to learn decides for both. A full map learns nothing, and the drawn number stands. A known number that
/// is no endpoint here any more is forgotten and drawn anew. See `docs/decisions/0009-session-affinity.md`.
fn sticky_rules(pick: Pick, seconds: u32, family: Family) -> Vec<Rule> {
    let Pick { reach, pool, slots, .. } = pick;
    let map = SetId::Affinity.name();
    let key = affinity_fields(family, Field::PriorityBits(SERVICE_BITS));
    let slot = slot_fields(reach, family, Field::Random(slots));
    let endpoint = slot_fields(reach, family, Field::Priority);
    let draw = || Stmt::PriorityMap(slot.clone(), SetId::StickySlots(reach, pool).name());
    let learn = || Stmt::Learn { map: map.clone(), key: key.clone(), seconds };
    let recall = Stmt::PriorityMap(key.clone(), map.clone());
    let forget = Stmt::Forget { map: map.clone(), key: key.clone() };
    let dnat = || Rule::new([Stmt::DnatMap(endpoint.clone(), SetId::StickyEndpoints(reach, pool).name())]);
    vec![
        Rule::new([draw(), learn(), recall]).comment("the client's endpoint"),
        dnat(),
        Rule::new([draw(), forget, learn()]).comment("its endpoint is gone: another"),
        dnat(),
    ]
}

fn entry_rules(treatment: Treatment, family: Family, manners: &Manners) -> Vec<Rule> {
    let mark = || Stmt::Verdict(Verdict::Jump(MARK_MASQ.into()));
    let goto = |pick: Pick| Stmt::Verdict(Verdict::Goto(Part::Pick(pick).name()));
    let mut rules = match treatment.entry {
        Entry::None => Vec::new(),
        Entry::Internal if manners.masquerade_all => vec![Rule::new([mark()])],
        Entry::Internal => manners
            .locality
            .matching(family, Is::NotIn)
            .map(|outsider| Rule::new([outsider, mark()]).comment("masquerade traffic from outside the cluster"))
            .into_iter()
            .collect(),
        Entry::External => vec![Rule::new([mark()])],
        Entry::ShortCircuit(pick) => {
            let pods = manners
                .locality
                .matching(family, Is::In)
                .map(|insider| Rule::new([insider, goto(pick)]).comment("short-circuit pod traffic"));
            let node = [
                Rule::new([Stmt::SourceIsLocal, mark()]).comment("masquerade local traffic"),
                Rule::new([Stmt::SourceIsLocal, goto(pick)]).comment("short-circuit local traffic"),
            ];
            pods.into_iter().chain(node).collect()
        }
    };
    rules.push(Rule::new([Stmt::Verdict(treatment.end.verdict())]));
    rules
}
