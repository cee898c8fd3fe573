//! What somebody else did to our tables.

use std::fmt;

use super::Family;

/// The kind of a difference between the table in force and the wanted one that nobody of us made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriftKind {
    /// The table is gone.
    Table,
    /// The table's flags are others (`dormant`, ownership).
    Flags,
    /// A chain is gone, foreign, or has another hook or policy.
    Chain,
    /// A chain's rules are others.
    Rules,
    /// A set or map is gone, foreign or of another shape.
    Set,
    /// Elements of a set or map are others.
    Elements,
}

impl DriftKind {
    /// Every kind.
    pub const ALL: [DriftKind; 6] =
        [DriftKind::Table, DriftKind::Flags, DriftKind::Chain, DriftKind::Rules, DriftKind::Set, DriftKind::Elements];

    /// The word in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            DriftKind::Table => "table",
            DriftKind::Flags => "flags",
            DriftKind::Chain => "chain",
            DriftKind::Rules => "rules",
            DriftKind::Set => "set",
            DriftKind::Elements => "elements",
        }
    }
}

/// One object of ours that somebody else changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drift {
    /// The family of its table.
    pub family: Family,
    /// What kind of change it is.
    pub kind: DriftKind,
    /// The table, chain, set or map.
    pub object: String,
    /// What changed, in words.
    pub change: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.family.nft(), self.object, self.change)
    }
}
