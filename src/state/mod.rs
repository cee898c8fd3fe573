//! The normalised store: events in, a snapshot and the set of changes out. Pure.

mod listing;
mod merge;
mod slices;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

pub use merge::Endpoint;
pub use slices::Slices;
pub use snapshot::{ServiceEntry, Snapshot};

use crate::model::{Change, EndpointSlice, Event, Node, ObjectName, Service, ServiceCidr};
use listing::Listing;

/// What has changed since the changes were last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Services whose own object or whose slices changed, or that are gone.
    pub services: BTreeSet<ObjectName>,
    /// The own Node changed: every service may be touched.
    pub node: bool,
    /// The ServiceCIDRs changed.
    pub service_cidrs: bool,
    /// The addresses on this host's interfaces changed.
    pub local_addresses: bool,
    /// Service events that changed something.
    pub service_events: usize,
    /// EndpointSlice events that changed something.
    pub slice_events: usize,
    /// Trigger times of the slices that changed.
    pub triggers: Vec<Timestamp>,
}

impl Changes {
    /// Whether rules may have to change.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && !self.node && !self.service_cidrs && !self.local_addresses
    }
}

/// The store. Applying the same events in any order that keeps each object's own order ends in the same snapshot.
#[derive(Debug, Default)]
pub struct State {
    snapshot: Snapshot,
    changes: Changes,
    /// The Service each known slice belongs to: a slice may be relabelled.
    owners: BTreeMap<ObjectName, ObjectName>,
    services: Listing<ObjectName>,
    slices: Listing<ObjectName>,
    nodes: Listing<String>,
    service_cidrs: Listing<String>,
}

impl State {
    /// An empty store: nothing is known yet.
    pub fn new() -> State {
        State::default()
    }

    /// What is known now.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Whether the first full list of Services and of EndpointSlices has arrived. No rule is written before.
    pub fn is_complete(&self) -> bool {
        self.services.was_synced() && self.slices.was_synced()
    }

    /// Whether the first answer about the own Node has arrived, be it that there is none.
    pub fn knows_node(&self) -> bool {
        self.nodes.was_synced()
    }

    /// Whether the first answer about ServiceCIDRs has arrived. Nothing waits for it but a one-time look.
    pub fn knows_service_cidrs(&self) -> bool {
        self.service_cidrs.was_synced()
    }

    /// Takes what has changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// What has changed since the changes were last taken.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Whether anything waits to be taken.
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Takes in one event.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Service(change) => self.apply_service(change),
            Event::Slice(change) => self.apply_slice(change),
            Event::Node(change) => self.apply_node(change),
            Event::ServiceCidr(change) => self.apply_service_cidr(change),
            Event::LocalAddresses(addresses) => {
                let before = self.snapshot.local_addresses.replace(addresses);
                self.changes.local_addresses |= before != self.snapshot.local_addresses;
            }
            // Nothing of it reaches a rule; the agent tells the world.
            Event::Rejected(_) => {}
        }
    }

    fn apply_service(&mut self, change: Change<ObjectName, Service>) {
        match change {
            Change::Init => self.services.begin(),
            Change::Upsert(service) => self.put_service(service),
            Change::Delete(name) => self.drop_service(&name),
            Change::Synced => {
                let known = self.snapshot.services.iter().filter(|(_, e)| e.service.is_some()).map(|(n, _)| n);
                for name in self.services.finish(known) {
                    self.drop_service(&name);
                }
                pack(&mut self.snapshot.services);
            }
        }
    }

    fn put_service(&mut self, mut service: Service) {
        service.shrink_to_fit();
        service.name = self.shared(service.name);
        self.services.saw(&service.name);
        let name = service.name.clone();
        let entry = self.snapshot.services.entry(name.clone()).or_default();
        if entry.service.as_ref() != Some(&service) {
            entry.service = Some(service);
            self.changes.service_events += 1;
            self.changes.services.insert(name);
        }
    }

    /// The same name, sharing the allocations of the one that is known.
    fn shared(&self, name: ObjectName) -> ObjectName {
        match self.snapshot.services.range(..=&name).next_back() {
            Some((known, _)) if *known == name => known.clone(),
            Some((known, _)) if known.namespace == name.namespace => {
                ObjectName { namespace: known.namespace.clone(), ..name }
            }
            _ => name,
        }
    }

    fn drop_service(&mut self, name: &ObjectName) {
        self.services.forget(name);
        let Some(entry) = self.snapshot.services.get_mut(name) else { return };
        if entry.service.take().is_some() {
            self.changes.service_events += 1;
            self.changes.services.insert(name.clone());
        }
        self.snapshot.tidy(name);
    }

    fn apply_slice(&mut self, change: Change<ObjectName, EndpointSlice>) {
        match change {
            Change::Init => self.slices.begin(),
            Change::Upsert(slice) => self.put_slice(slice),
            Change::Delete(name) => self.drop_slice(&name),
            Change::Synced => {
                for name in self.slices.finish(self.owners.keys()) {
                    self.drop_slice(&name);
                }
                pack(&mut self.owners);
            }
        }
    }

    fn put_slice(&mut self, mut slice: EndpointSlice) {
        slice.service = self.shared(slice.service);
        slice.name.namespace = slice.service.namespace.clone();
        self.slices.saw(&slice.name);
        if self.owners.get(&slice.name).is_some_and(|owner| *owner != slice.service) {
            self.drop_slice(&slice.name.clone());
            self.slices.saw(&slice.name);
        }
        self.owners.insert(slice.name.clone(), slice.service.clone());
        let entry = self.snapshot.services.entry(slice.service.clone()).or_default();
        if entry.slices.get(&slice.name.name) != Some(&slice) {
            self.changes.slice_events += 1;
            self.changes.services.insert(slice.service.clone());
            self.changes.triggers.extend(slice.triggered);
            entry.slices.insert(slice);
        }
    }

    fn drop_slice(&mut self, name: &ObjectName) {
        self.slices.forget(name);
        let Some(owner) = self.owners.remove(name) else { return };
        if let Some(entry) = self.snapshot.services.get_mut(&owner) {
            entry.slices.remove(&name.name);
            self.changes.slice_events += 1;
            self.changes.services.insert(owner.clone());
        }
        self.snapshot.tidy(&owner);
    }

    fn apply_node(&mut self, change: Change<String, Node>) {
        let before = self.snapshot.node.clone();
        match change {
            Change::Init => self.nodes.begin(),
            Change::Upsert(node) => {
                self.nodes.saw(&node.name);
                self.snapshot.node = Some(node);
            }
            Change::Delete(name) => {
                self.nodes.forget(&name);
                self.drop_node(&name);
            }
            Change::Synced => {
                for name in self.nodes.finish(self.snapshot.node.iter().map(|n| &n.name)) {
                    self.drop_node(&name);
                }
            }
        }
        self.changes.node |= before != self.snapshot.node;
    }

    /// The Node object is gone, the machine and its addresses are not: the rules go by what was known last.
    fn drop_node(&mut self, name: &str) {
        if let Some(node) = self.snapshot.node.as_mut().filter(|node| node.name == name) {
            node.deleting = true;
        }
    }

    fn apply_service_cidr(&mut self, change: Change<String, ServiceCidr>) {
        match change {
            Change::Init => self.service_cidrs.begin(),
            Change::Upsert(cidr) => {
                self.service_cidrs.saw(&cidr.name);
                let before = self.snapshot.service_cidrs.insert(cidr.name.clone(), cidr.clone());
                self.changes.service_cidrs |= before != Some(cidr);
            }
            Change::Delete(name) => self.drop_service_cidr(&name),
            Change::Synced => {
                for name in self.service_cidrs.finish(self.snapshot.service_cidrs.keys()) {
                    self.drop_service_cidr(&name);
                }
            }
        }
    }

    fn drop_service_cidr(&mut self, name: &str) {
        self.service_cidrs.forget(name);
        self.changes.service_cidrs |= self.snapshot.service_cidrs.remove(name).is_some();
    }
}

/// Gives back the room that growth one by one has left in a map's nodes. After a full list the map stays about as it is.
fn pack<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    *map = std::mem::take(map).into_iter().collect();
}

#[cfg(test)]
mod tests;
