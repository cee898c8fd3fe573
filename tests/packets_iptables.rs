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

use chains::{Recent, Rules};
use ferroproxy::model::{Config, ProxyMode};
use laws::{Memory, agree, bit, stick};
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

proptest! {
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
