//! What a transaction would change, as text a person reads like a diff. Costs what differs.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::target::{Live, LiveChain, LiveTable};
use crate::compile::bytes::Bytes;
use crate::compile::draft::{Draft, Pending, PendingSet};
use crate::compile::lower::lower;
use crate::compile::print::{definition_items, element_text, program_text, rule_text, set_keyword};
use crate::compile::ruleset::{Chain, Element, Name, Set, SetDef, TABLE, Table};
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
    let nothing = LiveTable::default();
    let mut all = Vec::new();
    for (family, pending) in draft.pending().iter() {
        let Some(wanted) = draft.ruleset().get(family) else { continue };
        let live = live.get(family).as_ref().unwrap_or(&nothing);
        all.extend(Comparison { family, wanted, live, pending }.differences());
    }
    all
}

/// The differences in the form of a unified diff without context. Empty when there are none.
pub fn unified(differences: &[Difference], before: &str, after: &str) -> String {
    let mut text = String::new();
    if differences.is_empty() {
        return text;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "--- {before}\n+++ {after}");
    for difference in differences {
        let _ = writeln!(text, "@@ {} {TABLE}: {} @@", difference.family.nft(), difference.object);
        for (sign, lines) in [('-', &difference.removed), ('+', &difference.added)] {
            for line in lines {
                let _ = writeln!(text, "{sign}{line}");
            }
        }
    }
    text
}

/// One family's tables side by side.
pub(super) struct Comparison<'a> {
    pub(super) family: Family,
    pub(super) wanted: &'a Table,
    pub(super) live: &'a LiveTable,
    pub(super) pending: &'a Pending,
}

impl Comparison<'_> {
    pub(super) fn differences(&self) -> Vec<Difference> {
        if self.pending.absent {
            let table = self.difference("table", Vec::new(), vec![format!("table {} {TABLE}", self.family.nft())]);
            let sets = self.wanted.sets.keys().map(|name| self.set(name, None));
            let chains = self.wanted.chains.keys().map(|name| self.chain(name));
            return std::iter::once(table).chain(sets).chain(chains).collect();
        }
        let sets = self.pending.sets.iter().map(|(name, differing)| self.set(name, Some(differing)));
        let chains = self.pending.chains.keys().map(|name| self.chain(name));
        sets.chain(chains).collect()
    }

    /// Chains, and the shape of sets; of a table that is not there (`absent`), the table and every set.
    pub(super) fn frame_differences(&self, absent: bool) -> Vec<Difference> {
        let table = || self.difference("table", Vec::new(), vec![format!("table {} {TABLE}", self.family.nft())]);
        let shape = |(name, set): (&Name, &Set)| {
            let lines = definition_items(&set.def).into_iter().map(|item| format!("  {item}"));
            self.difference(&format!("{} {name}", set_keyword(&set.def)), Vec::new(), lines.collect())
        };
        let made = self.wanted.sets.iter().filter(|_| absent).map(shape);
        absent.then(table).into_iter().chain(made).chain(self.differences()).collect()
    }

    fn difference(&self, object: &str, removed: Vec<String>, added: Vec<String>) -> Difference {
        Difference { family: self.family, object: object.to_owned(), removed, added }
    }

    /// A set: only the elements that differ, or all of them when the set itself has to be made anew.
    fn set(&self, name: &Name, differing: Option<&PendingSet>) -> Difference {
        let wanted = self.wanted.sets.get(name);
        let live = self.live.sets.get(name);
        let keyword = wanted.map(|set| &set.def).or(live.and_then(|set| set.def.as_ref())).map_or("set", set_keyword);
        let object = format!("{keyword} {name}");
        if let Some(PendingSet { shape: None, elements }) = differing {
            return self.elements(&object, wanted, elements);
        }
        let removed = live.and_then(|set| Some(whole(set.def.as_ref()?, &set.elements))).unwrap_or_default();
        let added = wanted.map(|set| whole(&set.def, &set.elements)).unwrap_or_default();
        self.difference(&object, removed, added)
    }

    fn elements(&self, object: &str, wanted: Option<&Set>, in_force: &BTreeMap<Bytes, Option<Element>>) -> Difference {
        let Some(wanted) = wanted else { return self.difference(object, Vec::new(), Vec::new()) };
        let line = |key: &Bytes, element: &Element| format!("  {}", element_text(&wanted.def, key, element));
        let removed = in_force.iter().filter_map(|(key, element)| Some(line(key, element.as_ref()?)));
        let added = in_force.keys().filter_map(|key| Some(line(key, wanted.elements.get(key)?)));
        self.difference(object, removed.collect(), added.collect())
    }

    fn chain(&self, name: &Name) -> Difference {
        let wanted = self.wanted.chains.get(name);
        let ours = wanted.map(|chain| self.rules(chain)).unwrap_or_default();
        let in_force = self.live.chains.get(name).map(|chain| self.live_rules(chain, wanted)).unwrap_or_default();
        self.difference(&format!("chain {name}"), in_force, ours)
    }

    fn rules(&self, chain: &Chain) -> Vec<String> {
        chain.rules.iter().map(|rule| format!("  {}", rule_text(rule, self.family))).collect()
    }

    /// Rules in force: as ours where they are, else in the kernel's own words.
    fn live_rules(&self, live: &LiveChain, wanted: Option<&Chain>) -> Vec<String> {
        let ours: Vec<_> = wanted.iter().flat_map(|chain| &chain.rules).collect();
        let text = |rule: &Option<Vec<_>>| match rule {
            Some(exprs) => match ours.iter().find(|rule| lower(rule, self.family) == *exprs) {
                Some(rule) => rule_text(rule, self.family),
                None => program_text(exprs),
            },
            None => "a rule ferroproxy never writes".to_owned(),
        };
        live.rules.iter().map(|rule| format!("  {}", text(rule))).collect()
    }
}

/// All lines of a set.
fn whole(def: &SetDef, elements: &BTreeMap<Bytes, Element>) -> Vec<String> {
    let shape = definition_items(def).into_iter().map(|item| format!("  {item}"));
    shape.chain(elements.iter().map(|(key, element)| format!("  {}", element_text(def, key, element)))).collect()
}
