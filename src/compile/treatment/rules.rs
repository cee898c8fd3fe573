//! The rules of each part.

use super::{Entry, MARK_MASQ, Part, Pick, REJECT, Treatment};
use crate::compile::affinity::SERVICE_BITS;
use crate::compile::layout::{SetId, affinity_fields, firewall_fields, slot_fields};
use crate::compile::manners::Manners;
use crate::compile::ruleset::{Field, Verdict};
use crate::compile::stmt::{Is, Rule, Stmt};
use crate::model::Family;

pub(super) fn guard(treatment: Treatment, family: Family) -> Vec<Rule> {
    let stranger = Stmt::InSet(firewall_fields(family), Is::NotIn, SetId::Firewall.name());
    vec![
        Rule::new([stranger, Stmt::Verdict(Verdict::Drop)]).comment("not in loadBalancerSourceRanges"),
        Rule::new([Stmt::Verdict(treatment.unguarded().verdict())]),
    ]
}

/// A packet that is on its way while the last slot goes may draw a slot that is no more: it gets slot 0, and if that went too, it is
/// refused (rules are read as of the chain's start, sets as of now: `nft_do_chain` in `net/netfilter/nf_tables_core.c`).
pub(super) fn pick(pick: Pick, family: Family) -> Vec<Rule> {
    let missed = match pick.slots {
        1 => Verdict::Goto(REJECT.into()),
        _ => Verdict::Goto(Part::Pick(pick.one_slot()).name()),
    };
    let mut rules = match pick.sticky {
        Some(seconds) => sticky(pick, seconds, family),
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
fn sticky(pick: Pick, seconds: u32, family: Family) -> Vec<Rule> {
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

pub(super) fn entry(treatment: Treatment, family: Family, manners: &Manners) -> Vec<Rule> {
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
