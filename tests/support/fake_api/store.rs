//! The objects, their versions and their history.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::fault::{Fault, Planned, Verb};
use super::query::Query;

/// A resource the server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Services.
    Services,
    /// EndpointSlices.
    Slices,
    /// Nodes.
    Nodes,
    /// ServiceCIDRs.
    ServiceCidrs,
}

impl Resource {
    const ALL: [Resource; 4] = [Resource::Services, Resource::Slices, Resource::Nodes, Resource::ServiceCidrs];

    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Resource::Services => ("/api/v1/services", "v1", "Service"),
            Resource::Slices => ("/apis/discovery.k8s.io/v1/endpointslices", "discovery.k8s.io/v1", "EndpointSlice"),
            Resource::Nodes => ("/api/v1/nodes", "v1", "Node"),
            Resource::ServiceCidrs => {
                ("/apis/networking.k8s.io/v1/servicecidrs", "networking.k8s.io/v1", "ServiceCIDR")
            }
        }
    }

    pub(crate) fn at(path: &str) -> Option<Resource> {
        Resource::ALL.into_iter().find(|resource| resource.words().0 == path)
    }

    pub(crate) fn api_version(self) -> &'static str {
        self.words().1
    }

    pub(crate) fn kind(self) -> &'static str {
        self.words().2
    }
}

/// One change of one object.
struct Step {
    resource: Resource,
    version: u64,
    before: Option<Value>,
    after: Option<Value>,
}

/// Everything the server knows.
pub(crate) struct State {
    pub(crate) version: u64,
    /// Watches from an older version are too late.
    pub(crate) oldest: u64,
    pub(crate) gone_as_http: bool,
    pub(crate) streaming: bool,
    /// Whether it answers in protobuf where that is asked for.
    pub(crate) protobuf: bool,
    pub(crate) bookmarks: bool,
    pub(crate) faults: Vec<Planned>,
    pub(crate) requests: Vec<(Resource, Verb, String)>,
    /// Paths and verbs of all requests, also of those for what the server has not got.
    pub(crate) asked: BTreeSet<(String, String)>,
    objects: BTreeMap<(Resource, String), Value>,
    history: Vec<Step>,
    open: BTreeMap<Resource, usize>,
}

impl Default for State {
    fn default() -> Self {
        State {
            version: 100,
            oldest: 0,
            gone_as_http: false,
            streaming: true,
            protobuf: true,
            bookmarks: true,
            faults: Vec::new(),
            requests: Vec::new(),
            asked: BTreeSet::new(),
            objects: BTreeMap::new(),
            history: Vec::new(),
            open: BTreeMap::new(),
        }
    }
}

impl State {
    pub(crate) fn put(&mut self, resource: Resource, mut object: Value) {
        self.version += 1;
        let name = key(&object);
        object["apiVersion"] = json!(resource.api_version());
        object["kind"] = json!(resource.kind());
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let before = self.objects.insert((resource, name), object.clone());
        self.history.push(Step { resource, version: self.version, before, after: Some(object) });
    }

    pub(crate) fn delete(&mut self, resource: Resource, name: &str) {
        let before = self.objects.remove(&(resource, name.to_owned()));
        assert!(before.is_some(), "{resource:?} {name} is not there");
        self.version += 1;
        self.history.push(Step { resource, version: self.version, before, after: None });
    }

    pub(crate) fn listed(&self, resource: Resource, query: &Query) -> Vec<Value> {
        let ours = self.objects.iter().filter(|((r, _), object)| *r == resource && query.selects(object));
        ours.map(|(_, object)| object.clone()).collect()
    }

    /// The events after a version, with the selector's view of them.
    pub(crate) fn events(&self, resource: Resource, query: &Query, after: u64) -> Vec<Value> {
        let first = self.history.partition_point(|step| step.version <= after);
        let steps = self.history[first..].iter().filter(|step| step.resource == resource);
        steps.filter_map(|step| step.event(query)).collect()
    }

    /// Takes the fault that waits for such a request.
    pub(crate) fn take_fault(&mut self, resource: Resource, verb: Verb) -> Option<Fault> {
        let waits = |p: &&mut Planned| (p.resource, p.verb) == (resource, verb) && p.times > 0;
        let planned = self.faults.iter_mut().find(waits)?;
        planned.times -= 1;
        Some(planned.fault.clone())
    }

    pub(crate) fn watching(&self, resource: Resource) -> usize {
        self.open.get(&resource).copied().unwrap_or(0)
    }

    pub(crate) fn watch_opened(&mut self, resource: Resource) {
        *self.open.entry(resource).or_default() += 1;
    }

    pub(crate) fn watch_closed(&mut self, resource: Resource) {
        *self.open.entry(resource).or_default() -= 1;
    }
}

impl Step {
    fn event(&self, query: &Query) -> Option<Value> {
        let seen = |object: &Option<Value>| object.clone().filter(|object| query.selects(object));
        let (kind, mut object) = match (seen(&self.before), seen(&self.after)) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(before), None) => ("DELETED", before),
        };
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        Some(json!({"type": kind, "object": object}))
    }
}

fn key(object: &Value) -> String {
    let word = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
    let name = word("name").expect("objects have a name");
    word("namespace").map_or(name.clone(), |namespace| format!("{namespace}/{name}"))
}
