//! The lab proves itself with hand-written rules, so that a failing kernel test speaks of ferroproxy.

#[path = "support/lab/mod.rs"]
mod lab;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use lab::{AT_ONCE, Answer, Lab, NODE, OUTSIDE, Outcome, PATIENCE, Place, Refusal, Space, Stream, pod};

/// The layout's shape by hand: one address a family that goes to two pods over TCP and UDP and is masqueraded for
/// sources outside the pod network, a port that is refused, one that is dropped.
const RULES: &str = "
table ip ferroproxy {
    chain pick {
        meta l4proto { tcp, udp } dnat ip to numgen random mod 2 map { 0 : 10.244.0.10 . 8080, 1 : 10.244.0.11 . 8080 }
    }
    chain services {
        ip daddr != 10.96.0.1 return
        ip saddr != 10.244.0.0/16 meta mark set meta mark or 0x4000
        meta l4proto . th dport vmap { tcp . 80 : goto pick, udp . 80 : goto pick, udp . 82 : drop, tcp . 82 : drop }
        meta l4proto tcp reject with tcp reset
        reject
    }
    chain prerouting { type nat hook prerouting priority -100; goto services; }
    chain output { type nat hook output priority -100; goto services; }
    chain postrouting {
        type nat hook postrouting priority 100;
        ct status dnat ip saddr 10.244.0.10 ip daddr 10.244.0.10 masquerade
        meta mark & 0x4000 != 0 masquerade fully-random
    }
}
table ip6 ferroproxy {
    chain pick {
        meta l4proto { tcp, udp } dnat ip6 to numgen random mod 2 map { 0 : fd00:10:244::10 . 8080, 1 : fd00:10:244::11 . 8080 }
    }
    chain services {
        ip6 daddr != fd00:10:96::1 return
        ip6 saddr != fd00:10:244::/64 meta mark set meta mark or 0x4000
        meta l4proto . th dport vmap { tcp . 80 : goto pick, udp . 80 : goto pick, udp . 82 : drop, tcp . 82 : drop }
        meta l4proto tcp reject with tcp reset
        reject
    }
    chain prerouting { type nat hook prerouting priority -100; goto services; }
    chain output { type nat hook output priority -100; goto services; }
    chain postrouting {
        type nat hook postrouting priority 100;
        ct status dnat ip6 saddr fd00:10:244::10 ip6 daddr fd00:10:244::10 masquerade
        meta mark & 0x4000 != 0 masquerade fully-random
    }
}
";

const SERVICE: [&str; 2] = ["10.96.0.1", "[fd00:10:96::1]"];

/// The two endpoints, a third pod that is only a client, and the rules.
fn lab() -> Lab {
    let mut lab = Lab::new(3).expect("the lab stands");
    lab.serve_tcp(8080).expect("TCP servers listen");
    lab.serve_udp(8080).expect("UDP servers listen");
    lab.nft(RULES).expect("nft takes the rules");
    lab
}

/// What each family's client gets from `port` of the service.
fn both(ask: impl Fn(&str) -> Outcome, port: u16) -> [Outcome; 2] {
    SERVICE.map(|address| ask(&format!("{address}:{port}")))
}

fn seen_as(outcome: Outcome) -> IpAddr {
    outcome.expect("an answer").client
}

fn answer(name: &str, client: IpAddr) -> Outcome {
    Ok(Answer { name: name.to_owned(), client })
}

#[test]
fn pods_are_reached_directly_with_the_sources_own_address() {
    let lab = lab();
    for (place, sources) in [(Place::Pod(1), pod(1)), (Place::Node, NODE), (Place::Outside, OUTSIDE)] {
        for (family, target) in ["10.244.0.10:8080", "[fd00:10:244::10]:8080"].into_iter().enumerate() {
            assert_eq!(lab.tcp(place, target, PATIENCE), answer("pod0", sources[family]), "TCP from {place:?}");
            assert_eq!(lab.udp(place, target, PATIENCE), answer("pod0", sources[family]), "UDP from {place:?}");
        }
    }
}

#[test]
fn a_service_reaches_both_endpoints() {
    let lab = lab();
    for address in SERVICE {
        let tally = lab.tcp_many(Place::Pod(2), &format!("{address}:80"), 40, PATIENCE);
        assert_eq!((tally.answered(), tally.failed()), (40, 0), "{tally}");
        assert_eq!(tally.answers.keys().map(String::as_str).collect::<Vec<_>>(), ["pod0", "pod1"]);
        let ask = || lab.udp(Place::Pod(2), &format!("{address}:80"), PATIENCE).expect("an answer").name;
        let names: BTreeSet<_> = (0..40).map(|_| ask()).collect();
        assert_eq!(names.len(), 2, "datagrams from fresh ports spread too");
    }
}

#[test]
fn sources_outside_the_pod_network_are_masqueraded() {
    let lab = lab();
    assert_eq!(both(|to| lab.tcp(Place::Pod(2), to, PATIENCE), 80).map(seen_as), pod(2));
    assert_eq!(both(|to| lab.tcp(Place::Outside, to, PATIENCE), 80).map(seen_as), NODE);
    assert_eq!(both(|to| lab.udp(Place::Outside, to, PATIENCE), 80).map(seen_as), NODE);
    assert_eq!(both(|to| lab.tcp(Place::Node, to, PATIENCE), 80).map(seen_as), NODE);
}

#[test]
fn refused_is_told_from_dropped_and_from_unreachable() {
    let lab = lab();
    for place in [Place::Pod(2), Place::Node, Place::Outside] {
        let refused = || [Err(Refusal::Refused), Err(Refusal::Refused)];
        assert_eq!(both(|to| lab.tcp(place, to, AT_ONCE), 81), refused(), "TCP from {place:?}");
        assert_eq!(both(|to| lab.udp(place, to, AT_ONCE), 81), refused(), "UDP from {place:?}");
        let silent = || [Err(Refusal::TimedOut), Err(Refusal::TimedOut)];
        assert_eq!(both(|to| lab.tcp(place, to, AT_ONCE / 4), 82), silent(), "TCP from {place:?}");
        assert_eq!(both(|to| lab.udp(place, to, AT_ONCE / 4), 82), silent(), "UDP from {place:?}");
    }
    // An address no rule knows is silence; a pod that is not there is not: the neighbour answers nobody.
    assert_eq!(lab.tcp(Place::Pod(2), "10.96.0.2:80", AT_ONCE / 4), Err(Refusal::TimedOut));
    lab.space(Place::Node).ip("route add unreachable 10.244.0.99\n").expect("ip adds the route");
    let nowhere = lab.tcp(Place::Pod(2), "10.244.0.99:80", PATIENCE);
    assert!(matches!(nowhere, Err(Refusal::Unreachable(_))), "{nowhere:?}");
}

#[test]
fn a_pod_reaches_itself_through_the_service() {
    let lab = lab();
    for (family, address) in SERVICE.into_iter().enumerate() {
        let ask = || lab.tcp(Place::Pod(0), &format!("{address}:80"), PATIENCE).expect("an answer");
        let itself = (0..200).map(|_| ask()).find(|answer| answer.name == "pod0").expect("one of 200 picks is pod0");
        assert_eq!(itself.client, NODE[family], "or its answers would not come back through the node");
    }
}

#[test]
fn connections_and_flows_stay_where_they_are() {
    let lab = lab();
    let mut connection = lab.connect(Place::Outside, "10.96.0.1:80", PATIENCE).expect("a connection");
    let flow = lab.udp_flow(Place::Outside, "10.96.0.1:80").expect("a socket");
    let (first, datagram) = (connection.answer().clone(), flow.ask(PATIENCE));
    for _ in 0..10 {
        assert_eq!(connection.ask(), Ok(first.clone()));
        assert_eq!(flow.ask(PATIENCE), datagram);
    }
    assert_eq!(datagram.expect("an answer").client, NODE[0]);
}

#[test]
fn a_steady_client_counts_what_happens() {
    let lab = lab();
    let pace = Duration::from_millis(1);
    let steady = lab.keep_asking(Place::Pod(2), "10.96.0.1:80", pace, PATIENCE).expect("it starts");
    let tally = steady.wait_for_more(50, PATIENCE).expect("fifty connections");
    assert_eq!(tally.failed(), 0, "{tally}");
    lab.nft("flush chain ip ferroproxy pick\nadd rule ip ferroproxy pick reject with tcp reset\n").expect("nft");
    steady.wait_for(|tally| tally.failures.contains_key(&Refusal::Refused), PATIENCE).expect("a refusal is seen");
    let tally = steady.stop().expect("it stops");
    assert_eq!(tally.failures.keys().collect::<Vec<_>>(), [&Refusal::Refused], "{tally}");
}

#[test]
fn sctp_is_answered_where_the_kernel_has_it() {
    let mut lab = Lab::new(1).expect("the lab stands");
    let served = lab.serve_stream(0, Stream::Sctp, 9090);
    if !Stream::Sctp.exists() {
        assert!(served.is_err(), "a kernel without SCTP says so");
        eprintln!("this kernel has no SCTP: nothing was sent");
        return;
    }
    served.expect("the server listens");
    assert_eq!(lab.sctp(Place::Node, "10.244.0.10:9090", PATIENCE), answer("pod0", NODE[0]));
}

#[test]
fn nothing_is_left_behind() {
    let lab = lab();
    let name = lab.space(Place::Node).name().to_owned();
    let prefix = name.trim_end_matches("node").to_owned();
    assert_eq!(names(&prefix), 5, "a node, three pods, one client outside");
    drop(lab);
    assert_eq!(names(&prefix), 0);
    assert_eq!(names_after_panic(), 0, "not even by a test that panics");
}

#[test]
fn the_next_lab_removes_what_a_killed_process_left() {
    let mut gone = Command::new("true").spawn().expect("a process to outlive");
    gone.wait().expect("it ends");
    let name = format!("fp-{}-0-node", gone.id());
    let space = Space::create(std::slice::from_ref(&name)).expect("its namespace");
    let mut orphan = space[0].run(|| Command::new("sleep").arg("600").spawn()).expect("a thread").expect("a process");
    let _lab = Lab::new(1).expect("the lab stands");
    assert_eq!(names(&name), 0);
    let status = orphan.wait().expect("it ends");
    assert_eq!(status.signal(), Some(9), "what ran in it was ended");
}

fn names(prefix: &str) -> usize {
    let entries = std::fs::read_dir("/run/netns").expect("ip made the directory");
    entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).count()
}

fn names_after_panic() -> usize {
    let (sender, receiver) = std::sync::mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let lab = Lab::new(1).expect("the lab stands");
        sender.send(lab.space(Place::Node).name().trim_end_matches("node").to_owned()).expect("it is waited for");
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    names(&receiver.recv().expect("a lab was made"))
}
