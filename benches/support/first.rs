//! The first packet of a connection, above what conntrack alone makes of it, in a namespace where somebody's rules are in force.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::flows::{Sender, link};
use crate::support::netns::Netns;

/// Flows of one round of one kind.
const FLOWS: u32 = 500;
const ROUNDS: u16 = 24;
/// Conntrack without any NAT rule.
const CONNTRACK_ALONE: &str =
    "table ip alone {\nchain out {\ntype filter hook output priority 0\nct state new accept\n}\n}\n";

/// The least time of a round each, for one packet.
#[derive(Clone, Copy, Debug)]
pub struct First {
    alone: Duration,
    vip: Duration,
    direct: Duration,
}

impl First {
    /// Sends SYNs to a VIP and to one of its endpoints, in turns with a namespace that has conntrack and nothing else.
    pub fn measure(netns: &Netns, vip: Ipv4Addr, endpoint: Ipv4Addr) -> First {
        let alone = Netns::new("alone");
        alone.nft_load(CONNTRACK_ALONE);
        [&alone, netns].into_iter().for_each(|netns| netns.enter(link));
        let mut first = First { alone: Duration::MAX, vip: Duration::MAX, direct: Duration::MAX };
        for round in 0..ROUNDS {
            let syns = |netns: &Netns, to: SocketAddrV4, kind: u16| {
                netns.enter(|| Sender::open().syns(FLOWS, 10_000 + round * 2 + kind, to))
            };
            let (to_vip, to_endpoint) = (SocketAddrV4::new(vip, 80), SocketAddrV4::new(endpoint, 8080));
            first.alone = first.alone.min(syns(&alone, to_endpoint, 0));
            first.vip = first.vip.min(syns(netns, to_vip, 0));
            first.direct = first.direct.min(syns(netns, to_endpoint, 1));
        }
        first
    }

    /// Through the VIP, above conntrack alone.
    pub fn vip(&self) -> Duration {
        self.vip.saturating_sub(self.alone)
    }

    /// To the endpoint, above conntrack alone.
    pub fn direct(&self) -> Duration {
        self.direct.saturating_sub(self.alone)
    }
}
