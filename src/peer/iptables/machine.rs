//! Runs a packet through chains of `iptables-save`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::chains::is_jump_of_kube_proxy;
use super::frontends::frontend;
use super::parse::Save;
use super::rule::{Match, Rule, Target};
use crate::peer::draws::Draws;
use crate::peer::packet::{Fate, Outcome, Packet, Step, Unread, Walk};
use crate::peer::way::{Flow, Hook, Rules, Stage, outcomes, walks};

/// Chains call each other no deeper in any rules that load.
const DEEPEST: usize = 32;

/// The rules of a proxy, kube-proxy's or ferroproxy's: of the kernel's built-in chains nothing counts but the jumps to its own.
#[derive(Clone, Debug)]
pub struct Own(pub Save);

impl Own {
    /// Everything that can become of a packet on a node with these addresses.
    ///
    /// # Errors
    /// [`Unread`] when it meets a rule that cannot be judged.
    pub fn outcomes(&self, packet: &Packet, local: &BTreeSet<IpAddr>) -> Result<BTreeSet<Outcome>, Unread> {
        outcomes(self, packet, local)
    }

    /// One walk for each combination of random draws, with what the packet met, on a node with these addresses. First that of a packet for
    /// which every draw is a hit.
    ///
    /// # Errors
    /// [`Unread`] when it meets a rule that cannot be judged.
    pub fn walks(&self, packet: &Packet, local: &BTreeSet<IpAddr>) -> Result<Vec<Walk>, Unread> {
        walks(self, packet, local, true)
    }
}

impl Rules for Own {
    fn stages(&self, hook: Hook) -> Vec<Stage<'_>> {
        let (nat, filter) = (|chain| Stage { chain, is_nat: true }, |chain| Stage { chain, is_nat: false });
        match hook {
            Hook::Prerouting => vec![nat("PREROUTING")],
            Hook::Input => vec![filter("INPUT")],
            Hook::Forward => vec![filter("FORWARD")],
            Hook::Output => vec![nat("OUTPUT"), filter("OUTPUT")],
            Hook::Postrouting => vec![nat("POSTROUTING")],
        }
    }

    fn run(&self, stage: Stage<'_>, flow: &mut Flow<'_>, draws: &mut Draws) -> Result<Fate, Unread> {
        let table = if stage.is_nat { "nat" } else { "filter" };
        let mut machine = Machine { save: &self.0, table, flow, draws, which: Which::Jumps, unread: Vec::new() };
        Ok(machine.chain(stage.chain, 0)?.unwrap_or(Fate::Delivered))
    }
}

/// Which rules of built-in chains count, and what an unknown condition means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// kube-proxy's jumps alone; what is not understood is an error.
    Jumps,
    /// All rules but kube-proxy's; what is not understood does not match, and is noted.
    Others,
    /// All rules, with the same leniency.
    All,
}

/// One run of a built-in chain.
pub(super) struct Machine<'a, 'b, 'c> {
    pub(super) save: &'a Save,
    pub(super) table: &'a str,
    pub(super) flow: &'b mut Flow<'c>,
    pub(super) draws: &'b mut Draws,
    pub(super) which: Which,
    /// Rules that were not understood and taken not to match.
    pub(super) unread: Vec<String>,
}

impl<'a> Machine<'a, '_, '_> {
    /// `None`: back to the caller, or to the policy.
    pub(super) fn chain(&mut self, name: &str, depth: usize) -> Result<Option<Fate>, Unread> {
        if depth > DEEPEST {
            return Err(Unread { chain: name.to_owned(), reason: "chains call each other too deep".to_owned() });
        }
        let save: &'a Save = self.save;
        let Some(chain) = save.chain(self.table, name) else { return Ok(None) };
        let is_built_in = chain.policy.is_some();
        // No rule but the last that is passed rewrites the destination.
        for (number, rule) in chain.candidates(self.flow.packet.destination, self.flow.packet.port) {
            if (is_built_in && !self.counts(name, rule)) || !self.all_hold(name, rule)? {
                continue;
            }
            let met = self.note(name, number, rule);
            match &rule.target {
                Target::Return => return Ok(None),
                Target::Goto(next) => return self.chain(next, depth + 1),
                target => {
                    if let Some(fate) = self.act(name, rule, target, depth)? {
                        return Ok(Some(fate));
                    }
                }
            }
            // A chain from which it came back as it went matters to nobody.
            if rule.target.chain().is_some() && self.flow.steps.len() == met {
                self.flow.steps.pop();
            }
        }
        Ok(None)
    }

    /// Notes a rule that matched. Answers how many are noted.
    fn note(&mut self, chain: &str, number: usize, rule: &Rule) -> usize {
        if !self.flow.is_recorded {
            return 0;
        }
        self.flow.steps.push(Step {
            hook: self.flow.hook.name(),
            table: self.table.to_owned(),
            chain: chain.to_owned(),
            number: number + 1,
            rule: rule.text.clone(),
            frontend: frontend(rule, self.flow.packet.family()),
        });
        self.flow.steps.len()
    }

    fn counts(&self, chain: &str, rule: &Rule) -> bool {
        match self.which {
            Which::All => true,
            Which::Jumps => is_jump_of_kube_proxy(self.table, chain, rule),
            Which::Others => !is_jump_of_kube_proxy(self.table, chain, rule),
        }
    }

    fn act(&mut self, chain: &str, rule: &Rule, target: &Target, depth: usize) -> Result<Option<Fate>, Unread> {
        match target {
            Target::Jump(next) => return self.chain(next, depth + 1),
            // A chain in capitals.
            Target::Unknown(next) if self.save.chain(self.table, next).is_some() => return self.chain(next, depth + 1),
            Target::Accept => return Ok(Some(Fate::Delivered)),
            Target::Drop => return Ok(Some(Fate::Dropped)),
            Target::Reject => return Ok(Some(Fate::Refused)),
            Target::SetMark { value, mask } => self.flow.mark = (self.flow.mark & !mask) ^ value,
            Target::Dnat(to) => {
                self.flow.dnat(*to);
                return Ok(Some(Fate::Delivered));
            }
            Target::Masquerade => {
                self.flow.is_masqueraded = true;
                return Ok(Some(Fate::Delivered));
            }
            Target::Unknown(name) => self.not_understood(chain, rule, &format!("the target {name}"))?,
            Target::None | Target::Return | Target::Goto(_) => {}
        }
        Ok(None)
    }

    fn not_understood(&mut self, chain: &str, rule: &Rule, what: &str) -> Result<(), Unread> {
        if self.which == Which::Jumps {
            let reason = format!("{what} is not understood: {}", rule.text);
            return Err(Unread { chain: chain.to_owned(), reason });
        }
        self.unread.push(format!("-A {chain} {}", rule.text));
        Ok(())
    }

    fn all_hold(&mut self, chain: &str, rule: &Rule) -> Result<bool, Unread> {
        for condition in &rule.matches {
            if let Match::Unknown(what) = condition {
                self.not_understood(chain, rule, what)?;
                return Ok(false);
            }
            if !self.holds(condition) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn holds(&mut self, condition: &Match) -> bool {
        let packet = &self.flow.packet;
        match condition {
            Match::Source(net, holds) => net.contains(&packet.source) == *holds,
            Match::Destination(net, holds) => net.contains(&packet.destination) == *holds,
            Match::Protocol(number, holds) => (*number == 0 || *number == packet.protocol.number()) == *holds,
            Match::DestinationPort(low, high, holds) => (*low..=*high).contains(&packet.port) == *holds,
            Match::Interface(name, holds) => {
                let own = packet.interface.as_deref().unwrap_or_default();
                let same = if name.is_prefix { own.starts_with(&name.text) } else { own == name.text };
                same == *holds
            }
            Match::SourceIsLocal(holds) => self.flow.is_local(packet.source) == *holds,
            Match::DestinationIsLocal(holds) => self.flow.is_local(packet.destination) == *holds,
            Match::Mark { value, mask, holds } => (self.flow.mark & mask == *value) == *holds,
            Match::State(states, holds) => {
                let is = |state: &String| state == "NEW" || (state == "DNAT" && self.flow.is_dnated);
                states.iter().any(is) == *holds
            }
            Match::Random => self.draws.below(2) == 0,
            Match::Always => true,
            // Nobody has taught anything to a packet that was never sent; and the way out is not modelled.
            Match::Learned(_) | Match::OutInterface | Match::Unknown(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
