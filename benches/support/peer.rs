//! ferroproxy and kube-proxy one after the other, followers of the same real API server.
//!
//! Runs where `FERROPROXY_TEST_KUBECONFIG` names a server and `KUBE_PROXY_BIN` the peer's binary. Makes a namespace of services there, and
//! removes them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ferroproxy::apply::netlink::Netlink;
use ferroproxy::apply::target::Target;
use kube::core::Request;
use kube::core::params::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::bare::Bare;
use crate::figures::{Row, median, percentile};
use crate::first::First;
use crate::objects;
use crate::process::field;
use crate::support::daemon::{BINARY, namespace};
use crate::support::netns::Netns;
use crate::support::relay::hand_on;

/// A first sync is over when nothing was committed for so long.
const QUIET: Duration = Duration::from_secs(12);
const PATIENCE: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_micros(50);
/// Requests on their way at once while the server is filled.
const AT_ONCE: usize = 16;

const KUBE_PROXY: &str = "--proxy-mode=nftables --cluster-cidr=10.128.0.0/9 --conntrack-max-per-core=0 --conntrack-min=0 \
                          --conntrack-tcp-timeout-established=0s --conntrack-tcp-timeout-close-wait=0s";

/// What one of them took.
struct Figures {
    start: Duration,
    changes: Vec<Duration>,
    memory: u64,
    first: First,
}

/// Both of them at one size; nothing where there is no server or no peer.
pub fn measure(services: usize, endpoints: usize) -> Vec<Row> {
    let (Ok(kubeconfig), Ok(peer)) = (std::env::var("FERROPROXY_TEST_KUBECONFIG"), std::env::var("KUBE_PROXY_BIN"))
    else {
        eprintln!("no comparison with kube-proxy: KUBE_PROXY_BIN and FERROPROXY_TEST_KUBECONFIG are not both set");
        return Vec::new();
    };
    let server = Server { bare: Bare::new(&kubeconfig) };
    server.fill(services, endpoints);
    let lists = server.beside(&kubeconfig, Bare::lists);
    let own = ["run", "--cluster-cidr=10.128.0.0/9"].map(str::to_owned);
    let ours = server.follow(BINARY, &own, &kubeconfig, endpoints, services, 1..201);
    let theirs: Vec<String> = KUBE_PROXY.split_whitespace().map(str::to_owned).collect();
    let theirs = server.follow(&peer, &theirs, &kubeconfig, endpoints, services, 50_001..50_006);
    let watched = server.beside(&kubeconfig, |bare| server.watched(bare, services, endpoints));
    server.clear();
    let label = format!("{services} x {endpoints}, a real API server");
    let at = |figures: &Figures, share: f64| percentile(&mut figures.changes.clone(), share);
    vec![
        Row::ms(&label, "process started to all rules in force, against bare lists", ours.start)
            .over(lists)
            .peer(theirs.start),
        Row::ms(&label, "PUT of a slice to its commit, p50, against a bare watch", at(&ours, 0.5))
            .over(watched)
            .peer(at(&theirs, 0.5)),
        Row::ms(&label, "PUT of a slice to its commit, p99, against a bare watch", at(&ours, 0.99))
            .over(watched)
            .peer(at(&theirs, 0.99)),
        Row::mb(&label, "resident memory after that", ours.memory).peer_bytes(theirs.memory),
        Row::us(&label, "first packet through a VIP, above conntrack alone", ours.first.vip()).peer(theirs.first.vip()),
        Row::us(&label, "first packet of a direct flow, above conntrack alone", ours.first.direct())
            .peer(theirs.first.direct()),
    ]
}

struct Server {
    bare: Bare,
}

impl Server {
    fn fill(&self, services: usize, endpoints: usize) {
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
        let objects = (0..services).flat_map(|n| {
            let mut service = objects::service(n);
            // The server allocates: its range is not known here.
            for field in ["clusterIP", "clusterIPs"] {
                service["spec"].as_object_mut().expect("a spec").remove(field);
            }
            let slice = objects::slice(n, endpoints, 0);
            [create(&services_path(), &typed(service, "v1", "Service")), create(&slices_path(), &typed_slice(slice))]
        });
        self.bare.send_all(objects, AT_ONCE);
    }

    fn clear(&self) {
        for path in [slices_path(), services_path()] {
            // The API has no deletion of all Services at once: their own namespace goes.
            let all = Request::new(path).delete_collection(&DeleteParams::default(), &Default::default());
            self.bare.send_all(all.into_iter(), 1);
        }
        let gone = [Request::new("/api/v1/namespaces").delete(&objects::namespace(), &DeleteParams::default())];
        self.bare.send_all(gone.into_iter().flatten(), 1);
    }

    fn put(&self, services: usize, endpoints: usize, round: usize) {
        let n = (round * 7919) % services;
        let body = typed_slice(objects::slice(n, endpoints, round)).to_string().into_bytes();
        let request = Request::new(slices_path()).replace(&format!("svc-{n}-abcde"), &PostParams::default(), body);
        self.bare.send_all(request.into_iter(), 1);
    }

    /// Measures with a client that is where the proxies are: in a namespace of its own, behind a relay.
    fn beside<T: Send>(&self, kubeconfig: &str, measure: impl FnOnce(&Bare) -> T + Send) -> T {
        let netns = self.namespace();
        netns.enter(|| measure(&Bare::new(kubeconfig)))
    }

    fn namespace(&self) -> Netns {
        let netns = namespace("peer");
        let server = self.bare.server().filter(|server| server.ip().is_loopback());
        server.into_iter().for_each(|server| relay(&netns, server));
        netns
    }

    /// A service's address, and one of its endpoints.
    fn addresses(&self, endpoints: usize) -> (Ipv4Addr, Ipv4Addr) {
        let parsed = |address: &Value| address.as_str().and_then(|text| text.parse().ok()).expect("an address");
        let service = self.bare.get(&format!("{}/svc-0", services_path()));
        let slice = objects::slice(0, endpoints, 0);
        (parsed(&service["spec"]["clusterIP"]), parsed(&slice["endpoints"][0]["addresses"][0]))
    }

    /// A PUT until a bare watch hears of it, the median of some.
    fn watched(&self, bare: &Bare, services: usize, endpoints: usize) -> Duration {
        let events = bare.watch();
        let one = |round: usize| {
            let begun = Instant::now();
            self.put(services, endpoints, 100_000 + round);
            events.recv_timeout(PATIENCE).expect("an event").saturating_duration_since(begun)
        };
        median((1..50).map(one).collect())
    }

    /// Starts one of the two in a namespace of its own and follows it. Rounds are those nobody had before: the same slice again is no change.
    fn follow(
        &self,
        program: &str,
        args: &[String],
        kubeconfig: &str,
        endpoints: usize,
        services: usize,
        rounds: Range<usize>,
    ) -> Figures {
        let netns = self.namespace();
        netns.enter(|| {
            let mut kernel = Netlink::open().expect("netlink");
            let begun = Instant::now();
            let mut command = Command::new(program);
            command.args(args).args(["--kubeconfig", kubeconfig, "--hostname-override", "node-0"]);
            let child =
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
            let child = Ended(child);
            let start = settled(&mut kernel).saturating_duration_since(begun);
            let changes = rounds.map(|round| {
                let before = kernel.generation().expect("a generation");
                let begun = Instant::now();
                // The commit may come before the answer to the PUT.
                std::thread::scope(|scope| {
                    scope.spawn(|| self.put(services, endpoints, round));
                    while kernel.generation().expect("a generation") == before {
                        assert!(begun.elapsed() < PATIENCE, "no commit follows");
                        std::thread::sleep(LOOK);
                    }
                    begun.elapsed()
                })
            });
            let (changes, memory) = (changes.collect(), field(child.0.id(), "VmRSS"));
            let (vip, endpoint) = self.addresses(endpoints);
            Figures { start, changes, memory, first: First::measure(&netns, vip, endpoint) }
        })
    }
}

/// When the last commit was, once there was one and then none for some time.
fn settled(kernel: &mut Netlink) -> Instant {
    let mut generation = kernel.generation().expect("a generation");
    let begun = Instant::now();
    let mut last = None;
    while last.is_none_or(|last: Instant| last.elapsed() < QUIET) {
        assert!(begun.elapsed() < PATIENCE, "it does not come to rest");
        let now = kernel.generation().expect("a generation");
        if now != generation {
            (generation, last) = (now, Some(Instant::now()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    last.expect("there was one")
}

/// Kills and reaps its child when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn relay(netns: &Netns, server: SocketAddr) {
    let listener = netns.enter(|| TcpListener::bind(server)).expect("a relay");
    std::thread::spawn(move || hand_on(&listener, server));
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
