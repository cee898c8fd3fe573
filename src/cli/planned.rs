//! What ferroproxy would have in force, in the mode that is configured, and rules that packets can be walked through.

use std::collections::BTreeSet;

use crate::agent::{plan, plan_iptables};
use crate::compile::Compiler;
use crate::compile::claims::Frontend;
use crate::compile::iptables::IptablesCompiler;
use crate::compile::lower::lower;
use crate::compile::seed::Seed;
use crate::compile::walk::{self, Environment, Origin, Programs, possible_destinations};
use crate::model::{Config, Family, ObjectName, ProxyMode, Rejection};
use crate::peer;
use crate::peer::iptables::{Own, parse};
use crate::state::Snapshot;

/// What is wanted for what is known.
pub(super) enum Planned {
    /// In nftables mode.
    Tables(Box<Compiler>),
    /// In iptables mode.
    Chains(Box<IptablesCompiler>),
}

/// Rules of one family.
pub(super) enum Rules {
    /// A table of nf_tables.
    Tables(Programs),
    /// Classical chains.
    Chains(Own),
}

impl Planned {
    /// Everything, and the frontends that could not be had.
    pub(super) fn new(config: &Config, snapshot: &Snapshot) -> (Planned, Vec<Rejection>) {
        match config.mode {
            ProxyMode::Nftables => {
                let (compiler, rejections) = plan(config, snapshot, &Family::ALL, Seed::default());
                (Planned::Tables(Box::new(compiler)), rejections)
            }
            ProxyMode::Iptables => {
                let (compiler, rejections) = plan_iptables(config, snapshot, &Family::ALL);
                (Planned::Chains(Box::new(compiler)), rejections)
            }
        }
    }

    /// The service that owns a frontend.
    pub(super) fn owner_of(&self, frontend: &Frontend) -> Option<&ObjectName> {
        match self {
            Planned::Tables(compiler) => compiler.owner_of(frontend),
            Planned::Chains(compiler) => compiler.owner_of(frontend),
        }
    }

    /// The rules of a family.
    pub(super) fn rules(&self, family: Family) -> Rules {
        match self {
            Planned::Tables(compiler) => Rules::Tables(match compiler.draft().ruleset().get(family) {
                Some(table) => Programs::from_table(table, family, |rule| lower(rule, family)),
                None => Programs { family, sets: Default::default(), chains: Default::default() },
            }),
            Planned::Chains(compiler) => {
                let told = compiler.render();
                let text: String = told.families.get(family).iter().map(ToString::to_string).collect();
                Rules::Chains(Own(parse(&text)))
            }
        }
    }
}

impl Rules {
    /// Everything that can become of a packet; else why that cannot be told.
    pub(super) fn outcomes(
        &self,
        packet: &peer::Packet,
        around: &Environment,
    ) -> Result<BTreeSet<peer::Outcome>, String> {
        match self {
            Rules::Tables(programs) => {
                let outcomes = possible_destinations(programs, &of_peer(packet), around);
                outcomes.map(|outcomes| outcomes.into_keys().map(told).collect()).map_err(|fault| fault.to_string())
            }
            Rules::Chains(own) => own.outcomes(packet, &around.local_addresses).map_err(|unread| unread.to_string()),
        }
    }
}

fn of_peer(packet: &peer::Packet) -> walk::Packet {
    walk::Packet {
        source: packet.source,
        destination: packet.destination,
        protocol: packet.protocol.number(),
        source_port: 40_000,
        destination_port: packet.port,
        mark: 0,
        input_interface: packet.interface.clone(),
        origin: if packet.from_node { Origin::FromNode } else { Origin::Forwarded },
    }
}

/// The walker's words in kube-proxy's: how a packet is refused does not matter here.
fn told(outcome: walk::Outcome) -> peer::Outcome {
    peer::Outcome { fate: fate(outcome.fate), destination: outcome.destination, masqueraded: outcome.masqueraded }
}

/// The walker's word for a fate in kube-proxy's.
pub(super) fn fate(fate: walk::Fate) -> peer::Fate {
    match fate {
        walk::Fate::Accept => peer::Fate::Delivered,
        walk::Fate::Drop => peer::Fate::Dropped,
        walk::Fate::Reject(_) => peer::Fate::Refused,
    }
}
