//! A ruleset as a value: two tables of sets, maps and chains.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::bytes::Bytes;
use super::elements::Elements;
use super::stmt::Rule;
use crate::model::{Family, PerFamily};

/// The table's name, in both families.
pub const TABLE: &str = "ferroproxy";

/// The name of a chain, set or map. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Name(name.into())
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Name(name.into())
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Both tables. `None`: the table is not there.
pub type Ruleset = PerFamily<Option<Table>>;

/// One table `ip ferroproxy` or `ip6 ferroproxy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Sets and maps by name.
    pub sets: BTreeMap<Name, Set>,
    /// Chains by name.
    pub chains: BTreeMap<Name, Chain>,
}

/// A set or map with its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// What it is.
    pub def: SetDef,
    /// Its elements by key.
    pub elements: Elements,
}

/// The shape of a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetDef {
    /// The fields of the key; more than one is a concatenation.
    pub key: Vec<Field>,
    /// What an element carries besides its key.
    pub data: DataType,
    /// Keys are ranges (`flags interval`): every element has an end.
    pub interval: bool,
    /// The most elements. With `Some`, the kernel uses the fixed-size hash, and one element more is ENFILE.
    pub size: Option<u32>,
    /// Elements are learned from packets and leave after this time in ms (`flags dynamic,timeout`).
    pub learned: Option<u64>,
    /// Each element counts the packets that look it up and find it (`counter`).
    pub counted: bool,
}

/// What an element of a set carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataType {
    /// Nothing: a plain set.
    None,
    /// A verdict: a verdict map.
    Verdict,
    /// A value of these fields: a data map.
    Fields(Vec<Field>),
}

/// One field of a key, of data or of a match: what nft writes and where a packet has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `ip saddr` or `ip6 saddr`.
    Saddr(Family),
    /// `ip daddr` or `ip6 daddr`.
    Daddr(Family),
    /// `meta l4proto`.
    L4Proto,
    /// `th sport`.
    Sport,
    /// `th dport`.
    Dport,
    /// `numgen random mod N`: a random slot below N, in host order.
    Random(u32),
    /// `meta mark`, in host order.
    Mark,
    /// `meta priority`, in host order: session affinity's scratch register.
    Priority,
    /// `meta priority & BITS`: only in a rule, never in the shape of a set.
    PriorityBits(u32),
}

/// One element's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// What the key maps to.
    pub value: Value,
    /// A comment for readers, at most [`COMMENT_MAX`] bytes.
    pub comment: Option<Arc<str>>,
}

/// The longest comment nft reads back (`NFTNL_UDATA_COMMENT_MAXLEN` counts the end byte).
pub const COMMENT_MAX: usize = 127;

/// What a key maps to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Nothing: the key is in the set.
    Present,
    /// An interval's inclusive end, field by field (sets with `interval`).
    Until(Bytes),
    /// A verdict.
    Verdict(Verdict),
    /// Data in wire form.
    Data(Bytes),
}

/// Where a packet goes next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Accept in this base chain.
    Accept,
    /// Drop.
    Drop,
    /// Back to the calling chain.
    Return,
    /// Call a chain.
    Jump(Name),
    /// Go to a chain and not come back.
    Goto(Name),
}

/// A chain with its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Where it is hooked; `None` for a chain that is only jumped to.
    pub hook: Option<Hook>,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// The hook of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hook {
    /// The chain type.
    pub kind: ChainKind,
    /// The netfilter hook.
    pub point: HookPoint,
    /// The priority as a number: nft 1.0.6 refuses names in some hooks.
    pub priority: i32,
}

/// The type of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChainKind {
    /// Sees the first packet of a connection.
    Nat,
    /// Sees every packet.
    Filter,
}

/// A netfilter hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookPoint {
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

impl HookPoint {
    /// nft's word.
    pub fn nft(self) -> &'static str {
        match self {
            HookPoint::Prerouting => "prerouting",
            HookPoint::Input => "input",
            HookPoint::Forward => "forward",
            HookPoint::Output => "output",
            HookPoint::Postrouting => "postrouting",
        }
    }

    /// The kernel's number (`NF_INET_*`, `include/uapi/linux/netfilter.h`).
    pub fn number(self) -> u32 {
        match self {
            HookPoint::Prerouting => 0,
            HookPoint::Input => 1,
            HookPoint::Forward => 2,
            HookPoint::Output => 3,
            HookPoint::Postrouting => 4,
        }
    }
}

impl ChainKind {
    /// nft's and the kernel's word.
    pub fn nft(self) -> &'static str {
        match self {
            ChainKind::Nat => "nat",
            ChainKind::Filter => "filter",
        }
    }
}
