//! What a source has told so far, put together the way the agent does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ferroproxy::model::{Change, EndpointSlice, Event, Node, ObjectKind, ObjectName, Rejection, Service, ServiceCidr};
use ferroproxy::source::Feed;

/// One kind: the objects in force, and how many full lists were told.
#[derive(Debug)]
pub struct Told<N, T> {
    pub objects: BTreeMap<N, T>,
    pub lists: usize,
    listing: Option<BTreeMap<N, T>>,
}

impl<N, T> Default for Told<N, T> {
    fn default() -> Self {
        Told { objects: BTreeMap::new(), lists: 0, listing: None }
    }
}

impl<N: Ord, T> Told<N, T> {
    fn apply(&mut self, change: Change<N, T>, name: impl Fn(&T) -> N) {
        match change {
            Change::Init => self.listing = Some(BTreeMap::new()),
            Change::Upsert(object) => {
                let into = self.listing.as_mut().unwrap_or(&mut self.objects);
                into.insert(name(&object), object);
            }
            Change::Delete(name) => {
                assert!(self.listing.is_none(), "no deletes in a list");
                self.objects.remove(&name);
            }
            Change::Synced => {
                self.objects = self.listing.take().expect("Synced follows Init");
                self.lists += 1;
            }
        }
    }
}

/// Everything told.
#[derive(Debug, Default)]
pub struct World {
    pub services: Told<ObjectName, Service>,
    pub slices: Told<ObjectName, EndpointSlice>,
    pub nodes: Told<String, Node>,
    pub cidrs: Told<String, ServiceCidr>,
    pub rejections: Vec<Rejection>,
}

impl World {
    /// Applies one event.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Service(change) => self.services.apply(change, |object| object.name.clone()),
            Event::Slice(change) => self.slices.apply(change, |object| object.name.clone()),
            Event::Node(change) => self.nodes.apply(change, |object| object.name.clone()),
            Event::ServiceCidr(change) => self.cidrs.apply(change, |object| object.name.clone()),
            Event::LocalAddresses(_) => {}
            Event::Rejected(rejection) => self.rejections.push(rejection),
        }
    }

    /// Reads the feed until `done`.
    pub async fn until(&mut self, feed: &mut Feed, done: impl Fn(&World) -> bool) {
        let wait = async {
            while !done(self) {
                let batch = feed.events.recv().await.expect("the source runs");
                batch.into_iter().for_each(|event| self.apply(event));
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), wait).await.is_err() {
            panic!("waited in vain; told so far: {self:#?}");
        }
    }

    /// Whether every kind was listed at least once.
    pub fn synced(&self) -> bool {
        self.services.lists > 0 && self.slices.lists > 0 && self.nodes.lists > 0 && self.cidrs.lists > 0
    }

    /// `namespace/name` of the services in force.
    pub fn service_names(&self) -> BTreeSet<String> {
        self.services.objects.keys().map(ToString::to_string).collect()
    }

    /// Fields of the rejections of a kind.
    pub fn rejected(&self, kind: ObjectKind) -> Vec<String> {
        let ours = self.rejections.iter().filter(|rejection| rejection.kind == kind);
        ours.map(|rejection| format!("{}: {}", rejection.object, rejection.field)).collect()
    }
}
