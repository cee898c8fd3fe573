//! What a transaction would change, as text a person reads like a diff. Costs what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::print::expr_text;
use super::target::{Live, LiveTable};
use crate::compile::bytes::Bytes;
use crate::compile::draft::{Draft, Pending, PendingSet};
use crate::compile::lower::lower;
use crate::compile::print::{element_text, rule_text};
use crate::compile::ruleset::{Element, Name, Set, TABLE, Table};
use crate::compile::stmt::Rule;
use crate::model::Family;

/// One object that differs: lines that would go and lines that would come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The family of the table.
    pub family: Family,
    /// What it is: `table`, `map services`, `chain KUBE-SVC-3`.
    pub object: String,
    /// Lines in force that are not wanted.
    pub removed: Vec<String>,
    /// Lines wanted that are not in force.
    pub added: Vec<String>,
}

/// Every object that differs between the live tables and the draft.
pub fn differences(draft: &Draft, live: &Live) -> Vec<Difference> {
    let of_family = |(family, pending): (Family, &Pending)| {
        let empty = (Table::default(), LiveTable::default());
        let wanted = draft.ruleset().get(family).as_ref().unwrap_or(&empty.0).clone();
        let live = live.get(family).as_ref().unwrap_or(&empty.1).clone();
        let table = pending.absent.then(|| Difference {
            family,
            object: "table".to_owned(),
            removed: Vec::new(),
            added: vec![format!("table {} {TABLE}", family.nft())],
        });
        let sets = set_differences(family, pending, &wanted, &live);
        let chains = chain_differences(family, pending, &wanted, &live);
        table.into_iter().chain(sets).chain(chains).collect::<Vec<_>>()
    };
    draft.pending().iter().flat_map(of_family).collect()
}

/// The differences in the form of a unified diff without context.
pub fn unified(differences: &[Difference], before: &str, after: &str) -> String {
    let mut text = String::new();
    if differences.is_empty() {
        return text;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "--- {before}\n+++ {after}");
    for difference in differences {
        let _ = writeln!(text, "@@ {} {TABLE}: {} @@", difference.family.nft(), difference.object);
        for line in &difference.removed {
            let _ = writeln!(text, "-{line}");
        }
        for line in &difference.added {
            let _ = writeln!(text, "+{line}");
        }
    }
    text
}

fn set_differences(family: Family, pending: &Pending, wanted: &Table, live: &LiveTable) -> Vec<Difference> {
    let everything = wanted.sets.keys().map(|name| (name, None));
    let differing = pending.sets.iter().map(|(name, differing)| (name, Some(differing)));
    let sets: Vec<(&Name, Option<&PendingSet>)> =
        if pending.absent { everything.collect() } else { differing.collect() };
    sets.into_iter()
        .map(|(name, differing)| {
            let (wanted, live) = (wanted.sets.get(name), live.sets.get(name));
            let keys = differing.filter(|d| d.shape.is_none()).map(|d| d.elements.keys().collect::<BTreeSet<_>>());
            let lines = |set: Option<(&crate::compile::ruleset::SetDef, &BTreeMap<Bytes, Element>)>, other: Option<&BTreeMap<Bytes, Element>>| {
                set.iter()
                    .flat_map(|(def, elements)| elements.iter().map(move |(key, element)| (*def, key, element)))
                    .filter(|(_, key, _)| keys.as_ref().is_none_or(|keys| keys.contains(key)))
                    .filter(|(_, key, element)| other.and_then(|o| o.get(*key)) != Some(*element))
                    .map(|(def, key, element)| format!("  {}", element_text(def, key, element)))
                    .collect::<Vec<_>>()
            };
            let of_wanted = wanted.map(|set: &Set| (&set.def, &set.elements));
            let of_live = live.and_then(|set| Some((set.def.as_ref()?, &set.elements)));
            let shape_differs = differing.is_none_or(|d| d.shape.is_some());
            let shape = |def: Option<&crate::compile::ruleset::SetDef>| {
                def.filter(|_| shape_differs).map(|def| crate::compile::print::set_shape_text(def)).into_iter()
            };
            Difference {
                family,
                object: format!("set {name}"),
                removed: shape(of_live.map(|(def, _)| def)).chain(lines(of_live, of_wanted.map(|(_, e)| e))).collect(),
                added: shape(of_wanted.map(|(def, _)| def)).chain(lines(of_wanted, of_live.map(|(_, e)| e))).collect(),
            }
        })
        .collect()
}

fn chain_differences(family: Family, pending: &Pending, wanted: &Table, live: &LiveTable) -> Vec<Difference> {
    let names: Vec<&Name> =
        if pending.absent { wanted.chains.keys().collect() } else { pending.chains.keys().collect() };
    let difference = |name: &Name| {
        let ours: Vec<&Rule> = wanted.chains.get(name).iter().flat_map(|chain| &chain.rules).collect();
        let live_rules = live.chains.get(name).map(|chain| chain.rules.as_slice()).unwrap_or_default();
        let known = |exprs: &Vec<_>| ours.iter().find(|rule| lower(rule, family) == *exprs).map(|rule| rule_text(rule));
        let in_force: Vec<String> = live_rules
            .iter()
            .map(|rule| match rule {
                Some(exprs) => known(exprs).unwrap_or_else(|| exprs.iter().map(expr_text).collect::<Vec<_>>().join(" ")),
                None => "a rule ferroproxy never writes".to_owned(),
            })
            .map(|line| format!("  {line}"))
            .collect();
        let now: Vec<String> = ours.iter().map(|rule| format!("  {}", rule_text(rule))).collect();
        Difference {
            family,
            object: format!("chain {name}"),
            removed: in_force.iter().filter(|line| !now.contains(line)).cloned().collect(),
            added: now.iter().filter(|line| !in_force.contains(line)).cloned().collect(),
        }
    };
    names.into_iter().map(difference).collect()
}
