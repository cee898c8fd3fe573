//! What an earlier process left in force that is worth keeping: slots and capacities.

use std::collections::{BTreeMap, HashMap};

use super::bytes::Bytes;
use super::layout::SetId;
use super::ruleset::Name;
use crate::model::{EndpointAddr, Family};

/// Slots and capacities in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    /// Capacities of sized sets.
    pub sizes: BTreeMap<(Family, Name), u32>,
    slots: HashMap<(Family, SetId, Bytes), BTreeMap<u32, EndpointAddr>>,
}

impl Seed {
    /// Notes that a frontend (its key without the slot) has an endpoint in a slot.
    pub fn note(&mut self, family: Family, set: SetId, frontend: Bytes, slot: u32, endpoint: EndpointAddr) {
        self.slots.entry((family, set, frontend)).or_default().insert(slot, endpoint);
    }

    /// The endpoints of a frontend by slot; `None` when it has none.
    pub fn slots(&self, family: Family, set: SetId, frontend: &Bytes) -> Option<Vec<EndpointAddr>> {
        Some(self.slots.get(&(family, set, frontend.clone()))?.values().copied().collect())
    }
}
