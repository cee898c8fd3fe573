//! ferroproxy and kube-proxy one after the other, followers of the same real API server.
//!
//! Runs where `FERROPROXY_TEST_KUBECONFIG` names a server and `KUBE_PROXY_BIN` the peer's binary. Makes a namespace of services there, and
//! removes them.

use std::ops::Range;
use std::time::{Duration, Instant};

use ferroproxy::apply::netlink::Netlink;
use ferroproxy::apply::target::Target;

use crate::bare::Bare;
use crate::figures::{Row, percentile};
use crate::first::First;
use crate::process::field;
use crate::server::{Server, Sides};
use crate::support::daemon::BINARY;

/// A first sync is over when nothing was committed for so long.
const QUIET: Duration = Duration::from_secs(12);
const PATIENCE: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_micros(50);

const KUBE_PROXY: &str = "--proxy-mode=nftables --cluster-cidr=10.128.0.0/9 --conntrack-max-per-core=0 --conntrack-min=0 \
                          --conntrack-tcp-timeout-established=0s --conntrack-tcp-timeout-close-wait=0s";

/// What one of them took.
struct Figures {
    start: Duration,
    changes: Vec<Duration>,
    /// When a bare watch beside it had the event of each of these changes.
    heard: Vec<Duration>,
    memory: u64,
    first: First,
}

/// Both of them at one size; nothing where there is no server or no peer.
pub fn measure(services: usize, endpoints: usize) -> Vec<Row> {
    let Some(Sides { kubeconfig, peer }) = Sides::given() else { return Vec::new() };
    let server = Server::new(&kubeconfig);
    server.fill(services, endpoints);
    let lists = server.beside(Bare::lists);
    let own = ["run", "--cluster-cidr=10.128.0.0/9"].map(str::to_owned);
    let ours = follow(&server, BINARY, &own, endpoints, services, 1..201);
    let theirs: Vec<String> = KUBE_PROXY.split_whitespace().map(str::to_owned).collect();
    let theirs = follow(&server, &peer, &theirs, endpoints, services, 50_001..50_006);
    server.clear();
    let label = format!("{services} x {endpoints}, a real API server");
    let at = |figures: &Figures, share: f64| percentile(&mut figures.changes.clone(), share);
    let heard = |share: f64| percentile(&mut ours.heard.clone(), share);
    vec![
        Row::ms(&label, "process started to all rules in force, against bare lists", ours.start)
            .over(lists)
            .peer(theirs.start),
        Row::ms(&label, "PUT of a slice to its commit, p50, against a bare watch", at(&ours, 0.5))
            .over(heard(0.5))
            .peer(at(&theirs, 0.5)),
        Row::ms(&label, "PUT of a slice to its commit, p99, against a bare watch", at(&ours, 0.99))
            .over(heard(0.99))
            .peer(at(&theirs, 0.99)),
        Row::mb(&label, "resident memory after that", ours.memory).peer_bytes(theirs.memory),
        Row::us(&label, "first packet through a VIP, above conntrack alone", ours.first.vip()).peer(theirs.first.vip()),
        Row::us(&label, "first packet of a direct flow, above conntrack alone", ours.first.direct())
            .peer(theirs.first.direct()),
    ]
}

/// Starts one of the two in a namespace of its own and follows it. Rounds are those nobody had before: the same slice again is no change.
fn follow(
    server: &Server,
    program: &str,
    args: &[String],
    endpoints: usize,
    services: usize,
    rounds: Range<usize>,
) -> Figures {
    let netns = server.namespace();
    netns.enter(|| {
        let mut kernel = Netlink::open().expect("netlink");
        let begun = Instant::now();
        let follower = server.follower(program, args, None);
        let start = settled(&mut kernel).saturating_duration_since(begun);
        let bare = Bare::new(&server.kubeconfig);
        let events = bare.watch();
        let changes = rounds.map(|round| {
            let before = kernel.generation().expect("a generation");
            let begun = Instant::now();
            // The commit may come before the answer to the PUT.
            let committed = std::thread::scope(|scope| {
                scope.spawn(|| server.put(services, endpoints, round));
                while kernel.generation().expect("a generation") == before {
                    assert!(begun.elapsed() < PATIENCE, "no commit follows");
                    std::thread::sleep(LOOK);
                }
                begun.elapsed()
            });
            (committed, events.recv_timeout(PATIENCE).expect("an event").saturating_duration_since(begun))
        });
        let (changes, heard): (Vec<_>, Vec<_>) = changes.unzip();
        let memory = field(follower.0.id(), "VmRSS");
        let (vip, endpoint) = server.addresses(endpoints);
        Figures { start, changes, heard, memory, first: First::measure(&netns, vip, endpoint) }
    })
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
