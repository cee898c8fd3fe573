//! What became of a packet, and what it met on the way.

use std::fmt;

use crate::compile::expr::{Expr, Reg, RejectWith};
use crate::compile::print::{expr_text, verdict_text};
use crate::compile::ruleset::{Element, HookPoint, Name, Verdict};
use crate::model::EndpointAddr;

/// The walk of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What became of it.
    pub fate: Fate,
    /// Where it goes: its destination after DNAT (host-order port).
    pub destination: EndpointAddr,
    /// Whether its source is rewritten to the node's.
    pub masqueraded: bool,
    /// Its mark at the end.
    pub mark: u32,
    /// Its scheduling class at the end; it starts with none.
    pub priority: u32,
    /// What it met, in order.
    pub steps: Vec<Step>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It goes on to its destination.
    Accept,
    /// It vanishes.
    Drop,
    /// Its sender is told at once.
    Reject(RejectWith),
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// At which hook.
    pub point: HookPoint,
    /// In which chain.
    pub chain: Name,
    /// In which rule of it, from 0.
    pub rule: usize,
    /// What.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was looked up in a set or map.
    Lookup {
        /// The set or map.
        set: Name,
        /// The key as nft writes it.
        key: String,
        /// What was there.
        hit: Option<Hit>,
    },
    /// A random slot was drawn.
    Slot {
        /// Out of how many.
        modulus: u32,
        /// Which.
        slot: u32,
    },
    /// A map learned an element.
    Learned {
        /// The map.
        set: Name,
        /// The key as nft writes it.
        key: String,
        /// What it maps to, as nft writes it.
        value: String,
    },
    /// The mark was set.
    Mark(u32),
    /// The destination was rewritten (host-order port).
    Dnat(EndpointAddr),
    /// The source will be rewritten.
    Masquerade,
    /// It was refused.
    Reject(RejectWith),
    /// A verdict was taken.
    Verdict(Verdict),
}

/// The element a lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The element as nft writes it, comment included.
    pub text: String,
    /// The element itself.
    pub element: Element,
}

/// Why a packet cannot be walked: the kernel would have refused such a table, or never makes one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chain {chain}, rule {}: {reason}", rule + 1)]
pub struct Fault {
    /// In which chain.
    pub chain: Name,
    /// In which rule of it, from 0.
    pub rule: usize,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A register is read that this rule did not write.
    #[error("register word {} is read but not written in this rule", .0.0)]
    Unwritten(Reg),
    /// There are only 16 words.
    #[error("there is no register word {}", .0.0)]
    NoSuchRegister(Reg),
    /// A set is named that is not there.
    #[error("there is no set {0}")]
    NoSuchSet(Name),
    /// A chain is named that is not there.
    #[error("there is no chain {0}")]
    NoSuchChain(Name),
    /// Chains call each other in a ring, or more than 16 deep (`NFT_JUMP_STACK_SIZE`).
    #[error("chains call each other more than 16 deep")]
    TooDeep,
    /// An element does not carry what the lookup wants: a verdict from a verdict map, data from a data map.
    #[error("an element of {0} does not carry what the rule looks up")]
    WrongValue(Name),
    /// The kernel does not allow the expression in this kind of chain.
    #[error("this chain cannot hold `{}`", expr_text(.0))]
    NotHere(Expr),
    /// The packet or an address in the rule is of another family than the table.
    #[error("an address of the other family")]
    WrongFamily,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fate::Accept => "accepted",
            Fate::Drop => "dropped",
            Fate::Reject(RejectWith::TcpReset) => "rejected with a TCP reset",
            Fate::Reject(RejectWith::PortUnreachable) => "rejected as port unreachable",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Lookup { set, hit: Some(hit), .. } => write!(f, "{set} has {}", hit.text),
            Event::Lookup { set, key, hit: None } => write!(f, "{set} has no {key}"),
            Event::Learned { set, key, value } => write!(f, "{set} learns {key} : {value}"),
            Event::Slot { modulus, slot } => write!(f, "random slot {slot} of {modulus}"),
            Event::Mark(mark) => write!(f, "mark becomes {mark:#010x}"),
            Event::Dnat(to) => write!(f, "destination becomes {to}"),
            Event::Masquerade => f.write_str("source becomes the node's"),
            Event::Reject(with) => Fate::Reject(*with).fmt(f),
            Event::Verdict(verdict) => f.write_str(&verdict_text(verdict)),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} rule {}: {}", self.point.nft(), self.chain, self.rule + 1, self.event)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        let masquerade = if self.masqueraded { ", masqueraded" } else { "" };
        match self.fate {
            Fate::Accept => writeln!(f, "accepted, to {}{masquerade}", self.destination),
            fate => writeln!(f, "{fate}"),
        }
    }
}
