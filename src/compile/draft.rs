//! The wanted ruleset, and where the one in force still differs from it.
//!
//! A draft does not keep a second copy of what is in force: for what has changed since the last commit it remembers how it was. After a
//! commit the memory is dropped; after a failure it stays, and the next transaction carries old and new changes together.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::bytes::Bytes;
use super::elements::Elements;
use super::layout::{SetId, capacity};
use super::ruleset::{Chain, Element, Hook, Name, Ruleset, Set, SetDef, Table};
use crate::model::{Family, PerFamily};

/// Where the table in force differs from the wanted one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// The table in force is not there at all: all of the wanted one is to be made.
    pub absent: bool,
    /// With `absent`: whether the table is there is not known, so whatever is there is to be removed first.
    pub unknown: bool,
    /// The table is there with other flags, and making it once more sets them.
    pub flags: bool,
    /// Sets that differ: how they are in force.
    pub sets: BTreeMap<Name, PendingSet>,
    /// Chains that differ: how they are in force.
    pub chains: BTreeMap<Name, ChainInForce>,
}

/// How a set in force differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingSet {
    /// Set when the shape differs.
    pub shape: Option<SetInForce>,
    /// Elements that differ, with their value in force; `None`: not in force.
    pub elements: BTreeMap<Bytes, Option<Element>>,
}

/// A set in force whose shape is not the wanted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetInForce {
    /// It is not there.
    Absent,
    /// It is there with this shape; `None`: a shape that is none of ours.
    Shaped(Option<SetDef>),
}

/// A chain in force that is not the wanted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainInForce {
    /// It is not there.
    Absent,
    /// It is there with this hook; its rules or its hook are not the wanted ones.
    There(Option<Hook>),
}

/// The wanted ruleset with what is pending.
#[derive(Clone, Debug)]
pub struct Draft {
    ruleset: Ruleset,
    pending: PerFamily<Pending>,
}

impl Draft {
    /// A draft of empty tables while nothing is in force.
    pub fn new(families: &[Family]) -> Draft {
        let wanted = |family: Family| families.contains(&family);
        let mut draft = Draft {
            ruleset: PerFamily::from_fn(|family| wanted(family).then(Table::default)),
            pending: PerFamily::from_fn(|family| Pending { absent: wanted(family), ..Pending::default() }),
        };
        for family in families {
            for id in SetId::FIXED {
                draft.add_set(*family, id);
            }
        }
        draft
    }

    /// The wanted ruleset.
    pub fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    /// Gives back the room that filling the sets one by one has left unused.
    pub fn pack(&mut self) {
        for family in Family::ALL {
            let sets = self.ruleset.get_mut(family).iter_mut().flat_map(|table| table.sets.values_mut());
            sets.for_each(|set| set.elements.pack());
        }
    }

    /// Where the ruleset in force differs.
    pub fn pending(&self) -> &PerFamily<Pending> {
        &self.pending
    }

    /// A family's wanted ruleset is in force now.
    pub fn committed(&mut self, family: Family) {
        *self.pending.get_mut(family) = Pending::default();
    }

    /// The truth about what is in force, from a read-back.
    pub fn set_pending(&mut self, family: Family, pending: Pending) {
        *self.pending.get_mut(family) = pending;
    }

    /// Makes a sized set at least so large. What is in force may already be larger than needed; that is no difference.
    pub fn reserve(&mut self, family: Family, set: &str, size: u32) {
        let Some(def) = self.ruleset.get(family).as_ref().and_then(|t| t.sets.get(set)).map(|s| s.def.clone()) else {
            return;
        };
        if def.size.is_some_and(|now| now < size) {
            self.reshape(family, set, SetDef { size: Some(size), ..def });
        }
    }

    /// Adds an empty set.
    pub fn add_set(&mut self, family: Family, id: SetId) {
        let Some(table) = self.ruleset.get_mut(family) else { return };
        table.sets.insert(id.name(), Set { def: id.def(family), elements: Elements::new() });
        let pending = self.pending.get_mut(family);
        if !pending.absent {
            let entry = pending.sets.entry(id.name()).or_default();
            entry.shape.get_or_insert(SetInForce::Absent);
        }
    }

    /// Removes a set with its elements.
    pub fn remove_set(&mut self, family: Family, id: SetId) {
        let Some(set) = self.ruleset.get_mut(family).as_mut().and_then(|table| table.sets.remove(id.text())) else {
            return;
        };
        let pending = self.pending.get_mut(family);
        if pending.absent {
            return;
        }
        let entry = pending.sets.entry(id.name()).or_default();
        match entry.shape.get_or_insert(SetInForce::Shaped(Some(set.def))) {
            // It was never in force and is no longer wanted: no difference.
            SetInForce::Absent => _ = pending.sets.remove(id.text()),
            SetInForce::Shaped(_) => entry.elements.clear(),
        }
    }

    fn reshape(&mut self, family: Family, set: &str, def: SetDef) {
        let Some(wanted) = self.ruleset.get_mut(family).as_mut().and_then(|t| t.sets.get_mut(set)) else { return };
        let before = std::mem::replace(&mut wanted.def, def);
        let pending = self.pending.get_mut(family);
        if !pending.absent {
            let entry = pending.sets.entry(set.into()).or_default();
            entry.shape.get_or_insert(SetInForce::Shaped(Some(before)));
        }
    }

    /// Puts an element. A set that outgrows its capacity is given a larger one.
    pub fn put(&mut self, family: Family, set: &str, key: Bytes, element: Element) {
        let Some(wanted) = self.ruleset.get_mut(family).as_mut().and_then(|t| t.sets.get_mut(set)) else { return };
        let before = match wanted.elements.entry(key.clone()) {
            Entry::Vacant(slot) => {
                slot.insert(element);
                None
            }
            Entry::Occupied(slot) if *slot.get() == element => return,
            Entry::Occupied(mut slot) => Some(slot.insert(element)),
        };
        let (count, def) = (wanted.elements.len(), &wanted.def);
        let outgrown = def.size.is_some_and(|size| count > size as usize);
        let grown = outgrown.then(|| SetDef { size: Some(capacity(count)), ..def.clone() });
        self.remember(family, set, key, before);
        if let Some(def) = grown {
            self.reshape(family, set, def);
        }
    }

    /// Removes an element.
    pub fn remove(&mut self, family: Family, set: &str, key: &Bytes) {
        let Some(wanted) = self.ruleset.get_mut(family).as_mut().and_then(|t| t.sets.get_mut(set)) else { return };
        if let Some(before) = wanted.elements.remove(key) {
            self.remember(family, set, key.clone(), Some(before));
        }
    }

    /// Remembers an element as it is in force, the first time it changes. Back to what is in force means no difference.
    fn remember(&mut self, family: Family, set: &str, key: Bytes, before: Option<Element>) {
        let pending = self.pending.get_mut(family);
        if pending.absent {
            return;
        }
        let now = self.ruleset.get(family).as_ref().and_then(|t| t.sets.get(set)).and_then(|s| s.elements.get(&key));
        if !pending.sets.contains_key(set) {
            pending.sets.insert(set.into(), PendingSet::default());
        }
        let Some(differing) = pending.sets.get_mut(set) else { return };
        match differing.elements.entry(key) {
            Entry::Vacant(slot) => {
                slot.insert(before);
            }
            Entry::Occupied(slot) if slot.get().as_ref() == now => {
                slot.remove();
            }
            Entry::Occupied(_) => {}
        }
        if *differing == PendingSet::default() {
            pending.sets.remove(set);
        }
    }

    /// Puts a chain.
    pub fn put_chain(&mut self, family: Family, name: Name, chain: Chain) {
        let Some(table) = self.ruleset.get_mut(family) else { return };
        if table.chains.get(&name) == Some(&chain) {
            return;
        }
        let before = table.chains.insert(name.clone(), chain);
        self.remember_chain(family, name, before);
    }

    /// Removes a chain.
    pub fn remove_chain(&mut self, family: Family, name: &Name) {
        let Some(table) = self.ruleset.get_mut(family) else { return };
        if let Some(before) = table.chains.remove(name) {
            self.remember_chain(family, name.clone(), Some(before));
        }
    }

    fn remember_chain(&mut self, family: Family, name: Name, before: Option<Chain>) {
        let wanted = self.ruleset.get(family).as_ref().is_some_and(|t| t.chains.contains_key(&name));
        let pending = self.pending.get_mut(family);
        if pending.absent {
            return;
        }
        let in_force = *pending.chains.entry(name.clone()).or_insert(match before {
            Some(chain) => ChainInForce::There(chain.hook),
            None => ChainInForce::Absent,
        });
        // A chain that was never in force and is no longer wanted is no difference.
        if in_force == ChainInForce::Absent && !wanted {
            pending.chains.remove(&name);
        }
    }
}
