//! Everything that can become of a packet, over all random draws.

use std::collections::BTreeMap;

use super::hooks::walk;
use super::packet::{Environment, Packet};
use super::program::Programs;
use super::trace::{Fate, Fault, Trace};
use crate::model::EndpointAddr;

/// What can become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome {
    /// What became of it.
    pub fate: Fate,
    /// Its destination after DNAT.
    pub destination: EndpointAddr,
    /// Whether its source is rewritten to the node's.
    pub masqueraded: bool,
}

/// Each thing that can become of a packet, with the number of draws that lead there: equal numbers are equal chances where a packet
/// meets one draw.
///
/// # Errors
/// As [`walk`].
pub fn possible_destinations(
    programs: &Programs,
    packet: &Packet,
    environment: &Environment,
) -> Result<BTreeMap<Outcome, usize>, Fault> {
    let mut outcomes = BTreeMap::new();
    for Trace { fate, destination, masqueraded, .. } in possible_traces(programs, packet, environment)? {
        *outcomes.entry(Outcome { fate, destination, masqueraded }).or_default() += 1;
    }
    Ok(outcomes)
}

/// One walk for each combination of random draws the packet can meet, lowest slots first.
///
/// # Errors
/// As [`walk`].
pub fn possible_traces(programs: &Programs, packet: &Packet, environment: &Environment) -> Result<Vec<Trace>, Fault> {
    let mut traces = Vec::new();
    let mut draws: Vec<Draw> = Vec::new();
    loop {
        let mut met = 0;
        let mut random = |modulus| {
            if met == draws.len() {
                draws.push(Draw { slot: 0, modulus });
            }
            met += 1;
            draws[met - 1].slot
        };
        traces.push(walk(programs, packet, environment, &mut random)?);
        if !advance(&mut draws) {
            return Ok(traces);
        }
    }
}

struct Draw {
    slot: u32,
    modulus: u32,
}

/// Moves the last draw that has a slot left, and forgets those after it; `false` when all are done.
fn advance(draws: &mut Vec<Draw>) -> bool {
    while let Some(last) = draws.last_mut() {
        last.slot += 1;
        if last.slot < last.modulus {
            return true;
        }
        draws.pop();
    }
    false
}
