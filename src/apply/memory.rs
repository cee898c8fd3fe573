//! A target in memory: what a transaction leaves in force, by the kernel's own rules of refusal.

use std::collections::BTreeMap;

use super::target::{CommitError, Live, LiveChain, LiveSet, LiveTable, Outcome, Receipt, Remedy, TableFlags, Target};
use super::transaction::{Op, Transaction};
use crate::compile::bytes::Bytes;
use crate::compile::elements::Elements;
use crate::compile::lower::lower;
use crate::compile::ruleset::{Element, Name, Value, Verdict};
use crate::compile::stmt::Rule;
use crate::model::{Family, PerFamily};

const ENOENT: i32 = 2;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const ENFILE: i32 = 23;

/// Tables in memory. Refuses what the kernel refuses: an element of another value, a full map, a chain or set in use, what is not
/// there. What is there already may be added again: rules then stand twice, as in the kernel.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What is in force.
    pub live: Live,
    /// Failures to answer next, first to last; each costs one commit.
    pub failures: Vec<CommitError>,
    /// Elements that are refused whenever they are added, by set and key, with the remedy the refusal names.
    pub poison: BTreeMap<(Name, Bytes), Remedy>,
    /// How many of the next read-backs fail.
    pub unreadable: usize,
    /// So many strangers commit something of their own, unseen, right after the next commit.
    pub intruders: u32,
    generation: u32,
}

impl Target for Memory {
    fn commit(&mut self, transaction: &Transaction) -> Receipt {
        if !self.failures.is_empty() {
            let failure = self.failures.remove(0);
            let failed = |family| match transaction.families.get(family).is_empty() {
                true => Outcome::Done,
                false => Outcome::Failed(failure.clone()),
            };
            return Receipt { families: PerFamily::from_fn(failed), ..Receipt::default() };
        }
        self.generation += 1 + std::mem::take(&mut self.intruders);
        let families = PerFamily::from_fn(|family| self.commit_family(family, transaction));
        Receipt { families, bytes: 0, batches: 1 }
    }

    fn read_back(&mut self) -> Result<Live, CommitError> {
        match self.unreadable.checked_sub(1) {
            Some(left) => {
                self.unreadable = left;
                Err(CommitError { remedy: Remedy::Retry, ..refusal(EBUSY, "read back", "the tables") })
            }
            None => Ok(self.live.clone()),
        }
    }

    fn generation(&mut self) -> Result<u32, CommitError> {
        Ok(self.generation)
    }
}

impl Memory {
    /// Somebody else commits something: only the generation tells.
    pub fn disturb(&mut self) {
        self.generation += 1;
    }

    fn commit_family(&mut self, family: Family, transaction: &Transaction) -> Outcome {
        let mut table = self.live.get(family).clone();
        for op in transaction.families.get(family) {
            if let Err(error) = self.poisoned(op).and_then(|()| run(&mut table, family, op)) {
                return Outcome::Failed(error);
            }
        }
        *self.live.get_mut(family) = table;
        Outcome::Done
    }

    fn poisoned(&self, op: &Op) -> Result<(), CommitError> {
        let Op::AddElements(set, _, elements) = op else { return Ok(()) };
        let mut refused = elements.keys().map(|key| (set.clone(), key.clone()));
        let found = refused.find_map(|element| Some((*self.poison.get(&element)?, element)));
        found.map_or(Ok(()), |(remedy, element)| {
            Err(CommitError { remedy, element: Some(element), ..refusal(EINVAL, "add element to", set) })
        })
    }
}

fn refusal(errno: i32, what: &str, name: impl std::fmt::Display) -> CommitError {
    let remedy = match errno {
        ENFILE => Remedy::Rebuild,
        _ => Remedy::Resync,
    };
    CommitError { remedy, errno: Some(errno), message: format!("{what} {name}: errno {errno}"), element: None }
}

fn run(table: &mut Option<LiveTable>, family: Family, op: &Op) -> Result<(), CommitError> {
    match (op, table) {
        (Op::AddTable, table) => {
            table.get_or_insert_default().flags = TableFlags::AsWanted;
            Ok(())
        }
        (_, None) => Err(refusal(ENOENT, "table", family.nft())),
        (Op::DeleteTable, table) => {
            *table = None;
            Ok(())
        }
        (op, Some(table)) => run_in(table, family, op),
    }
}

fn run_in(table: &mut LiveTable, family: Family, op: &Op) -> Result<(), CommitError> {
    match op {
        Op::AddTable | Op::DeleteTable => Ok(()),
        Op::AddSet(name, def) => {
            let new = || LiveSet { def: Some(def.clone()), elements: Elements::new() };
            let set = table.sets.entry(name.clone()).or_insert_with(new);
            vacant(set.def.as_ref() == Some(def), "add set", name)
        }
        Op::DeleteSet(name, _) if table.refers_to_set(name) => Err(refusal(EBUSY, "delete set", name)),
        Op::DeleteSet(name, _) => present(table.sets.remove(name).is_some(), "delete set", name),
        Op::AddChain(name, hook) => {
            let new = || LiveChain { hook: *hook, rules: Vec::new() };
            let chain = table.chains.entry(name.clone()).or_insert_with(new);
            vacant(chain.hook == *hook, "add chain", name)
        }
        Op::DeleteChain(name) if table.refers_to_chain(name) => Err(refusal(EBUSY, "delete chain", name)),
        Op::DeleteChain(name) => present(table.chains.remove(name).is_some(), "delete chain", name),
        Op::FlushChain(name) => {
            let chain = table.chains.get_mut(name);
            present(chain.map(|chain| chain.rules.clear()).is_some(), "flush chain", name)
        }
        Op::AddRule(name, rule) => table.add_rule(family, name, rule),
        Op::DeleteElements(name, _, elements) => elements.keys().try_for_each(|key| table.delete_element(name, key)),
        Op::AddElements(name, _, elements) => {
            elements.iter().try_for_each(|(key, element)| table.add_element(name, key, element))
        }
    }
}

fn present(is: bool, what: &str, name: &Name) -> Result<(), CommitError> {
    if is { Ok(()) } else { Err(refusal(ENOENT, what, name)) }
}

fn vacant(is: bool, what: &str, name: &Name) -> Result<(), CommitError> {
    if is { Ok(()) } else { Err(refusal(EEXIST, what, name)) }
}

impl LiveTable {
    fn add_rule(&mut self, family: Family, chain: &Name, rule: &Rule) -> Result<(), CommitError> {
        let exprs = lower(rule, family);
        for expr in &exprs {
            if let Some(set) = expr.set() {
                present(self.sets.contains_key(set), "rule refers to set", set)?;
            }
            if let Some(to) = expr.chain() {
                present(self.chains.contains_key(to), "rule goes to chain", to)?;
            }
        }
        match self.chains.get_mut(chain) {
            Some(found) => {
                found.rules.push(Some(exprs));
                Ok(())
            }
            None => Err(refusal(ENOENT, "add rule to chain", chain)),
        }
    }

    fn delete_element(&mut self, set: &Name, key: &Bytes) -> Result<(), CommitError> {
        let found = self.sets.get_mut(set).ok_or_else(|| refusal(ENOENT, "delete element of", set))?;
        present(found.elements.remove(key).is_some(), "delete element of", set)
    }

    fn add_element(&mut self, set: &Name, key: &Bytes, element: &Element) -> Result<(), CommitError> {
        if let Some(to) = chain_of(element) {
            present(self.chains.contains_key(to), "element goes to chain", to)?;
        }
        let found = self.sets.get_mut(set).ok_or_else(|| refusal(ENOENT, "add element to", set))?;
        let there = found.elements.entry(key.clone()).or_insert_with(|| element.clone());
        vacant(there.value == element.value, "add element to", set)?;
        let size = found.def.as_ref().and_then(|def| def.size);
        match size.is_some_and(|size| found.elements.len() > size as usize) {
            true => Err(refusal(ENFILE, "add element to", set)),
            false => Ok(()),
        }
    }

    fn refers_to_set(&self, set: &Name) -> bool {
        self.exprs().any(|expr| expr.set() == Some(set))
    }

    fn refers_to_chain(&self, chain: &Name) -> bool {
        self.exprs().any(|expr| expr.chain() == Some(chain))
            || self.sets.values().flat_map(|set| set.elements.values()).any(|e| chain_of(e) == Some(chain))
    }

    fn exprs(&self) -> impl Iterator<Item = &crate::compile::expr::Expr> {
        self.chains.values().flat_map(|chain| &chain.rules).flatten().flatten()
    }
}

fn chain_of(element: &Element) -> Option<&Name> {
    match &element.value {
        Value::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain)) => Some(chain),
        _ => None,
    }
}
