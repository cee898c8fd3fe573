//! A change of the kernel's tables as a value.

use crate::compile::elements::Elements;
use crate::compile::ruleset::{Hook, Name, SetDef};
use crate::compile::stmt::Rule;
use crate::model::{Family, PerFamily};

/// Everything one commit does: for each family its operations in the order the kernel needs. Committed whole or not at all.
/// Prints as text `nft -f` accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The operations of each family's table.
    pub families: PerFamily<Vec<Op>>,
}

/// One operation on a family's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Make the table.
    AddTable,
    /// Remove the table with all it holds.
    DeleteTable,
    /// Make a set or map.
    AddSet(Name, SetDef),
    /// Remove a set or map; no rule may refer to it any more. The shape is told for printing (`delete set` or `delete map`).
    DeleteSet(Name, SetDef),
    /// Make a chain.
    AddChain(Name, Option<Hook>),
    /// Remove an empty chain.
    DeleteChain(Name),
    /// Remove all rules of a chain.
    FlushChain(Name),
    /// Append a rule.
    AddRule(Name, Rule),
    /// Remove elements. The shape is told for printing; values are those in force.
    DeleteElements(Name, SetDef, Elements),
    /// Add elements.
    AddElements(Name, SetDef, Elements),
}

impl Transaction {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.families.iter().all(|(_, ops)| ops.is_empty())
    }

    /// The families it touches.
    pub fn touched(&self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(|f| !self.families.get(*f).is_empty())
    }

    /// How many objects, rules and elements it adds or removes.
    pub fn weight(&self) -> usize {
        self.families.iter().flat_map(|(_, ops)| ops).map(Op::weight).sum()
    }
}

impl Op {
    fn weight(&self) -> usize {
        match self {
            Op::DeleteElements(_, _, elements) | Op::AddElements(_, _, elements) => elements.len(),
            _ => 1,
        }
    }
}
