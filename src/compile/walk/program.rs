//! What the machine runs: sets with elements, chains with lowered rules.

use std::collections::BTreeMap;

use crate::compile::expr::Expr;
use crate::compile::ruleset::{Chain, Hook, Name, Set, Table};
use crate::compile::stmt::Rule;
use crate::model::Family;

/// One table, ready to run. Made from a ruleset, or by literal from what was read back from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// The table's family.
    pub family: Family,
    /// Sets and maps by name.
    pub sets: BTreeMap<Name, Set>,
    /// Chains by name.
    pub chains: BTreeMap<Name, Program>,
}

/// One chain, ready to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Where it is hooked; `None` for a chain that is only jumped to.
    pub hook: Option<Hook>,
    /// The expressions of each rule.
    pub rules: Vec<Vec<Expr>>,
}

impl Programs {
    /// Lowers every rule of a table.
    pub fn from_table(table: &Table, family: Family, lower: impl Fn(&Rule) -> Vec<Expr>) -> Programs {
        let chain = |(name, chain): (&Name, &Chain)| {
            let rules = chain.rules.iter().map(&lower).collect();
            (name.clone(), Program { hook: chain.hook, rules })
        };
        Programs { family, sets: table.sets.clone(), chains: table.chains.iter().map(chain).collect() }
    }
}
