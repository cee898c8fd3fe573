//! What `iptables-restore` is told: the transaction of this mode, and its text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Table;
use super::frame::Jump;
use crate::compile::ruleset::Name;
use crate::model::{Family, PerFamily};

/// The rules of a chain, as lines for `iptables-restore`; each ends with a newline.
pub type Body = Arc<str>;

/// What one table of one family is told. Chains that do not stand here stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRestore {
    /// The table.
    pub table: Table,
    /// Chains with all their rules; `None`: the chain goes.
    pub chains: BTreeMap<Name, Option<Body>>,
    /// Jumps that are missing.
    pub jumps: Vec<Jump>,
    /// Jumps that are to go.
    pub unjumped: Vec<Jump>,
}

impl TableRestore {
    /// Nothing to do in a table.
    pub fn new(table: Table) -> TableRestore {
        TableRestore { table, chains: BTreeMap::new(), jumps: Vec::new(), unjumped: Vec::new() }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.jumps.is_empty() && self.unjumped.is_empty()
    }

    /// How many chains go.
    pub fn gone(&self) -> usize {
        self.chains.values().filter(|body| body.is_none()).count()
    }

    /// How many rules it writes.
    pub fn rules(&self) -> usize {
        self.chains.values().flatten().map(|body| lines(body)).sum::<usize>() + self.jumps.len()
    }
}

/// How many rules a body has.
pub fn lines(body: &str) -> usize {
    body.bytes().filter(|byte| *byte == b'\n').count()
}

/// `iptables-restore --noflush` reads it. A chain that is named is emptied first; a chain that goes must be named before.
impl fmt::Display for TableRestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "*{}", self.table.name())?;
        self.chains.keys().try_for_each(|name| writeln!(f, ":{name} - [0:0]"))?;
        self.unjumped.iter().try_for_each(|jump| writeln!(f, "-D {} {}", jump.from, jump.rule()))?;
        self.chains.values().flatten().try_for_each(|body| f.write_str(body))?;
        self.jumps.iter().try_for_each(|jump| writeln!(f, "-I {} {}", jump.from, jump.rule()))?;
        let gone = self.chains.iter().filter(|(_, body)| body.is_none());
        gone.map(|(name, _)| name).try_for_each(|name| writeln!(f, "-X {name}"))?;
        f.write_str("COMMIT\n")
    }
}

/// What all tables are told, in the order in which they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restore {
    /// By family; only tables with something to do.
    pub families: PerFamily<Vec<TableRestore>>,
}

impl Restore {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.families.iter().all(|(_, tables)| tables.is_empty())
    }

    /// How many rules it writes.
    pub fn rules(&self) -> usize {
        self.families.iter().flat_map(|(_, tables)| tables).map(TableRestore::rules).sum()
    }
}

/// Each family under a comment that names the command.
impl fmt::Display for Restore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (family, tables) in self.families.iter().filter(|(_, tables)| !tables.is_empty()) {
            writeln!(f, "# {} --noflush", command(family))?;
            tables.iter().try_for_each(|table| table.fmt(f))?;
        }
        Ok(())
    }
}

/// The command of a family.
pub fn command(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables-restore",
        Family::V6 => "ip6tables-restore",
    }
}

/// Sorts what is to be done by table.
pub(super) fn tables(
    chains: impl Iterator<Item = (Table, Name, Option<Body>)>,
    jumps: impl Iterator<Item = Jump>,
    unjumped: impl Iterator<Item = Jump>,
) -> Vec<TableRestore> {
    let mut all = Table::ALL.map(TableRestore::new);
    let at = |table: Table| Table::ALL.iter().position(|of| *of == table).unwrap_or_default();
    chains.for_each(|(table, name, body)| drop(all[at(table)].chains.insert(name, body)));
    jumps.for_each(|jump| all[at(jump.table)].jumps.push(jump));
    unjumped.for_each(|jump| all[at(jump.table)].unjumped.push(jump));
    all.into_iter().filter(|table| !table.is_empty()).collect()
}
