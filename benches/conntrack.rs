//! `make bench`: the conntrack reconciler over a table of a million UDP flows: how long a look takes, what it keeps in memory, and that it
//! deletes what is stale and nothing else.
//!
//! Runs in a private network namespace and needs root; raises `nf_conntrack_max` of the machine meanwhile. Prints a table and writes
//! `benches/CONNTRACK.md`.

#![allow(dead_code, unreachable_pub)]

#[path = "support/flows.rs"]
mod flows;
#[path = "../tests/support/netns.rs"]
mod netns;

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ferroproxy::host::{Announcement, Conntrack, Frontend, PortFlows};
use ferroproxy::model::{EndpointAddr, Family, ObjectName, Protocol};
use flows::Sender;

/// Flows of the service that stays, and of the one whose endpoint goes.
const SIZES: [(u32, u32); 3] = [(9_000, 1_000), (90_000, 10_000), (900_000, 100_000)];
const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

fn main() {
    if std::env::args().any(|arg| arg == "--test") || !netns::is_possible() {
        return;
    }
    let before = fs::read_to_string(MAX).expect("conntrack is there");
    fs::write(MAX, "2000000").expect("more entries allowed");
    let mut text = String::from(
        "# The conntrack reconciler over large tables\n\n| flows | of them stale | first look, ms | look after the endpoint went, ms | deleted | left | memory it kept, KB |\n\
         |---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (healthy, stale) in SIZES {
        let namespace = netns::Netns::new("bench");
        text += &namespace.enter(|| measure(healthy, stale));
    }
    fs::write(MAX, before.trim()).expect("as before");
    println!("{text}");
    fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/CONNTRACK.md"), text).expect("written");
}

fn measure(healthy: u32, stale: u32) -> String {
    flows::link();
    fs::write("/proc/sys/net/netfilter/nf_conntrack_udp_timeout", "3600").expect("flows stay");
    let rules = "add table ip t\nadd chain ip t out { type nat hook output priority -100; }\n\
                 add rule ip t out ip daddr 10.96.0.1 udp dport 80 dnat to 10.128.0.1:8080\n\
                 add rule ip t out ip daddr 10.96.0.2 udp dport 80 dnat to 10.128.0.2:8080\n";
    let file = std::env::temp_dir().join("ferroproxy-bench-conntrack.nft");
    fs::write(&file, rules).expect("written");
    assert!(Command::new("nft").arg("-f").arg(&file).status().expect("nft runs").success());
    let sender = Sender::open();
    sender.flows(healthy, 10_000, SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 1), 80));
    sender.flows(stale, 10_001, SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 2), 80));
    assert_eq!(count(), healthy + stale, "every flow has an entry");

    let memory = resident();
    let (tell, told) = channel();
    let conntrack =
        Conntrack::start(move |family, took, deleted| _ = tell.send((family, took, deleted))).expect("a thread");
    conntrack.announce(Announcement { services: vec![service(1, true), service(2, true)], scope: None });
    let (first, none) = settled(&conntrack, &told);
    assert_eq!(none, 0, "nothing is stale yet");
    conntrack.announce(Announcement { services: vec![service(2, false)], scope: None });
    let (second, deleted) = settled(&conntrack, &told);
    let kept = resident().saturating_sub(memory);
    let (left, ms) = (count(), |time: Duration| time.as_secs_f64() * 1e3);
    assert_eq!((deleted as u32, left), (stale, healthy), "what was stale, and nothing else");
    let mut row = String::new();
    let _ = writeln!(
        row,
        "| {} | {stale} | {:.0} | {:.0} | {deleted} | {left} | {kept} |",
        healthy + stale,
        ms(first),
        ms(second)
    );
    row
}

/// The next look at IPv4.
fn settled(conntrack: &Conntrack, told: &Receiver<(Family, Duration, usize)>) -> (Duration, usize) {
    conntrack.settle(Family::V4);
    let (_, took, deleted) = told.recv().expect("a look");
    (took, deleted)
}

fn service(n: u8, has_endpoint: bool) -> (ObjectName, Vec<PortFlows>) {
    let endpoint = EndpointAddr { ip: Ipv4Addr::new(10, 128, 0, n).into(), port: 8080 };
    let port = PortFlows {
        family: Family::V4,
        frontends: vec![Frontend::Address(Ipv4Addr::new(10, 96, 0, n).into(), Protocol::Udp, 80)],
        endpoints: has_endpoint.then_some(endpoint).into_iter().collect(),
    };
    (ObjectName::new("default", format!("s{n}")), vec![port])
}

fn count() -> u32 {
    let text = fs::read_to_string("/proc/thread-self/net/stat/nf_conntrack").expect("statistics");
    let first = text.lines().nth(1).and_then(|line| line.split_whitespace().next()).expect("a row");
    u32::from_str_radix(first, 16).expect("a number")
}

/// Resident memory of this process in KB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
