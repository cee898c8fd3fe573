//! Rung 3: any packet in any small world meets in the classical chains what a plain reading of the semantics says of iptables mode.

#[path = "support/chains.rs"]
mod chains;
#[path = "support/oracle.rs"]
#[allow(dead_code)]
mod oracle;
#[path = "support/small_world.rs"]
mod small_world;
#[path = "support/walking.rs"]
#[allow(dead_code)]
mod walking;

use std::collections::{BTreeMap, BTreeSet};

use chains::{Recent, Rules};
use ferroproxy::agent::plan_iptables;
use ferroproxy::compile::walk::{self, Fate, Origin};
use ferroproxy::model::{Config, Family, Protocol, ProxyMode};
use ferroproxy::peer;
use ferroproxy::peer::iptables::{Own, parse};
use oracle::Oracle;
use proptest::prelude::*;
use small_world::{World, shot, world};

/// A world in iptables mode.
fn chained() -> impl Strategy<Value = World> {
    (world(), any::<bool>()).prop_map(|(world, localhost_node_ports)| World {
        config: Config { mode: ProxyMode::Iptables, localhost_node_ports, ..world.config },
        ..world
    })
}

/// What `migrate verify` and `explain` ask about a packet of a protocol that Services have.
fn asked(packet: &walk::Packet) -> Option<peer::Packet> {
    Some(peer::Packet {
        source: packet.source,
        destination: packet.destination,
        protocol: Protocol::from_number(packet.protocol)?,
        port: packet.destination_port,
        interface: packet.input_interface.clone(),
        from_node: packet.origin == Origin::FromNode,
    })
}

fn said(outcome: &walk::Outcome) -> peer::Outcome {
    let fate = match outcome.fate {
        Fate::Accept => peer::Fate::Delivered,
        Fate::Drop => peer::Fate::Dropped,
        Fate::Reject(_) => peer::Fate::Refused,
    };
    peer::Outcome { fate, destination: outcome.destination, masqueraded: outcome.masqueraded }
}

proptest! {
    /// `migrate verify` and `explain` take this for what ferroproxy does in iptables mode.
    #[test]
    fn the_reader_of_kube_proxys_chains_understands_ours(
        world in chained(),
        shots in proptest::collection::vec(shot(), 1..60),
    ) {
        let state = world.state();
        let told = plan_iptables(&world.config, state.snapshot(), &Family::ALL).0.render();
        let oracle = Oracle { config: &world.config, objects: state.snapshot(), around: &world.around };
        for shot in shots {
            let mut packet = world.send(&shot);
            packet.mark = 0;
            let Some(asked) = asked(&packet) else { continue };
            let text: String = told.families.get(asked.family()).iter().map(ToString::to_string).collect();
            let walked = Own(parse(&text)).outcomes(&asked, &world.around.local_addresses);
            let expected: BTreeSet<_> = oracle.outcomes(&packet).iter().map(said).collect();
            prop_assert_eq!(walked, Ok(expected), "{:?}", packet);
        }
    }

    #[test]
    fn the_chains_do_what_the_semantics_say(
        world in chained(),
        shots in proptest::collection::vec(shot(), 1..60),
    ) {
        let state = world.state();
        let rules = Rules::of(&world.config, state.snapshot());
        let oracle = Oracle { config: &world.config, objects: state.snapshot(), around: &world.around };
        let ours = 1u32 << world.config.masquerade_bit;
        for shot in shots {
            let mut packet = world.send(&shot);
            // A packet that brings our bit along asks for a masquerade itself.
            packet.mark &= !ours;
            let walked = rules.outcomes(&packet, &world.around, ours);
            prop_assert_eq!(walked, oracle.outcomes(&packet), "{:?}", packet);
        }
    }

    #[test]
    fn a_client_keeps_its_endpoint_while_it_may_be_used(
        world in chained(),
        shots in proptest::collection::vec((shot(), any::<[bool; 8]>()), 1..200),
    ) {
        let state = world.state();
        let rules = Rules::of(&world.config, state.snapshot());
        let oracle = Oracle { config: &world.config, objects: state.snapshot(), around: &world.around };
        let (mut recent, mut kept) = (Recent::new(), BTreeMap::new());
        for (shot, draws) in shots {
            let mut packet = world.send(&shot);
            packet.mark &= !(1u32 << world.config.masquerade_bit);
            let may = oracle.outcomes(&packet);
            let is = rules.next(&packet, &world.around, &draws, &mut recent);
            prop_assert!(may.contains(&is), "{:?}: {:?}", packet, is);
            let Some(port) = oracle.sticky(&packet).filter(|_| is.fate == Fate::Accept) else { continue };
            // Where two policies have remembered one each, the first in the chain's order is kept.
            let kept = kept.entry((port, packet.source)).or_insert_with(Vec::new);
            let known = kept.iter().any(|before| may.iter().any(|o| o.destination == *before));
            prop_assert!(!known || kept.contains(&is.destination), "{:?}: {:?}, kept {:?}", packet, is, kept);
            kept.push(is.destination);
        }
    }
}
