//! The words of a question to rules: a packet, and what can become of it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use crate::model::{EndpointAddr, Family, Protocol};

/// The first packet of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The source address.
    pub source: IpAddr,
    /// The destination address, of the same family.
    pub destination: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The destination port (host order).
    pub port: u16,
    /// The interface it came in by; `None` for packets of the node itself.
    pub interface: Option<String>,
    /// Whether a process of the node sent it.
    pub from_node: bool,
}

impl Packet {
    /// The family of its addresses.
    pub fn family(&self) -> Family {
        Family::of(self.destination)
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It goes on to its destination.
    Delivered,
    /// It vanishes.
    Dropped,
    /// Its sender is told at once.
    Refused,
}

/// One thing that can become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome {
    /// What becomes of it.
    pub fate: Fate,
    /// Where it goes (host-order port); as it was asked for when no rule rewrote it.
    pub destination: EndpointAddr,
    /// Whether its source becomes the node's.
    pub masqueraded: bool,
}

/// One walk of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// What becomes of it.
    pub outcome: Outcome,
    /// Whether a rule rewrote its destination.
    pub is_dnated: bool,
    /// What it met, in order.
    pub steps: Vec<Step>,
}

/// A rule that a packet met: it matched, and something came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// At which hook, as nft writes it.
    pub hook: &'static str,
    /// In which table.
    pub table: String,
    /// In which chain.
    pub chain: String,
    /// Which rule of it, from 1, as `iptables -L --line-numbers` counts.
    pub number: usize,
    /// What it says, as `iptables-save` writes it, without the chain.
    pub rule: String,
    /// The frontend it asks for, if it asks for one.
    pub frontend: Option<Frontend>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} rule {}: {}", self.hook, self.table, self.chain, self.number, self.rule)
    }
}

/// What a client connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frontend {
    /// The family.
    pub family: Family,
    /// The address; `None` for a node port.
    pub ip: Option<IpAddr>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port (host order).
    pub port: u16,
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => write!(f, "{}/{}", SocketAddr::new(ip, self.port), self.protocol),
            None => write!(f, "{} node port {}/{}", self.family, self.port, self.protocol),
        }
    }
}

/// A rule that a packet met cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("chain {chain}: {reason}")]
pub struct Unread {
    /// In which chain.
    pub chain: String,
    /// What is not understood.
    pub reason: String,
}
