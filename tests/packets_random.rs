//! Rung 3: any packet in any small world meets in the compiled rules what a plain reading of the semantics says.

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
use oracle::Oracle;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use small_world::{shot, world};
use walking::Rules;

proptest! {
    #[test]
    fn the_compiled_rules_do_what_the_semantics_say(
        world in world(),
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
}

proptest! {
    #[test]
    fn a_client_keeps_its_endpoint_while_it_may_be_used(
        world in world(),
        shots in proptest::collection::vec(shot(), 1..200),
        seed in any::<u32>(),
    ) {
        let state = world.state();
        let rules = Rules::of(&world.config, state.snapshot());
        let oracle = Oracle { config: &world.config, objects: state.snapshot(), around: &world.around };
        let mut learned = PerFamily::<Learned>::default();
        let mut kept = BTreeMap::new();
        let mut drawn = seed;
        let mut random = |modulus| {
            drawn = drawn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (drawn >> 16) % modulus
        };
        for shot in shots {
            let mut packet = world.send(&shot);
            packet.mark &= !(1u32 << world.config.masquerade_bit);
            let may = oracle.outcomes(&packet);
            let is = rules.next(&packet, &world.around, &mut random, &mut learned);
            prop_assert!(may.contains(&is), "{:?}: {:?}", packet, is);
            let Some(port) = oracle.sticky(&packet).filter(|_| is.fate == Fate::Accept) else { continue };
            let before = kept.insert((port, packet.source), is.destination);
            if let Some(before) = before.filter(|before| may.iter().any(|o| o.destination == *before)) {
                prop_assert_eq!(is.destination, before, "{:?}", packet);
            }
        }
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
