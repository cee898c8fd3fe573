//! The kernel's own words: expressions of the nf_tables virtual machine, one for one with `net/netfilter/nft_*.c`.
//!
//! [`super::lower`] makes them, `apply` encodes and reads them back, the packet walker runs them.

use super::ruleset::{Name, Verdict};
use crate::model::Family;

/// A 32-bit register, 0..=15: register 0 is the first word of the kernel's `NFT_REG_1`. Longer values fill the following ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(pub u8);

/// Which header a payload expression reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Header {
    /// The IP header (`NFT_PAYLOAD_NETWORK_HEADER`).
    Network,
    /// The TCP, UDP, SCTP or ICMP header (`NFT_PAYLOAD_TRANSPORT_HEADER`).
    Transport,
}

/// A `meta` key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetaKey {
    /// `NFT_META_MARK`, u32 in host order.
    Mark,
    /// `NFT_META_PRIORITY`, u32 in host order: the packet's scheduling class.
    Priority,
    /// `NFT_META_L4PROTO`, one byte.
    L4Proto,
    /// `NFT_META_IIFNAME`, 16 bytes, zero padded.
    InputInterfaceName,
}

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CmpOp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
}

/// What a rule does with an element of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DynsetOp {
    /// Adds it, or starts its timeout anew; the data of one that is there stays as it is (`NFT_DYNSET_OP_UPDATE`).
    Update,
    /// Removes it, if it is there (`NFT_DYNSET_OP_DELETE`).
    Delete,
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectWith {
    /// A TCP reset (`NFT_REJECT_TCP_RST`).
    TcpReset,
    /// ICMP (3/3) or ICMPv6 (1/4) port unreachable (`NFT_REJECT_ICMP_UNREACH`).
    PortUnreachable,
}

/// `RTN_LOCAL`: the route type of a local address, as the fib expression gives it (u32, host order).
pub const RTN_LOCAL: u32 = 2;

/// `IPS_DST_NAT`: the conntrack status bit of a connection whose destination was rewritten (u32, host order).
pub const IPS_DST_NAT: u32 = 1 << 5;

/// One expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Loads `len` bytes of a header at `offset`.
    Payload {
        /// Which header.
        header: Header,
        /// Offset in bytes.
        offset: u32,
        /// Length in bytes.
        len: u32,
        /// Where to.
        dreg: Reg,
    },
    /// Loads a meta value.
    Meta {
        /// Which.
        key: MetaKey,
        /// Where to.
        dreg: Reg,
    },
    /// Sets a meta value from a register: the mark or the priority.
    MetaSet {
        /// Which.
        key: MetaKey,
        /// From where.
        sreg: Reg,
    },
    /// Loads the route type of the source or destination address.
    FibType {
        /// Of the source instead of the destination.
        source: bool,
        /// Where to.
        dreg: Reg,
    },
    /// Loads the conntrack status bits.
    CtStatus {
        /// Where to.
        dreg: Reg,
    },
    /// `dreg = (sreg & mask) ^ xor`; mask and xor have the operand's length.
    Bitwise {
        /// From where.
        sreg: Reg,
        /// Where to.
        dreg: Reg,
        /// The and part.
        mask: Vec<u8>,
        /// The xor part.
        xor: Vec<u8>,
    },
    /// Ends the rule unless the comparison holds. `data` may be shorter than what was loaded (a prefix).
    Cmp {
        /// What is compared.
        sreg: Reg,
        /// How.
        op: CmpOp,
        /// With what.
        data: Vec<u8>,
    },
    /// Looks a key up in a plain set; ends the rule unless it is there (or, inverted, if it is).
    InSet {
        /// The set.
        set: Name,
        /// The key's first register.
        sreg: Reg,
        /// Match when the key is not there.
        invert: bool,
    },
    /// Looks a key up in a verdict map and takes the verdict; ends the rule if it is not there.
    Vmap {
        /// The map.
        set: Name,
        /// The key's first register.
        sreg: Reg,
    },
    /// Looks a key up in a data map and loads the data; ends the rule if it is not there.
    Map {
        /// The map.
        set: Name,
        /// The key's first register.
        sreg: Reg,
        /// Where the data goes.
        dreg: Reg,
    },
    /// Changes an element of a map from the packet path. Only a full map ends the rule.
    Dynset {
        /// What to do.
        op: DynsetOp,
        /// The map.
        set: Name,
        /// The key's first register.
        sreg: Reg,
        /// The data's first register; a removal names one too, for the kernel asks for it.
        data: Reg,
        /// After how long the element leaves, in ms; 0 for a removal.
        timeout: u64,
    },
    /// Loads a constant.
    Immediate {
        /// Where to.
        dreg: Reg,
        /// The constant.
        data: Vec<u8>,
    },
    /// A random number below `modulus` (`NFT_NG_RANDOM`), host order.
    Random {
        /// One more than the largest.
        modulus: u32,
        /// Where to.
        dreg: Reg,
    },
    /// Rewrites the destination to the address and port in two registers.
    Dnat {
        /// The family.
        family: Family,
        /// The address.
        addr: Reg,
        /// The port, network order.
        port: Reg,
    },
    /// Rewrites the source to the outgoing interface's address, with fully random ports.
    Masquerade,
    /// Refuses the packet.
    Reject(RejectWith),
    /// Takes a verdict.
    Verdict(Verdict),
}

impl Expr {
    /// The set or map it looks up.
    pub fn set(&self) -> Option<&Name> {
        match self {
            Expr::InSet { set, .. } | Expr::Vmap { set, .. } | Expr::Map { set, .. } | Expr::Dynset { set, .. } => {
                Some(set)
            }
            _ => None,
        }
    }

    /// The chain its verdict leads to.
    pub fn chain(&self) -> Option<&Name> {
        match self {
            Expr::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)) => Some(chain),
            _ => None,
        }
    }
}
