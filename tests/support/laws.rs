//! What holds for any rules that answer a packet, whatever they are written with.

use std::collections::{BTreeMap, BTreeSet};

use ferroproxy::compile::walk::{Fate, Outcome, Packet};
use ferroproxy::model::{Config, EndpointAddr};
use ferroproxy::state::Snapshot;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::oracle::Oracle;
use crate::small_world::{Shot, World};

/// The bit of the mark that is ours.
pub(crate) fn bit(config: &Config) -> u32 {
    1 << config.masquerade_bit
}

/// The packets meet in the rules what the semantics say.
pub(crate) fn agree(
    world: &World,
    objects: &Snapshot,
    shots: &[Shot],
    outcomes: impl Fn(&Packet) -> BTreeSet<Outcome>,
) -> Result<(), TestCaseError> {
    let oracle = Oracle { config: &world.config, objects, around: &world.around };
    for packet in packets(world, shots) {
        prop_assert_eq!(outcomes(&packet), oracle.outcomes(&packet), "{:?}", packet);
    }
    Ok(())
}

/// What a client's memory holds after one more endpoint, and how much of the past it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// One endpoint a client: the last one.
    One,
    /// One for each policy its packets fell under: which one comes first is the rules' affair.
    EachPolicy,
}

/// Packets that come one after the other: a client keeps its endpoint while that may be used, and gets one it may use otherwise.
/// `next` walks a packet, drawing a number below the one it names.
pub(crate) fn stick(
    world: &World,
    objects: &Snapshot,
    (shots, seed): (&[Shot], u32),
    memory: Memory,
    mut next: impl FnMut(&Packet, &mut dyn FnMut(u32) -> u32) -> Outcome,
) -> Result<(), TestCaseError> {
    let oracle = Oracle { config: &world.config, objects, around: &world.around };
    let mut kept = BTreeMap::<_, Vec<EndpointAddr>>::new();
    let mut drawn = seed;
    let mut random = |modulus| {
        drawn = drawn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (drawn >> 16) % modulus
    };
    for packet in packets(world, shots) {
        let may = oracle.outcomes(&packet);
        let is = next(&packet, &mut random);
        prop_assert!(may.contains(&is), "{:?}: {:?}", packet, is);
        let Some(port) = oracle.sticky(&packet).filter(|_| is.fate == Fate::Accept) else { continue };
        let kept = kept.entry((port, packet.source)).or_default();
        let usable = kept.iter().any(|before| may.iter().any(|outcome| outcome.destination == *before));
        prop_assert!(!usable || kept.contains(&is.destination), "{:?}: {:?}, kept {:?}", packet, is, kept);
        if memory == Memory::One {
            kept.clear();
        }
        kept.push(is.destination);
    }
    Ok(())
}

/// A packet that brings our bit along asks for a masquerade itself; these do not.
fn packets(world: &World, shots: &[Shot]) -> impl Iterator<Item = Packet> {
    shots.iter().map(|shot| {
        let packet = world.send(shot);
        Packet { mark: packet.mark & !bit(&world.config), ..packet }
    })
}
