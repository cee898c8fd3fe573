//! Rung 3: any packet in any small world meets in the classical chains what a plain reading of the semantics says of iptables mode.

#[path = "support/chains.rs"]
mod chains;
#[path = "support/laws.rs"]
mod laws;
#[path = "support/oracle.rs"]
#[allow(dead_code)]
mod oracle;
#[path = "support/small_world.rs"]
mod small_world;
#[path = "support/walking.rs"]
#[allow(dead_code)]
mod walking;

use std::collections::BTreeSet;

use chains::{Recent, Rules};
use ferroproxy::agent::plan_iptables;
use ferroproxy::compile::walk::{self, Fate, Origin};
use ferroproxy::model::{Config, Family, PerFamily, Protocol, ProxyMode};
use ferroproxy::peer;
use ferroproxy::peer::iptables::{Own, parse};
use laws::{Memory, agree, bit, stick};
use oracle::Oracle;
use proptest::collection::vec;
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
        shots in vec(shot(), 1..60),
    ) {
        let state = world.state();
        let told = plan_iptables(&world.config, state.snapshot(), &Family::ALL).0.render();
        let text = |family| told.families.get(family).iter().map(ToString::to_string).collect::<String>();
        let rules = PerFamily::from_fn(|family| Own(parse(&text(family))));
        let oracle = Oracle { config: &world.config, objects: state.snapshot(), around: &world.around };
        for shot in shots {
            let mut packet = world.send(&shot);
            packet.mark = 0;
            let Some(asked) = asked(&packet) else { continue };
            let walked = rules.get(asked.family()).outcomes(&asked, &world.around.local_addresses);
            let expected: BTreeSet<_> = oracle.outcomes(&packet).iter().map(said).collect();
            prop_assert_eq!(walked, Ok(expected), "{:?}", packet);
        }
    }

    #[test]
    fn the_chains_do_what_the_semantics_say(world in chained(), shots in vec(shot(), 1..60)) {
        let state = world.state();
        let rules = Rules::of(&world.config, state.snapshot());
        let outcomes = |packet: &_| rules.outcomes(packet, &world.around, bit(&world.config));
        agree(&world, state.snapshot(), &shots, outcomes)?;
    }

    #[test]
    fn a_client_keeps_its_endpoint_while_it_may_be_used(
        world in chained(),
        shots in vec(shot(), 1..200),
        seed in any::<u32>(),
    ) {
        let state = world.state();
        let rules = Rules::of(&world.config, state.snapshot());
        let mut recent = Recent::new();
        stick(&world, state.snapshot(), (&shots, seed), Memory::EachPolicy, |packet, random| {
            let draws: Vec<bool> = (0..8).map(|_| random(2) == 1).collect();
            rules.next(packet, &world.around, &draws, &mut recent)
        })?;
    }
}
