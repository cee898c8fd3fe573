//! `make bench`: what session affinity costs a new connection, beside the scheme of a set and a chain for each endpoint, and what
//! thousands of sticky services cost to load.
//!
//! Runs in a private network namespace and needs root. Prints a table and writes `benches/AFFINITY.md`.

#![allow(dead_code, unreachable_pub)]

#[path = "support/flows.rs"]
mod flows;
#[path = "../tests/support/netns.rs"]
mod netns;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use ferroproxy::agent::plan;
use ferroproxy::apply::diff;
use ferroproxy::apply::netlink::Netlink;
use ferroproxy::apply::target::{Outcome, Target};
use ferroproxy::apply::transaction::{Op, Transaction};
use ferroproxy::model::{
    Change, Conditions, Config, EndpointSlice, Event, Family, ObjectName, PerFamily, Protocol, Service, ServicePort,
    SliceEndpoint, SlicePort, SourceConfig,
};
use ferroproxy::state::State;
use flows::Sender;

/// Endpoints of the service.
const ENDPOINTS: [u16; 3] = [10, 100, 1_000];
/// Flows of a measurement, each from a client of its own.
const FLOWS: u32 = 20_000;
/// Every scheme is measured so often, in turns; the least counts, for others use the machine too.
const ROUNDS: usize = 7;
/// Sticky services, of ten endpoints each, that are loaded.
const SERVICES: [u16; 4] = [1_000, 2_000, 4_000, 8_000];
const FRONT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 1), 80);

/// What answers the service address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// No rule but conntrack.
    Nothing,
    /// ferroproxy, without affinity.
    Random,
    /// ferroproxy, with affinity.
    Numbers,
    /// A set, a chain and a rule for each endpoint, as kube-proxy has it.
    SetEach,
}

fn main() {
    if std::env::args().any(|arg| arg == "--test") || !netns::is_possible() {
        return;
    }
    let namespace = netns::Netns::new("bench");
    let mut text = String::from(
        "# What session affinity costs\n\nTime of one UDP packet that begins a flow, in us; in brackets what it is above conntrack alone. The least of \
         several rounds, the schemes in turns.\n\n| endpoints | conntrack alone | without affinity | affinity, new clients | affinity, known clients | a set each, new clients | a set each, \
         known clients |\n|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    namespace.enter(flows::link);
    for endpoints in ENDPOINTS {
        text += &namespace.enter(|| first_packets(endpoints));
    }
    text += "\n| sticky services x 10 | full commit, ms | us a service |\n|---:|---:|---:|\n";
    for services in SERVICES {
        text += &namespace.enter(|| load(services));
    }
    println!("{text}");
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/AFFINITY.md"), text).expect("written");
}

fn first_packets(endpoints: u16) -> String {
    let schemes = [Scheme::Nothing, Scheme::Random, Scheme::Numbers, Scheme::SetEach];
    let mut least = [[Duration::MAX; 2]; 4];
    for _ in 0..ROUNDS {
        for (scheme, least) in schemes.into_iter().zip(&mut least) {
            load_scheme(scheme, endpoints);
            let sender = Sender::open();
            for (port, least) in [10_000, 10_001].into_iter().zip(least) {
                run("conntrack", &["-F"], "");
                *least = (*least).min(sender.flows(FLOWS, port, FRONT));
            }
            run("nft", &["flush", "ruleset"], "");
        }
    }
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let floor = us(least[0][0].min(least[0][1]));
    let above = |time: Duration| format!("{:.2} (+{:.2})", us(time), us(time) - floor);
    let [_, [random, again], [new, known], [set_new, set_known]] = least;
    let cells = [random.min(again), new, known, set_new, set_known].map(above).join(" | ");
    format!("| {endpoints} | {floor:.2} | {cells} |\n")
}

fn load_scheme(scheme: Scheme, endpoints: u16) {
    match scheme {
        Scheme::Nothing => run(
            "nft",
            &["-f", "-"],
            "table ip floor { chain c { type nat hook output priority 0; ct state new counter\n}\n}\n",
        ),
        Scheme::SetEach => run("nft", &["-f", "-"], &a_set_each(endpoints)),
        Scheme::Random | Scheme::Numbers => {
            let affinity = (scheme == Scheme::Numbers).then_some(10_800);
            commit(&transaction(1, endpoints, affinity));
        }
    }
}

/// The scheme in small: linear over the endpoints for who is known, then a random one that learns.
fn a_set_each(endpoints: u16) -> String {
    let mut text = String::from("table ip each {\n");
    let mut service = String::from("chain service {\n");
    let mut pick = String::new();
    for n in 0..endpoints {
        let ip = endpoint(n);
        let _ = writeln!(text, "set s{n} {{ type ipv4_addr; flags dynamic,timeout; timeout 3h; }}");
        let _ = writeln!(text, "chain e{n} {{ update @s{n} {{ ip saddr }}; meta l4proto udp dnat to {ip}:8080; }}");
        let _ = writeln!(service, "ip saddr @s{n} goto e{n}");
        let _ = write!(pick, "{n} : goto e{n}, ");
    }
    let _ = writeln!(service, "numgen random mod {endpoints} vmap {{ {pick} }}\n}}");
    let front = "map fronts { type ipv4_addr . inet_proto . inet_service : verdict; elements = { 10.96.0.1 . udp . 80 : goto service } }";
    let base = "chain out { type nat hook output priority -100; ip daddr . meta l4proto . th dport vmap @fronts; }";
    format!("{text}{service}{front}\n{base}\n}}\n")
}

/// One more table with nothing but sticky services.
fn load(services: u16) -> String {
    let transaction = transaction(services, 10, Some(10_800));
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let begun = Instant::now();
            commit(&transaction);
            let took = begun.elapsed();
            run("nft", &["flush", "ruleset"], "");
            took
        })
        .collect();
    times.sort();
    let ms = times[2].as_secs_f64() * 1e3;
    format!("| {services} | {ms:.1} | {:.2} |\n", ms * 1e3 / f64::from(services))
}

fn commit(transaction: &Transaction) {
    let receipt = Netlink::open().expect("netlink").commit(transaction);
    assert!(receipt.families.iter().all(|(_, outcome)| *outcome == Outcome::Done), "{receipt:?}");
}

fn transaction(services: u16, endpoints: u16, affinity: Option<u32>) -> Transaction {
    let mut state = State::new();
    for n in 0..services {
        state.apply(Event::Service(Change::Upsert(service(n, affinity))));
        state.apply(Event::Slice(Change::Upsert(slice(n, endpoints))));
    }
    let config = Config::new(SourceConfig::Manifests("unused".into()), "n");
    let (compiler, _) = plan(&config, state.snapshot(), &[Family::V4], Default::default());
    let Transaction { families: PerFamily { v4, .. } } = diff(compiler.draft());
    assert!(v4.iter().any(|op| matches!(op, Op::AddElements(..))));
    Transaction { families: PerFamily { v4, v6: Vec::new() } }
}

fn service(n: u16, affinity: Option<u32>) -> Service {
    let [high, low] = (n + 1).to_be_bytes();
    Service {
        cluster_ips: vec![Ipv4Addr::new(10, 96, high, low).into()],
        ports: vec![ServicePort { name: "".into(), protocol: Protocol::Udp, port: 80, node_port: None }],
        affinity,
        ..Service::named("default", &format!("s{n}"))
    }
}

fn slice(n: u16, endpoints: u16) -> EndpointSlice {
    EndpointSlice {
        name: ObjectName::new("default", format!("s{n}-a")),
        service: ObjectName::new("default", format!("s{n}")),
        family: Family::V4,
        ports: vec![SlicePort { name: "".into(), protocol: Protocol::Udp, port: 8080 }],
        endpoints: (0..endpoints)
            .map(|at| SliceEndpoint {
                address: endpoint(at).into(),
                conditions: Conditions::default(),
                node: Some("elsewhere".into()),
                hints: None,
            })
            .collect(),
        triggered: None,
    }
}

fn endpoint(n: u16) -> Ipv4Addr {
    let [high, low] = n.to_be_bytes();
    Ipv4Addr::new(10, 128, high, low)
}

fn run(program: &str, args: &[&str], input: &str) {
    use std::io::Write;
    let mut command = std::process::Command::new(program);
    let piped = std::process::Stdio::piped;
    let mut child = command.args(args).stdin(piped()).stdout(piped()).stderr(piped()).spawn().expect("it runs");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
