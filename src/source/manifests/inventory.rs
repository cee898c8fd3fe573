//! Files to what is in force, and to what changed.

use std::collections::BTreeSet;
use std::collections::btree_map::{self, BTreeMap};
use std::sync::Arc;

use crate::model::{Change, Event, ObjectKind, Rejection};

use super::object::{Key, Object};
use super::scan::{Entry, File};

/// What is in force.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    objects: BTreeMap<Key, Arc<Object>>,
    /// The keys in the order of the files.
    order: Vec<Key>,
    rejections: BTreeSet<Rejection>,
}

impl Inventory {
    /// Puts the files together. Of two objects with one name the first counts.
    pub(super) fn of(files: &BTreeMap<String, Arc<File>>) -> Inventory {
        let mut inventory = Inventory::default();
        let mut places: BTreeMap<&Key, &Entry> = BTreeMap::new();
        for file in files.values() {
            inventory.rejections.extend(file.rejections.iter().cloned());
            for entry in &file.entries {
                match places.entry(&entry.key) {
                    btree_map::Entry::Occupied(first) => inventory.reject_twin(entry, first.get()),
                    btree_map::Entry::Vacant(place) => {
                        place.insert(entry);
                        inventory.add(entry);
                    }
                }
            }
        }
        inventory
    }

    fn add(&mut self, entry: &Entry) {
        if let Some(object) = &entry.object {
            self.order.push(entry.key.clone());
            self.objects.insert(entry.key.clone(), object.clone());
        }
    }

    fn reject_twin(&mut self, twin: &Entry, first: &Entry) {
        let (kind, object) = twin.key.clone();
        let reason = format!("already defined in {}; the one in {} is left out", first.place, twin.place);
        self.rejections.insert(Rejection { kind, object, field: "metadata.name".to_owned(), reason });
    }

    /// Everything, as full lists.
    pub(super) fn full(&self) -> Vec<Event> {
        let mut events: Vec<Event> = self.rejections.iter().cloned().map(Event::Rejected).collect();
        for kind in [ObjectKind::Node, ObjectKind::ServiceCidr, ObjectKind::Service, ObjectKind::EndpointSlice] {
            let ours = self.order.iter().filter(|key| key.0 == kind);
            events.extend(mark(kind, Mark::Init));
            events.extend(ours.filter_map(|key| self.objects.get(key)).map(|object| object.upsert()));
            events.extend(mark(kind, Mark::Synced));
        }
        events
    }

    /// What changed since `before`.
    pub(super) fn since(&self, before: &Inventory) -> Vec<Event> {
        let new = self.rejections.difference(&before.rejections);
        let mut events: Vec<Event> = new.cloned().map(Event::Rejected).collect();
        let gone = before.objects.iter().filter(|(key, _)| !self.objects.contains_key(*key));
        events.extend(gone.map(|(_, object)| object.delete()));
        for key in &self.order {
            let (Some(now), then) = (self.objects.get(key), before.objects.get(key)) else { continue };
            if then.is_none_or(|then| !Arc::ptr_eq(then, now) && then != now) {
                events.push(now.upsert());
            }
        }
        events
    }
}

enum Mark {
    Init,
    Synced,
}

/// The beginning or the end of a kind's list.
fn mark(kind: ObjectKind, mark: Mark) -> Option<Event> {
    fn change<N, T>(mark: Mark) -> Change<N, T> {
        match mark {
            Mark::Init => Change::Init,
            Mark::Synced => Change::Synced,
        }
    }
    match kind {
        ObjectKind::Service => Some(Event::Service(change(mark))),
        ObjectKind::EndpointSlice => Some(Event::Slice(change(mark))),
        ObjectKind::Node => Some(Event::Node(change(mark))),
        ObjectKind::ServiceCidr => Some(Event::ServiceCidr(change(mark))),
        ObjectKind::Manifest => None,
    }
}
