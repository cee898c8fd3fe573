//! Rules as statements a person would write. [`super::lower`] turns them into the kernel's expressions, [`super::print`] into
//! nft text.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ruleset::{Field, Name, Verdict};

/// One rule: statements from left to right; the first that does not match ends the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The statements.
    pub stmts: Vec<Stmt>,
    /// A comment for readers.
    pub comment: Option<&'static str>,
}

impl Rule {
    /// A rule of these statements.
    pub fn new(stmts: impl Into<Vec<Stmt>>) -> Rule {
        Rule { stmts: stmts.into(), comment: None }
    }

    /// The same rule with a comment.
    pub fn comment(mut self, comment: &'static str) -> Rule {
        self.comment = Some(comment);
        self
    }
}

/// Which way a match goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    /// Matches when it is so.
    In,
    /// Matches when it is not so (`!=`).
    NotIn,
}

/// One statement of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stmt {
    /// `ip saddr 10.0.0.0/8`: a source or destination address field inside a network.
    Net(Field, Is, IpNet),
    /// `meta l4proto tcp`.
    L4Proto(u8),
    /// `iifname "cni0"`, or with a trailing `*` in the text, every name with that beginning.
    InputInterface {
        /// The name, or its beginning.
        name: String,
        /// Whether `name` is only the beginning.
        prefix: bool,
        /// Which way the match goes.
        is: Is,
    },
    /// `fib saddr type local`.
    SourceIsLocal,
    /// `fib daddr type local`, or `!= local`.
    DestinationIsLocal(Is),
    /// `ct status dnat`.
    WasDnated,
    /// `meta mark & BITS != 0`.
    MarkHas(u32),
    /// `ip daddr . meta l4proto . th dport @set`.
    InSet(Vec<Field>, Is, Name),
    /// `ip daddr . meta l4proto . th dport vmap @map`.
    Vmap(Vec<Field>, Name),
    /// `meta mark set meta mark | BITS`.
    MarkSet(u32),
    /// `meta mark set meta mark ^ BITS`.
    MarkToggle(u32),
    /// `meta priority & BITS == BITS`.
    PriorityHas(u32),
    /// `meta priority set none`.
    PriorityClear,
    /// `meta priority set FIELDS map @map`. No element: the rule ends.
    PriorityMap(Vec<Field>, Name),
    /// `update @map { FIELDS timeout TIME : meta priority }`: learns, or starts the timeout anew. A full map ends the rule.
    Learn {
        /// The map.
        map: Name,
        /// The key.
        key: Vec<Field>,
        /// After how long it is forgotten, in seconds.
        seconds: u32,
    },
    /// `delete @map { FIELDS : meta priority }`: forgets, if it is known.
    Forget {
        /// The map.
        map: Name,
        /// The key.
        key: Vec<Field>,
    },
    /// `dnat ip to FIELDS map @map`: to the address and port the map holds. No element: the rule ends.
    DnatMap(Vec<Field>, Name),
    /// `dnat to ADDRESS:PORT`.
    Dnat(IpAddr, u16),
    /// `masquerade fully-random`.
    Masquerade,
    /// `reject with tcp reset`; needs [`Stmt::L4Proto`] TCP before it.
    RejectTcpReset,
    /// `reject`: ICMP or ICMPv6 port unreachable.
    RejectPortUnreachable,
    /// A verdict.
    Verdict(Verdict),
}
