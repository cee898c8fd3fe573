//! What an earlier process left in force that is worth keeping: slots, capacities and the numbers of session affinity.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::affinity::Numbers;
use super::bytes::Bytes;
use super::claims::Frontend;
use super::layout::{Reach, SetId};
use super::ruleset::Name;
use crate::model::{EndpointAddr, Family};
use crate::policy::Pool;

/// Slots and capacities in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    /// Capacities of sized sets.
    pub sizes: BTreeMap<(Family, Name), u32>,
    slots: HashMap<(Family, SetId, Bytes), BTreeMap<u32, EndpointAddr>>,
    numbers: HashMap<(Family, Reach, Bytes), BTreeMap<EndpointAddr, u32>>,
    owners: HashMap<(Family, Reach, Bytes), Arc<str>>,
}

impl Seed {
    /// Notes that a frontend (its key without the slot) has an endpoint in a slot.
    pub fn note(&mut self, family: Family, set: SetId, frontend: Bytes, slot: u32, endpoint: EndpointAddr) {
        self.slots.entry((family, set, frontend)).or_default().insert(slot, endpoint);
    }

    /// Notes that a frontend has an endpoint under a number of session affinity's.
    pub fn note_number(&mut self, family: Family, reach: Reach, frontend: Bytes, endpoint: EndpointAddr, number: u32) {
        self.numbers.entry((family, reach, frontend)).or_default().insert(endpoint, number);
    }

    /// Notes whose a frontend is, by the comment of its element.
    pub fn note_owner(&mut self, family: Family, reach: Reach, frontend: Bytes, comment: Arc<str>) {
        self.owners.insert((family, reach, frontend), comment);
    }

    /// The numbers of the endpoints of a frontend of the service port with that comment; `None` when it was another's or had none.
    pub fn numbers(&self, frontend: &Frontend, comment: &str) -> Option<Numbers> {
        let place = (frontend.family, frontend.reach(), frontend.key());
        let owner = self.owners.get(&place)?;
        (**owner == *comment).then(|| Numbers::from_force(self.numbers.get(&place)?)).flatten()
    }

    /// The endpoints by slot of a frontend of the service port with that comment; `None` when it was another's or had none.
    pub fn slots(&self, frontend: &Frontend, pool: Pool, comment: &str) -> Option<Vec<EndpointAddr>> {
        let (family, reach, key) = (frontend.family, frontend.reach(), frontend.key());
        let owner = self.owners.get(&(family, reach, key.clone()))?;
        let slots = self.slots.get(&(family, SetId::Endpoints(reach, pool), key))?;
        (**owner == *comment).then(|| slots.values().copied().collect())
    }
}
