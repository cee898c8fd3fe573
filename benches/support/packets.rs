//! What a packet costs: the first of a connection through a VIP and directly, and those of established flows.
//!
//! A UDP datagram from the namespace to itself: `sendto` walks the output and the input hooks before it answers. Each first packet comes
//! from a port of its own, so it is a new flow for conntrack. Rounds of all kinds take turns.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Kind};
use crate::figures::{Row, median};
use crate::kernel::{synced, told};
use crate::support::netns::{Netns, run};

const ENDPOINTS: usize = 10;
/// Flows of one round.
const FLOWS: usize = 400;
const ROUNDS: usize = 20;

/// Conntrack without any NAT rule.
const CONNTRACK_ALONE: &str =
    "table ip alone {\nchain out {\ntype filter hook output priority 0\nct state new accept\n}\n}\n";

/// First and later packets in milliseconds, by kind.
#[derive(Default)]
struct Costs {
    first: Vec<Duration>,
    later: Vec<Duration>,
}

/// A namespace whose own addresses are all endpoints, and through which every service address is routed.
pub fn wire(namespace: &Netns) {
    for line in [
        "link set lo up",
        "link add d0 type veth peer name d1",
        "link set d1 up",
        "addr add 10.200.0.1/32 dev d0",
        "link set d0 up",
        "route add default dev d0 src 10.200.0.1",
        "route add local 10.128.0.0/10 dev lo",
    ] {
        run(namespace.command("ip").args(line.split(' ')));
    }
}

/// Packets beside the rules of so many services.
pub fn measure(services: usize) -> Vec<Row> {
    let (alone, ours) = (Netns::new("alone"), Netns::new("bench"));
    [&alone, &ours].into_iter().for_each(wire);
    alone.nft_load(CONNTRACK_ALONE);
    let cluster = Cluster::of(Kind::Udp, services, ENDPOINTS);
    let mut state = told(&cluster);
    let engine = ours.enter(|| synced(&mut state));
    let direct: SocketAddr = "10.128.0.1:8080".parse().expect("an address");
    let vip: SocketAddr = "10.96.0.1:80".parse().expect("an address");
    let (mut bare, mut through, mut past) = (Costs::default(), Costs::default(), Costs::default());
    for _ in 0..ROUNDS {
        alone.enter(|| round(direct, &mut bare));
        ours.enter(|| round(vip, &mut through));
        ours.enter(|| round(direct, &mut past));
    }
    drop(engine);
    let label = format!("beside {services} x {ENDPOINTS}");
    let row = |what: &str, times: &[Duration], floor: &[Duration]| {
        Row::us(&label, what, median(times.to_vec())).over(median(floor.to_vec()))
    };
    vec![
        row("first packet through a VIP, against conntrack alone", &through.first, &bare.first),
        row("first packet of a direct flow, against conntrack alone", &past.first, &bare.first),
        row("later packets through a VIP, against conntrack alone", &through.later, &bare.later),
        row("later packets of a direct flow, against conntrack alone", &past.later, &bare.later),
    ]
}

fn round(to: SocketAddr, costs: &mut Costs) {
    let server = UdpSocket::bind("0.0.0.0:8080").expect("a server");
    server.set_nonblocking(true).expect("a server");
    let clients: Vec<UdpSocket> = (0..FLOWS).map(|_| UdpSocket::bind("10.200.0.1:0").expect("a client")).collect();
    for times in [&mut costs.first, &mut costs.later] {
        for client in &clients {
            let begun = Instant::now();
            client.send_to(b"x", to).expect("it goes out");
            times.push(begun.elapsed());
            assert!(server.recv(&mut [0; 8]).is_ok(), "it arrives");
        }
    }
}
