//! Packets through the compiled rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferroproxy::agent::plan;
use ferroproxy::compile::lower::lower;
use ferroproxy::compile::walk::{
    Environment, Fate, Learned, Origin, Outcome, Packet, Programs, Trace, possible_traces, walk_next,
};
use ferroproxy::model::{Config, Family, PerFamily};
use ferroproxy::state::Snapshot;

/// The compiled rules of both families.
pub(crate) struct Rules(PerFamily<Programs>);

impl Rules {
    /// Compiles what is known.
    pub(crate) fn of(config: &Config, objects: &Snapshot) -> Rules {
        let (compiler, _) = plan(config, objects, &Family::ALL, Default::default());
        Rules(PerFamily::from_fn(|family| {
            let table = compiler.draft().ruleset().get(family).as_ref().expect("both families are wanted");
            Programs::from_table(table, family, |rule| lower(rule, family))
        }))
    }

    /// A walk for each slot the packet may draw.
    pub(crate) fn traces(&self, packet: &Packet, around: &Environment) -> Vec<Trace> {
        let traces = possible_traces(self.0.get(packet.family()), packet, around);
        traces.unwrap_or_else(|fault| panic!("{fault}: {packet:?}"))
    }

    /// The walk of a packet that comes after others.
    pub(crate) fn next(
        &self,
        packet: &Packet,
        around: &Environment,
        random: &mut dyn FnMut(u32) -> u32,
        learned: &mut PerFamily<Learned>,
    ) -> Outcome {
        let (programs, learned) = (self.0.get(packet.family()), learned.get_mut(packet.family()));
        let trace = walk_next(programs, packet, around, random, learned);
        let Trace { fate, destination, masqueraded, .. } = trace.unwrap_or_else(|fault| panic!("{fault}: {packet:?}"));
        Outcome { fate, destination, masqueraded }
    }

    /// What may become of a packet. Every outcome must have the same chance, and no bit of the mark but ours may change.
    pub(crate) fn outcomes(&self, packet: &Packet, around: &Environment, ours: u32) -> BTreeSet<Outcome> {
        let mut counted = BTreeMap::<Outcome, usize>::new();
        for Trace { fate, destination, masqueraded, mark, priority, steps } in self.traces(packet, around) {
            let leaves = packet.origin == Origin::FromNode || !around.is_local(destination.ip);
            assert!(priority == 0 || !leaves || fate != Fate::Accept, "priority {priority:#x}: {packet:?}");
            assert_eq!(mark & !ours, packet.mark & !ours, "other bits of the mark: {packet:?}\n{steps:#?}");
            assert!(!masqueraded || mark & ours == 0, "the bit outlives the masquerade: {packet:?}");
            *counted.entry(Outcome { fate, destination, masqueraded }).or_default() += 1;
        }
        assert!(counted.values().all(|count| *count == 1), "unequal shares: {packet:?}: {counted:?}");
        counted.into_keys().collect()
    }
}

/// A packet that came in over `interface`.
pub(crate) fn forwarded(from: IpAddr, to: IpAddr, protocol: u8, port: u16, interface: &str) -> Packet {
    Packet {
        source: from,
        destination: to,
        protocol,
        source_port: 40_000,
        destination_port: port,
        mark: 0,
        input_interface: Some(interface.to_owned()),
        origin: Origin::Forwarded,
    }
}

/// A packet of the node itself.
pub(crate) fn of_node(from: IpAddr, to: IpAddr, protocol: u8, port: u16) -> Packet {
    Packet { input_interface: None, origin: Origin::FromNode, ..forwarded(from, to, protocol, port, "none") }
}

/// The node's local addresses.
pub(crate) fn around(local: &[&str]) -> Environment {
    Environment { local_addresses: local.iter().map(|ip| ip.parse().expect("an address")).collect() }
}
