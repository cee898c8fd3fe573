//! A real API server, filled with a made-up cluster and changed bit by bit, and processes that follow it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kube::core::Request;
use kube::core::params::{DeleteParams, Patch, PatchParams, PostParams};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::bare::Bare;
use crate::objects;
use crate::support::daemon::namespace;
use crate::support::netns::Netns;
use crate::support::relay::hand_on;

/// How long the server may take for an event.
const PATIENCE: Duration = Duration::from_secs(240);
/// Requests on their way at once while the server is filled.
const AT_ONCE: usize = 16;

/// What a comparison with kube-proxy needs.
pub struct Sides {
    /// The kubeconfig of a real API server.
    pub kubeconfig: String,
    /// kube-proxy's binary.
    pub peer: String,
}

impl Sides {
    /// What the environment names; nothing where there is no server or no peer.
    pub fn given() -> Option<Sides> {
        let (kubeconfig, peer) = (std::env::var("FERROPROXY_TEST_KUBECONFIG"), std::env::var("KUBE_PROXY_BIN"));
        if let (Ok(kubeconfig), Ok(peer)) = (kubeconfig, peer) {
            return Some(Sides { kubeconfig, peer });
        }
        eprintln!("no comparison with kube-proxy: KUBE_PROXY_BIN and FERROPROXY_TEST_KUBECONFIG are not both set");
        None
    }
}

/// The server.
pub struct Server {
    /// A client of it.
    pub bare: Bare,
    pub kubeconfig: String,
}

impl Server {
    /// The server of a kubeconfig.
    pub fn new(kubeconfig: &str) -> Server {
        Server { bare: Bare::new(kubeconfig), kubeconfig: kubeconfig.to_owned() }
    }

    /// Makes a namespace of so many services with so many endpoints each.
    pub fn fill(&self, services: usize, endpoints: usize) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": objects::namespace()}});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0"}});
        self.bare
            .send_all([create("/api/v1/namespaces", &namespace), create("/api/v1/nodes", &node)].into_iter(), AT_ONCE);
        let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]}});
        let patch = Request::new("/api/v1/nodes").patch_subresource(
            "status",
            "node-0",
            &PatchParams::default(),
            &Patch::Merge(status),
        );
        self.bare.send_all([patch.expect("a request")].into_iter(), 1);
        let objects = (0..services).flat_map(|n| [new_service(n), new_slice(n, endpoints)]);
        self.bare.send_all(objects, AT_ONCE);
    }

    /// One more Service, without endpoints.
    pub fn add_service(&self, n: usize) {
        self.bare.send_all([new_service(n)].into_iter(), 1);
    }

    /// The endpoints of a Service that has none.
    pub fn add_slice(&self, n: usize, endpoints: usize) {
        self.bare.send_all([new_slice(n, endpoints)].into_iter(), 1);
    }

    /// A Service and its endpoints go.
    pub fn remove(&self, n: usize) {
        let one = |path: String, name: String| Request::new(path).delete(&name, &DeleteParams::default());
        let both = [one(slices_path(), format!("svc-{n}-abcde")), one(services_path(), format!("svc-{n}"))];
        self.bare.send_all(both.into_iter().flatten(), 1);
    }

    /// Measures with a client that is where the proxies are: in a namespace of its own, behind a relay.
    pub fn beside<T: Send>(&self, measure: impl FnOnce(&Bare) -> T + Send) -> T {
        self.namespace().enter(|| measure(&Bare::new(&self.kubeconfig)))
    }

    /// A namespace from which the server is reached.
    pub fn namespace(&self) -> Netns {
        let netns = namespace("peer");
        let server = self.bare.server().filter(|server| server.ip().is_loopback());
        server.into_iter().for_each(|server| relay(&netns, server));
        netns
    }

    /// Starts a program that follows the server, in the namespace of this thread. Programs that it starts are looked for in `path` first.
    pub fn follower(&self, program: &str, args: &[String], path: Option<&Path>) -> Follower {
        let mut command = Command::new(program);
        command.args(args).args(["--kubeconfig", &self.kubeconfig, "--hostname-override", "node-0"]);
        if let Some(path) = path {
            let rest = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{rest}", path.display()));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Follower(command.process_group(0).spawn().expect("it starts"))
    }

    /// A service's address, and one of its endpoints.
    pub fn addresses(&self, endpoints: usize) -> (Ipv4Addr, Ipv4Addr) {
        let parsed = |address: &Value| address.as_str().and_then(|text| text.parse().ok()).expect("an address");
        let service = self.bare.get(&format!("{}/svc-0", services_path()));
        let slice = objects::slice(0, endpoints, 0);
        (parsed(&service["spec"]["clusterIP"]), parsed(&slice["endpoints"][0]["addresses"][0]))
    }

    /// Removes all of it.
    pub fn clear(&self) {
        for path in [slices_path(), services_path()] {
            // The API has no deletion of all Services at once: their own namespace goes.
            let all = Request::new(path).delete_collection(&DeleteParams::default(), &Default::default());
            self.bare.send_all(all.into_iter(), 1);
        }
        let gone = [Request::new("/api/v1/namespaces").delete(&objects::namespace(), &DeleteParams::default())];
        self.bare.send_all(gone.into_iter().flatten(), 1);
    }

    /// Some service has another first endpoint, by the number of the round.
    pub fn put(&self, services: usize, endpoints: usize, round: usize) {
        let n = (round * 7919) % services;
        let body = typed_slice(objects::slice(n, endpoints, round)).to_string().into_bytes();
        let request = Request::new(slices_path()).replace(&format!("svc-{n}-abcde"), &PostParams::default(), body);
        self.bare.send_all(request.into_iter(), 1);
    }
}

/// Kills its child, with the programs that runs, when dropped, and reaps it.
pub struct Follower(pub Child);

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

fn relay(netns: &Netns, server: SocketAddr) {
    let listener = netns.enter(|| TcpListener::bind(server)).expect("a relay");
    std::thread::spawn(move || hand_on(&listener, server));
}

fn new_service(n: usize) -> http::Request<Vec<u8>> {
    let mut service = objects::service(n);
    // The server allocates: its range is not known here.
    for field in ["clusterIP", "clusterIPs"] {
        service["spec"].as_object_mut().expect("a spec").remove(field);
    }
    create(&services_path(), &typed(service, "v1", "Service"))
}

fn new_slice(n: usize, endpoints: usize) -> http::Request<Vec<u8>> {
    create(&slices_path(), &typed_slice(objects::slice(n, endpoints, 0)))
}

fn create(path: &str, object: &Value) -> http::Request<Vec<u8>> {
    Request::new(path).create(&PostParams::default(), object.to_string().into_bytes()).expect("a request")
}

fn services_path() -> String {
    format!("/api/v1/namespaces/{}/services", objects::namespace())
}

fn slices_path() -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", objects::namespace())
}

fn typed_slice(mut slice: Value) -> Value {
    slice["metadata"].as_object_mut().expect("metadata").remove("ownerReferences");
    typed(slice, "discovery.k8s.io/v1", "EndpointSlice")
}

fn typed(mut object: Value, version: &str, kind: &str) -> Value {
    object["apiVersion"] = version.into();
    object["kind"] = kind.into();
    for field in ["uid", "creationTimestamp", "generateName"] {
        object["metadata"].as_object_mut().expect("metadata").remove(field);
    }
    object
}
