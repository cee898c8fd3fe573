//! The way of a first packet through the netfilter hooks, whatever the rules are written in.
//!
//! NAT chains are asked until one binds, once for the destination and once for the source (`nf_nat_inet_fn`). A packet of the node to the
//! node itself comes back over `lo`, where its NAT is settled.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::draws::{Draws, all};
use super::packet::{Fate, Outcome, Packet, Step, Unread, Walk};
use crate::model::EndpointAddr;

/// A netfilter hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hook {
    /// Packets that came in, before routing.
    Prerouting,
    /// Packets to the node itself.
    Input,
    /// Packets the node passes on.
    Forward,
    /// Packets of the node itself.
    Output,
    /// Packets that leave, after routing.
    Postrouting,
}

impl Hook {
    /// As nft writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        }
    }
}

/// A base chain at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage<'a> {
    /// Its name.
    pub(super) chain: &'a str,
    /// Whether it belongs to NAT.
    pub(super) is_nat: bool,
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub(super) struct Flow<'a> {
    /// The packet as it is by now.
    pub(super) packet: Packet,
    /// Its mark.
    pub(super) mark: u32,
    /// Whether its destination was rewritten.
    pub(super) is_dnated: bool,
    /// Whether its source is to be rewritten.
    pub(super) is_masqueraded: bool,
    /// Whether what it meets is noted.
    pub(super) is_recorded: bool,
    /// What it met, as far as it is noted.
    pub(super) steps: Vec<Step>,
    /// The hook it is at.
    pub(super) hook: Hook,
    /// The addresses of the node.
    local: &'a BTreeSet<IpAddr>,
}

impl<'a> Flow<'a> {
    /// A packet that no rule has seen, on a node with these addresses.
    pub(super) fn new(packet: Packet, local: &'a BTreeSet<IpAddr>) -> Flow<'a> {
        let (is_dnated, is_masqueraded, is_recorded) = (false, false, false);
        let (steps, hook) = (Vec::new(), Hook::Prerouting);
        Flow { packet, mark: 0, is_dnated, is_masqueraded, is_recorded, steps, hook, local }
    }

    /// Whether an address is the node's.
    pub(super) fn is_local(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.local.contains(&ip)
    }

    /// Rewrites the destination.
    pub(super) fn dnat(&mut self, to: EndpointAddr) {
        (self.packet.destination, self.packet.port) = (to.ip, to.port);
        self.is_dnated = true;
    }
}

/// Rules that packets can be walked through.
pub(super) trait Rules {
    /// The base chains of a hook, in order.
    fn stages(&self, hook: Hook) -> Vec<Stage<'_>>;
    /// Runs one of them.
    fn run(&self, stage: Stage<'_>, flow: &mut Flow<'_>, draws: &mut Draws) -> Result<Fate, Unread>;
}

/// Everything that can become of a packet on a node with these addresses.
pub(super) fn outcomes(
    rules: &dyn Rules,
    packet: &Packet,
    local: &BTreeSet<IpAddr>,
) -> Result<BTreeSet<Outcome>, Unread> {
    Ok(walks(rules, packet, local, false)?.into_iter().map(|walk| walk.outcome).collect())
}

/// One walk for each combination of random draws; with what it met if that is to be recorded.
pub(super) fn walks(
    rules: &dyn Rules,
    packet: &Packet,
    local: &BTreeSet<IpAddr>,
    is_recorded: bool,
) -> Result<Vec<Walk>, Unread> {
    all(|draws| {
        let packet = Packet { interface: packet.interface.clone().filter(|_| !packet.from_node), ..packet.clone() };
        let flow = Flow { is_recorded, ..Flow::new(packet, local) };
        let mut way = Way { rules, flow, draws, destination_settled: false, source_settled: false };
        let fate = way.run()?;
        let Flow { packet, is_dnated, is_masqueraded, steps, .. } = way.flow;
        let destination = EndpointAddr { ip: packet.destination, port: packet.port };
        Ok(Walk { outcome: Outcome { fate, destination, masqueraded: is_masqueraded }, is_dnated, steps })
    })
}

struct Way<'a, 'b> {
    rules: &'a dyn Rules,
    flow: Flow<'a>,
    draws: &'b mut Draws,
    destination_settled: bool,
    source_settled: bool,
}

impl Way<'_, '_> {
    fn run(&mut self) -> Result<Fate, Unread> {
        use Hook::{Forward, Input, Output, Postrouting, Prerouting};
        let first = if self.flow.packet.from_node { Output } else { Prerouting };
        let mut fate = self.pass(first)?;
        let rest: &[Hook] = match (first, self.flow.is_local(self.flow.packet.destination)) {
            (Output, false) => &[Postrouting],
            (Output, true) => &[Postrouting, Prerouting, Input],
            (_, false) => &[Forward, Postrouting],
            (_, true) => &[Input],
        };
        for hook in rest {
            if fate == Fate::Delivered {
                fate = self.pass(*hook)?;
            }
        }
        Ok(fate)
    }

    fn pass(&mut self, hook: Hook) -> Result<Fate, Unread> {
        if hook == Hook::Prerouting && self.flow.packet.from_node {
            self.flow.packet.interface = Some("lo".to_owned());
        }
        self.flow.hook = hook;
        let of_source = matches!(hook, Hook::Input | Hook::Postrouting);
        let rules = self.rules;
        for stage in rules.stages(hook) {
            let settled = if of_source { self.source_settled } else { self.destination_settled };
            if stage.is_nat && settled {
                continue;
            }
            let fate = rules.run(stage, &mut self.flow, self.draws)?;
            if fate != Fate::Delivered {
                return Ok(fate);
            }
            self.destination_settled |= self.flow.is_dnated;
            self.source_settled |= self.flow.is_masqueraded;
        }
        match hook {
            Hook::Prerouting | Hook::Output => self.destination_settled = true,
            Hook::Postrouting | Hook::Input => self.source_settled = true,
            Hook::Forward => {}
        }
        Ok(Fate::Delivered)
    }
}
