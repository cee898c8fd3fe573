//! The machine: chains, rules, jumps and returns, as `nft_do_chain` runs them.

use super::learned::Learned;
use super::packet::{Environment, Packet};
use super::program::Programs;
use super::registers::Registers;
use super::trace::{Event, Fate, Fault, Reason, Step};
use crate::compile::expr::{Expr, RejectWith};
use crate::compile::ruleset::{Hook, Name, Verdict};

/// How deep chains may call each other, base chain included (`NFT_JUMP_STACK_SIZE`; the kernel counts jumps and gotos alike when it
/// checks a table).
const DEPTH: usize = 16;

/// A packet on its way through a table.
pub(super) struct Machine<'a> {
    pub(super) programs: &'a Programs,
    pub(super) environment: &'a Environment,
    pub(super) random: &'a mut dyn FnMut(u32) -> u32,
    /// What rules have learned from this and earlier packets.
    pub(super) learned: &'a mut Learned,
    /// As it is now: addresses, ports, mark and interface change on the way.
    pub(super) packet: Packet,
    /// The packet's scheduling class.
    pub(super) priority: u32,
    /// The conntrack status bits.
    pub(super) status: u32,
    /// A NAT expression of this hook has bound the connection.
    pub(super) bound: bool,
    pub(super) masqueraded: bool,
    pub(super) steps: Vec<Step>,
}

/// What an expression does with its rule.
pub(super) enum Flow {
    /// The next expression is run.
    Next,
    /// The rule ends here.
    Break,
    /// The rule ends with a verdict.
    Take(Verdict),
    /// The rule ends with a refusal.
    Refuse(RejectWith),
}

/// A place in the program, and how the machine came there.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The base chain's hook.
    pub(super) hook: Hook,
    pub(super) chain: &'a Name,
    pub(super) rule: usize,
    depth: usize,
}

impl<'a> Place<'a> {
    fn next(self) -> Self {
        Place { rule: self.rule + 1, ..self }
    }

    pub(super) fn fault(self, reason: Reason) -> Fault {
        Fault { chain: self.chain.clone(), rule: self.rule, reason }
    }
}

impl<'a> Machine<'a> {
    /// Runs one base chain to its verdict. Our base chains have policy accept.
    pub(super) fn run(&mut self, base: &'a Name, hook: Hook) -> Result<Fate, Fault> {
        let mut place = Place { hook, chain: base, rule: 0, depth: 0 };
        let mut callers = Vec::new();
        loop {
            let verdict = match self.rule_at(place)? {
                Some(rule) => match self.run_rule(place, rule)? {
                    Flow::Next | Flow::Break => {
                        place = place.next();
                        continue;
                    }
                    Flow::Refuse(with) => return Ok(self.refuse(with)),
                    Flow::Take(verdict) => verdict,
                },
                None => Verdict::Return,
            };
            place = match verdict {
                Verdict::Accept => return Ok(Fate::Accept),
                Verdict::Drop => return Ok(Fate::Drop),
                Verdict::Jump(to) => {
                    callers.push(place.next());
                    self.enter(place, &to)?
                }
                Verdict::Goto(to) => self.enter(place, &to)?,
                Verdict::Return => match callers.pop() {
                    Some(caller) => caller,
                    None => return Ok(Fate::Accept),
                },
            };
        }
    }

    fn rule_at(&self, place: Place<'a>) -> Result<Option<&'a [Expr]>, Fault> {
        let chain = self.programs.chains.get(place.chain);
        let chain = chain.ok_or_else(|| place.fault(Reason::NoSuchChain(place.chain.clone())))?;
        Ok(chain.rules.get(place.rule).map(Vec::as_slice))
    }

    fn run_rule(&mut self, place: Place<'a>, rule: &'a [Expr]) -> Result<Flow, Fault> {
        let mut registers = Registers::default();
        for expr in rule {
            let flow = self.evaluate(place, expr, &mut registers).map_err(|reason| place.fault(reason))?;
            if !matches!(flow, Flow::Next) {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn enter(&self, from: Place<'a>, to: &Name) -> Result<Place<'a>, Fault> {
        let depth = from.depth + 1;
        if depth >= DEPTH {
            return Err(from.fault(Reason::TooDeep));
        }
        let found = self.programs.chains.get_key_value(to);
        let (chain, _) = found.ok_or_else(|| from.fault(Reason::NoSuchChain(to.clone())))?;
        Ok(Place { hook: from.hook, chain, rule: 0, depth })
    }

    /// A reset can only answer TCP; other packets are dropped without a word (`nf_send_reset`).
    fn refuse(&self, with: RejectWith) -> Fate {
        match with {
            RejectWith::TcpReset if !self.packet.is_tcp() => Fate::Drop,
            _ => Fate::Reject(with),
        }
    }

    pub(super) fn note(&mut self, place: Place<'a>, event: Event) {
        let Place { hook, chain, rule, .. } = place;
        self.steps.push(Step { point: hook.point, chain: chain.clone(), rule, event });
    }
}
