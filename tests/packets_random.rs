//! Rung 3: any packet in any small world meets in the compiled rules what a plain reading of the semantics says.

#[path = "support/laws.rs"]
#[allow(dead_code)]
mod laws;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/small_world.rs"]
mod small_world;
#[path = "support/walking.rs"]
#[allow(dead_code)]
mod walking;

use std::collections::BTreeMap;

use ferroproxy::compile::expr::RejectWith;
use ferroproxy::compile::walk::{Fate, Learned};
use ferroproxy::model::PerFamily;
use laws::{Memory, agree, bit, stick};
use oracle::Oracle;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use small_world::{shot, world};
use walking::Rules;

proptest! {
    #[test]
    fn the_compiled_rules_do_what_the_semantics_say(world in world(), shots in vec(shot(), 1..60)) {
        let state = world.state();
        let rules = Rules::of(&world.config, state.snapshot());
        let outcomes = |packet: &_| rules.outcomes(packet, &world.around, bit(&world.config));
        agree(&world, state.snapshot(), &shots, outcomes)?;
    }

    #[test]
    fn a_client_keeps_its_endpoint_while_it_may_be_used(
        world in world(),
        shots in vec(shot(), 1..200),
        seed in any::<u32>(),
    ) {
        let state = world.state();
        let rules = Rules::of(&world.config, state.snapshot());
        let mut learned = PerFamily::<Learned>::default();
        stick(&world, state.snapshot(), (&shots, seed), Memory::One, |packet, random| {
            rules.next(packet, &world.around, random, &mut learned)
        })?;
    }
}

/// The worlds are worth something only while packets meet everything there is to meet.
#[test]
fn the_worlds_hold_every_fate() {
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeMap::<&str, usize>::new();
    for _ in 0..300 {
        let world = world().new_tree(&mut runner).unwrap().current();
        let state = world.state();
        let oracle = Oracle { config: &world.config, objects: state.snapshot(), around: &world.around };
        for _ in 0..20 {
            let packet = world.send(&shot().new_tree(&mut runner).unwrap().current());
            let outcomes = oracle.outcomes(&packet);
            let first = outcomes.first().unwrap();
            let kind = match first.fate {
                Fate::Drop => "dropped",
                Fate::Reject(RejectWith::TcpReset) => "reset",
                Fate::Reject(RejectWith::PortUnreachable) => "unreachable",
                Fate::Accept if first.destination.ip == packet.destination => "left alone",
                Fate::Accept if first.masqueraded => "masqueraded",
                Fate::Accept => "delivered",
            };
            *met.entry(kind).or_default() += 1;
            let guard = oracle.guard(&packet);
            *met.entry("kept out").or_default() += usize::from(guard == Some(false));
            *met.entry("let in").or_default() += usize::from(guard == Some(true));
            *met.entry("shared").or_default() += usize::from(outcomes.len() > 1);
            *met.entry("sticky").or_default() += usize::from(outcomes.len() > 1 && oracle.sticky(&packet).is_some());
            let hairpin = outcomes.iter().any(|o| o.destination.ip == packet.source && o.masqueraded);
            *met.entry("hairpin").or_default() += usize::from(hairpin);
        }
    }
    let rare: Vec<_> = met.iter().filter(|(_, count)| **count < 50).collect();
    assert!(met.len() == 11 && rare.is_empty(), "{met:?}");
}
