//! What somebody else changed, told from a draft that has just been compared with what is in force. Pure.

use std::collections::BTreeMap;

use super::target::Live;
use crate::compile::bytes::Bytes;
use crate::compile::draft::{ChainInForce, Draft, Pending, PendingSet, SetInForce};
use crate::compile::print::{element_text, set_keyword};
use crate::compile::ruleset::{Element, Name, Set, TABLE, Table};
use crate::model::{Drift, DriftKind, Family};

/// So many elements are shown of those that differ.
const SHOWN: usize = 3;

/// Every object of a family's table that differs. To be asked right after [`super::learn`] of a draft that had nothing pending.
pub fn drift(draft: &Draft, live: &Live, family: Family) -> Vec<Drift> {
    let Some(wanted) = draft.ruleset().get(family) else { return Vec::new() };
    let pending = draft.pending().get(family);
    let told = |kind, object: String, change: String| Drift { family, kind, object, change };
    let table = || format!("table {TABLE}");
    if live.get(family).is_none() {
        return vec![told(DriftKind::Table, table(), "is gone".to_owned())];
    }
    let flags =
        (pending.flags || pending.absent).then(|| told(DriftKind::Flags, table(), "has other flags".to_owned()));
    let chains = pending.chains.iter().map(|(name, now)| {
        let (kind, change) = of_chain(wanted, name, *now);
        told(kind, format!("chain {name}"), change.to_owned())
    });
    let sets = sets_of(wanted, pending).map(|(kind, object, change)| told(kind, object, change));
    flags.into_iter().chain(chains).chain(sets).collect()
}

fn of_chain(wanted: &Table, name: &Name, now: ChainInForce) -> (DriftKind, &'static str) {
    match (wanted.chains.get(name), now) {
        (None, _) => (DriftKind::Chain, "is none of ours"),
        (Some(_), ChainInForce::Absent) => (DriftKind::Chain, "is gone"),
        (Some(chain), ChainInForce::There(hook)) if hook != chain.hook => {
            (DriftKind::Chain, "has another hook or policy")
        }
        (Some(_), ChainInForce::There(_)) => (DriftKind::Rules, "has other rules"),
    }
}

fn sets_of(wanted: &Table, pending: &Pending) -> impl Iterator<Item = (DriftKind, String, String)> {
    pending.sets.iter().map(|(name, differing)| {
        let set = wanted.sets.get(name);
        let object = format!("{} {name}", set.map_or("set", |set| set_keyword(&set.def)));
        let (kind, change) = of_set(set, differing);
        (kind, object, change)
    })
}

fn of_set(wanted: Option<&Set>, differing: &PendingSet) -> (DriftKind, String) {
    match (wanted, &differing.shape) {
        (None, _) => (DriftKind::Set, "is none of ours".to_owned()),
        (Some(_), Some(SetInForce::Absent)) => (DriftKind::Set, "is gone".to_owned()),
        (Some(_), Some(SetInForce::Shaped(_))) => (DriftKind::Set, "has another shape".to_owned()),
        (Some(set), None) => (DriftKind::Elements, of_elements(set, &differing.elements)),
    }
}

/// `2 elements differ: -10.96.0.1 . tcp . 80 : drop, +10.96.0.1 . tcp . 80 : goto KUBE-SVC-1`: in force with a minus, wanted with a plus.
fn of_elements(wanted: &Set, in_force: &BTreeMap<Bytes, Option<Element>>) -> String {
    let text = |key: &Bytes, element: &Element| element_text(&wanted.def, key, element);
    let mut shown = Vec::new();
    for (key, now) in in_force.iter().take(SHOWN) {
        shown.extend(now.as_ref().map(|element| format!("-{}", text(key, element))));
        shown.extend(wanted.elements.get(key).map(|element| format!("+{}", text(key, element))));
    }
    let (count, more) = (in_force.len(), if in_force.len() > SHOWN { ", ..." } else { "" });
    let differ = if count == 1 { "element differs" } else { "elements differ" };
    format!("{count} {differ}: {}{more}", shown.join(", "))
}
