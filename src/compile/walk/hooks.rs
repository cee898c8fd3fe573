//! The way of a first packet through the netfilter hooks.

use std::cmp::Reverse;

use super::learned::Learned;
use super::machine::Machine;
use super::packet::{Environment, Origin, Packet};
use super::program::Programs;
use super::trace::{Fate, Fault, Reason, Trace};
use crate::compile::ruleset::{ChainKind, Hook, HookPoint, Name};
use crate::model::{EndpointAddr, Family};

/// Walks a packet through all hooks it passes. `random` answers each `numgen random mod N` with a number below N.
///
/// A packet that came in passes prerouting, then input if its destination is local by then, else forward and postrouting. One of the
/// node itself passes output and postrouting; if its destination is local it comes back over `lo` through prerouting and input, where
/// its NAT is already settled. The address a masqueraded packet gets is not modelled: later chains see the old source.
///
/// # Errors
/// [`Fault`] for a table the kernel would not have loaded, or a packet of the other family.
pub fn walk(
    programs: &Programs,
    packet: &Packet,
    environment: &Environment,
    random: &mut dyn FnMut(u32) -> u32,
) -> Result<Trace, Fault> {
    walk_next(programs, packet, environment, random, &mut Learned::default())
}

/// The same for a packet that comes after others: `learned` holds what rules learned from those before, and takes what they learn from
/// this one.
///
/// # Errors
/// As [`walk`].
pub fn walk_next(
    programs: &Programs,
    packet: &Packet,
    environment: &Environment,
    random: &mut dyn FnMut(u32) -> u32,
    learned: &mut Learned,
) -> Result<Trace, Fault> {
    let mut packet = packet.clone();
    if packet.origin == Origin::FromNode {
        packet.input_interface = None;
    }
    let machine = Machine {
        programs,
        environment,
        random,
        learned,
        packet,
        priority: 0,
        status: 0,
        bound: false,
        masqueraded: false,
        steps: Vec::new(),
    };
    let mut path = Path { machine, destination_settled: false, source_settled: false };
    let fate = path.run()?;
    let Machine { packet, priority, masqueraded, steps, .. } = path.machine;
    let destination = EndpointAddr { ip: packet.destination, port: packet.destination_port };
    Ok(Trace { fate, destination, masqueraded, mark: packet.mark, priority, steps })
}

struct Path<'a> {
    machine: Machine<'a>,
    /// The connection's destination is bound, rewritten or not: no further NAT chain is asked.
    destination_settled: bool,
    /// The same for its source.
    source_settled: bool,
}

impl<'a> Path<'a> {
    fn run(&mut self) -> Result<Fate, Fault> {
        use HookPoint::{Forward, Input, Output, Postrouting, Prerouting};
        self.check_family()?;
        let packet = &self.machine.packet;
        let first = if packet.origin == Origin::FromNode { Output } else { Prerouting };
        let fate = self.pass(first)?;
        let is_local = self.machine.environment.is_local(self.machine.packet.destination);
        let rest: &[HookPoint] = match (first, is_local) {
            (Output, false) => &[Postrouting],
            (Output, true) => &[Postrouting, Prerouting, Input],
            (_, false) => &[Forward, Postrouting],
            (_, true) => &[Input],
        };
        rest.iter().try_fold(fate, |fate, point| if fate == Fate::Accept { self.pass(*point) } else { Ok(fate) })
    }

    fn check_family(&self) -> Result<(), Fault> {
        let Machine { packet, programs, .. } = &self.machine;
        let same = [packet.source, packet.destination].iter().all(|ip| Family::of(*ip) == programs.family);
        let fault = || Fault { chain: Name::from("(none)"), rule: 0, reason: Reason::WrongFamily };
        same.then_some(()).ok_or_else(fault)
    }

    /// Runs the chains of one hook. All NAT chains stand together where the kernel's NAT engine is hooked: their own priorities only
    /// order them among themselves.
    fn pass(&mut self, point: HookPoint) -> Result<Fate, Fault> {
        if point == HookPoint::Prerouting && self.machine.packet.origin == Origin::FromNode {
            self.machine.packet.input_interface = Some("lo".into());
        }
        let chains = chains_at(self.machine.programs, point);
        let engine = nat_priority(point);
        let (nat, filter): (Vec<_>, Vec<_>) = chains.into_iter().partition(|(_, hook)| hook.kind == ChainKind::Nat);
        let (before, after): (Vec<_>, Vec<_>) = filter.into_iter().partition(|(_, hook)| hook.priority < engine);
        let mut fate = self.filter(&before)?;
        if fate == Fate::Accept {
            fate = self.nat(point, &nat)?;
        }
        if fate == Fate::Accept { self.filter(&after) } else { Ok(fate) }
    }

    fn filter(&mut self, chains: &[(&'a Name, Hook)]) -> Result<Fate, Fault> {
        for (name, hook) in chains {
            let fate = self.machine.run(name, *hook)?;
            if fate != Fate::Accept {
                return Ok(fate);
            }
        }
        Ok(Fate::Accept)
    }

    /// Asks NAT chains until one binds; if none does, the connection is bound as it is.
    fn nat(&mut self, point: HookPoint, chains: &[(&'a Name, Hook)]) -> Result<Fate, Fault> {
        let rewrites_destination = matches!(point, HookPoint::Prerouting | HookPoint::Output);
        let settled = if rewrites_destination { self.destination_settled } else { self.source_settled };
        if settled || point == HookPoint::Forward {
            return Ok(Fate::Accept);
        }
        self.machine.bound = false;
        for (name, hook) in chains {
            let fate = self.machine.run(name, *hook)?;
            if fate != Fate::Accept {
                return Ok(fate);
            }
            if self.machine.bound {
                break;
            }
        }
        match rewrites_destination {
            true => self.destination_settled = true,
            false => self.source_settled = true,
        }
        Ok(Fate::Accept)
    }
}

/// Where the kernel hooks its NAT engine (`NF_IP_PRI_NAT_DST`, `NF_IP_PRI_NAT_SRC`). A filter chain of exactly this priority is taken
/// to come after it; the kernel goes by which was registered last.
fn nat_priority(point: HookPoint) -> i32 {
    match point {
        HookPoint::Prerouting | HookPoint::Output => -100,
        HookPoint::Input | HookPoint::Forward | HookPoint::Postrouting => 100,
    }
}

/// The base chains of a hook by priority. Of equal ones the kernel runs the most recently registered first
/// (`nf_hook_entries_grow`); a table does not tell, so chains are taken to be registered in the order of their names.
fn chains_at(programs: &Programs, point: HookPoint) -> Vec<(&Name, Hook)> {
    let hooked = programs.chains.iter().filter_map(|(name, program)| Some((name, program.hook?)));
    let mut chains: Vec<_> = hooked.filter(|(_, hook)| hook.point == point).collect();
    chains.sort_by_key(|(name, hook)| (hook.priority, Reverse(*name)));
    chains
}
