//! Rung 3: any packet in any small world meets in the compiled rules what a plain reading of the semantics says.

#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/small_world.rs"]
mod small_world;
#[path = "support/walking.rs"]
#[allow(dead_code)]
mod walking;

use oracle::Oracle;
use proptest::prelude::*;
use small_world::{packet, world};
use walking::Rules;

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn the_compiled_rules_do_what_the_semantics_say(
        world in world(),
        packets in proptest::collection::vec(packet(), 1..60),
    ) {
        let state = world.state();
        let rules = Rules::of(&world.config, state.snapshot());
        let oracle = Oracle { config: &world.config, objects: state.snapshot(), around: &world.around };
        let ours = 1u32 << world.config.masquerade_bit;
        for mut packet in packets {
            // A packet that brings our bit along asks for a masquerade itself.
            packet.mark &= !ours;
            let walked = rules.outcomes(&packet, &world.around, ours);
            prop_assert_eq!(walked, oracle.outcomes(&packet), "{:?}", packet);
        }
    }
}
