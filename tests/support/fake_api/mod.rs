//! A fake Kubernetes API server over real HTTP: list and watch of four resources, and faults on demand.
//!
//! It runs on its own thread, so tests without a runtime (those that run the binary) can use it too.

mod fault;
mod protobuf;
mod query;
mod serve;
mod store;
mod watch;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{broadcast, oneshot};

pub use fault::{Disturbance, Fault, Verb};
pub use store::Resource;
use store::State;

/// A running fake server. Dropping it ends it, with all its connections.
pub struct FakeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the handle and the connections share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Told to every open watch. `None`: look at the history again.
    live: broadcast::Sender<Option<(Resource, Disturbance)>>,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the lock")
    }
}

impl FakeApi {
    /// Starts a server on a free port of 127.0.0.1, with streaming lists and bookmarks.
    pub fn start() -> FakeApi {
        let shared = Arc::new(Shared { state: Mutex::new(State::default()), live: broadcast::channel(4096).0 });
        let (stop, stopped) = oneshot::channel();
        let (told, address) = std::sync::mpsc::channel();
        let served = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve::serve(served, told, stopped));
        });
        let address = address.recv().expect("the server says its address");
        FakeApi { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// The server's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes a kubeconfig that leads here.
    pub fn write_kubeconfig(&self, dir: &Path) -> PathBuf {
        let path = dir.join("fake.kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url()}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        });
        std::fs::write(&path, config.to_string()).expect("the kubeconfig can be written");
        path
    }

    /// Creates or replaces a Service.
    pub fn put_service(&self, object: Value) {
        self.put(Resource::Services, object);
    }

    /// Creates or replaces an EndpointSlice.
    pub fn put_slice(&self, object: Value) {
        self.put(Resource::Slices, object);
    }

    /// Creates or replaces a Node.
    pub fn put_node(&self, object: Value) {
        self.put(Resource::Nodes, object);
    }

    /// Creates or replaces a ServiceCIDR.
    pub fn put_service_cidr(&self, object: Value) {
        self.put(Resource::ServiceCidrs, object);
    }

    /// Creates or replaces an object; `metadata.name` names it, with `metadata.namespace` where it has one.
    pub fn put(&self, resource: Resource, object: Value) {
        self.shared.state().put(resource, object);
        self.wake();
    }

    /// Deletes `namespace/name`, or a name without a namespace.
    pub fn delete(&self, resource: Resource, name: &str) {
        self.shared.state().delete(resource, name);
        self.wake();
    }

    /// Answers in JSON from now on, whatever a client asks for.
    pub fn speak_only_json(&self) {
        self.shared.state().protobuf = false;
    }

    /// Whether the server has streaming lists.
    pub fn set_streaming(&self, on: bool) {
        self.shared.state().streaming = on;
    }

    /// Whether the server sends bookmarks.
    pub fn set_bookmarks(&self, on: bool) {
        self.shared.state().bookmarks = on;
    }

    /// Lets the next `times` requests of this kind fail.
    pub fn fault(&self, resource: Resource, verb: Verb, fault: Fault, times: usize) {
        self.shared.state().faults.push(fault::Planned { resource, verb, fault, times });
    }

    /// Forgets all planned faults.
    pub fn clear_faults(&self) {
        self.shared.state().faults.clear();
    }

    /// Does something to all open watches of a resource.
    pub fn disturb(&self, resource: Resource, disturbance: Disturbance) {
        let _ = self.shared.live.send(Some((resource, disturbance)));
    }

    /// Forgets the history: watches from a version before now are answered 410, as an HTTP status or as an event.
    pub fn compact(&self, as_http: bool) {
        let mut state = self.shared.state();
        state.oldest = state.version;
        state.gone_as_http = as_http;
    }

    /// The queries of all requests of this kind so far.
    pub fn requests(&self, resource: Resource, verb: Verb) -> Vec<String> {
        let state = self.shared.state();
        let ours = state.requests.iter().filter(|(r, v, _)| (*r, *v) == (resource, verb));
        ours.map(|(_, _, query)| query.clone()).collect()
    }

    /// Every path asked for so far, each with its verb as RBAC names it: what a client needs permission for.
    pub fn asked(&self) -> BTreeSet<(String, String)> {
        self.shared.state().asked.clone()
    }

    /// Waits until so many requests of this kind have come since the start.
    pub fn wait_requests(&self, resource: Resource, verb: Verb, count: usize) {
        self.wait(|| self.requests(resource, verb).len() >= count, "requests");
    }

    /// Waits until so many watches of the resource are open at once.
    pub fn wait_watching(&self, resource: Resource, count: usize) {
        self.wait(|| self.shared.state().watching(resource) == count, "open watches");
    }

    fn wait(&self, done: impl Fn() -> bool, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn wake(&self) {
        let _ = self.shared.live.send(None);
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
