//! The difference between what is in force and what is wanted, as a transaction. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::transaction::{Op, Transaction};
use crate::compile::draft::{ChainInForce, Draft, Pending, PendingSet, SetInForce};
use crate::compile::elements::Elements;
use crate::compile::ruleset::{DataType, Name, Set, SetDef, Table};
use crate::compile::stmt::Stmt;
use crate::model::{Family, PerFamily};

/// What has to be done so that the draft's ruleset is in force. Costs what differs.
pub fn diff(draft: &Draft) -> Transaction {
    let ops = |family: Family| match draft.ruleset().get(family) {
        Some(table) => table_ops(table, draft.pending().get(family)),
        None => Vec::new(),
    };
    Transaction { families: PerFamily::from_fn(ops) }
}

/// What has to be done to build a table anew, whatever is there: for when the difference cannot be had. A table can only be removed
/// where there is one, so it is made first.
pub fn rebuild(table: &Table) -> Vec<Op> {
    [Op::AddTable, Op::DeleteTable].into_iter().chain(build(table)).collect()
}

fn table_ops(table: &Table, pending: &Pending) -> Vec<Op> {
    match (pending.absent, pending.unknown) {
        (true, true) => return rebuild(table),
        (true, false) => return build(table),
        (false, _) => {}
    }
    let reshaped = reshaped_sets(pending);
    let chains = chains_to_write(table, pending, &reshaped);
    let mut batch = Batch::default();
    batch.flags.extend(pending.flags.then_some(Op::AddTable));
    batch.sets(table, pending);
    batch.chains(table, pending, &chains);
    batch.elements(table, pending);
    batch.into_ops()
}

/// Everything of a table, from nothing. Rules are added while the maps they bind are empty: the kernel walks a map as it is bound.
fn build(table: &Table) -> Vec<Op> {
    let sets = table.sets.iter().map(|(name, set)| Op::AddSet(name.clone(), set.def.clone()));
    let chains = table.chains.iter().map(|(name, chain)| Op::AddChain(name.clone(), chain.hook));
    let rules = table
        .chains
        .iter()
        .flat_map(|(name, chain)| chain.rules.iter().map(move |rule| Op::AddRule(name.clone(), rule.clone())));
    let filled = table.sets.iter().filter(|(_, set)| !set.elements.is_empty());
    let elements = filled.map(|(name, set)| Op::AddElements(name.clone(), set.def.clone(), set.elements.clone()));
    std::iter::once(Op::AddTable).chain(sets).chain(chains).chain(rules).chain(elements).collect()
}

/// Sets that have to be removed and made anew, or only removed: rules that refer to them have to go first.
fn reshaped_sets(pending: &Pending) -> BTreeSet<&Name> {
    let reshaped = pending.sets.iter().filter(|(_, set)| matches!(set.shape, Some(SetInForce::Shaped(_))));
    reshaped.map(|(name, _)| name).collect()
}

/// Chains whose rules have to be written: those that differ, and those that refer to a set that is made anew.
fn chains_to_write(table: &Table, pending: &Pending, reshaped: &BTreeSet<&Name>) -> BTreeMap<Name, ChainInForce> {
    let mut chains = pending.chains.clone();
    if !reshaped.is_empty() {
        for (name, chain) in &table.chains {
            let refers = |stmt: &Stmt| stmt.set().is_some_and(|set| reshaped.contains(set));
            if chain.rules.iter().flat_map(|rule| &rule.stmts).any(refers) {
                chains.entry(name.clone()).or_insert(ChainInForce::There(chain.hook));
            }
        }
    }
    chains
}

impl Stmt {
    /// The set or map it refers to.
    fn set(&self) -> Option<&Name> {
        match self {
            Stmt::InSet(_, _, set) | Stmt::Vmap(_, set) | Stmt::DnatMap(_, set) => Some(set),
            _ => None,
        }
    }
}

/// Operations by the place they have in a batch.
#[derive(Default)]
struct Batch {
    flags: Vec<Op>,
    flushes: Vec<Op>,
    set_removals: Vec<Op>,
    hook_removals: Vec<Op>,
    new_sets: Vec<Op>,
    new_chains: Vec<Op>,
    rules: Vec<Op>,
    leaving: Vec<Op>,
    joining: Vec<Op>,
    chain_removals: Vec<Op>,
}

impl Batch {
    fn sets(&mut self, table: &Table, pending: &Pending) {
        for (name, differing) in &pending.sets {
            let wanted = table.sets.get(name);
            if let Some(SetInForce::Shaped(def)) = &differing.shape {
                let told = def.clone().or_else(|| wanted.map(|set| set.def.clone())).unwrap_or_else(plain_set);
                self.set_removals.push(Op::DeleteSet(name.clone(), told));
            }
            if let (Some(_), Some(set)) = (&differing.shape, wanted) {
                self.new_sets.push(Op::AddSet(name.clone(), set.def.clone()));
            }
        }
    }

    fn chains(&mut self, table: &Table, pending: &Pending, chains: &BTreeMap<Name, ChainInForce>) {
        for (name, in_force) in chains {
            let wanted = table.chains.get(name);
            let hook_differs = matches!((in_force, wanted), (ChainInForce::There(hook), Some(w)) if *hook != w.hook);
            if matches!(in_force, ChainInForce::There(_)) {
                self.flushes.push(Op::FlushChain(name.clone()));
            }
            match wanted {
                None => self.chain_removals.push(Op::DeleteChain(name.clone())),
                Some(chain) => {
                    if hook_differs {
                        self.hook_removals.push(Op::DeleteChain(name.clone()));
                    }
                    if hook_differs || *in_force == ChainInForce::Absent {
                        self.new_chains.push(Op::AddChain(name.clone(), chain.hook));
                    }
                    self.rules.extend(chain.rules.iter().map(|rule| Op::AddRule(name.clone(), rule.clone())));
                }
            }
        }
        debug_assert!(pending.chains.keys().all(|name| chains.contains_key(name)));
    }

    fn elements(&mut self, table: &Table, pending: &Pending) {
        for (name, differing) in &pending.sets {
            let Some(wanted) = table.sets.get(name) else { continue };
            let (leaving, joining) = match &differing.shape {
                Some(_) => (Elements::new(), wanted.elements.clone()),
                None => moves(wanted, differing),
            };
            if !leaving.is_empty() {
                self.leaving.push(Op::DeleteElements(name.clone(), wanted.def.clone(), leaving));
            }
            if !joining.is_empty() {
                self.joining.push(Op::AddElements(name.clone(), wanted.def.clone(), joining));
            }
        }
    }

    /// Deletes come before adds: adding first would overflow a full map (ENFILE). Chains go last, when nothing leads to them any more.
    fn into_ops(self) -> Vec<Op> {
        let order = [
            self.flags,
            self.flushes,
            self.set_removals,
            self.hook_removals,
            self.new_sets,
            self.new_chains,
            self.rules,
            self.leaving,
            self.joining,
            self.chain_removals,
        ];
        order.into_iter().flatten().collect()
    }
}

/// The elements that leave and those that join. A changed value is both: the kernel has no replacement of an element.
fn moves(wanted: &Set, differing: &PendingSet) -> (Elements, Elements) {
    let (mut leaving, mut joining) = (BTreeMap::new(), BTreeMap::new());
    for (key, in_force) in &differing.elements {
        let now = wanted.elements.get(key);
        if in_force.as_ref() == now {
            continue;
        }
        if let Some(element) = in_force {
            leaving.insert(key.clone(), element.clone());
        }
        if let Some(element) = now {
            joining.insert(key.clone(), element.clone());
        }
    }
    (leaving.into(), joining.into())
}

/// What to call a set whose shape is not known, for printing only.
fn plain_set() -> SetDef {
    SetDef { key: Vec::new(), data: DataType::None, interval: false, size: None, learned: None, counted: false }
}
