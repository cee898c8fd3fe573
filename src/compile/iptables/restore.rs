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
    /// Changes within chains that stay otherwise.
    pub edits: BTreeMap<Name, Edited>,
    /// Jumps that are missing.
    pub jumps: Vec<Jump>,
    /// Jumps that are to go.
    pub unjumped: Vec<Jump>,
}

/// Changes within a chain: rules without the chain's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// Rules that go.
    pub gone: Vec<String>,
    /// Rules that come, in this order, before all others.
    pub first: Vec<String>,
    /// Rules that come after all others.
    pub last: Vec<String>,
}

impl TableRestore {
    /// Nothing to do in a table.
    pub fn new(table: Table) -> TableRestore {
        TableRestore { table, chains: BTreeMap::new(), edits: BTreeMap::new(), jumps: Vec::new(), unjumped: Vec::new() }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.edits.is_empty() && self.jumps.is_empty() && self.unjumped.is_empty()
    }

    /// How many chains go, and rules of chains that stay.
    pub fn gone(&self) -> usize {
        let chains = self.chains.values().filter(|body| body.is_none()).count();
        chains + self.unjumped.len() + self.edits.values().map(|edited| edited.gone.len()).sum::<usize>()
    }

    /// How many rules it writes.
    pub fn rules(&self) -> usize {
        let bodies = self.chains.values().flatten().map(|body| lines(body)).sum::<usize>();
        let edits = self.edits.values().map(|edited| edited.first.len() + edited.last.len()).sum::<usize>();
        bodies + edits + self.jumps.len()
    }
}

impl TableRestore {
    /// The text for the programs. It says the same as the one for people, chains from the last name to the first: `iptables-legacy-restore` and
    /// `iptables-nft-restore` keep what they are told in sorted lists, and look from the first on for the place of one more.
    pub fn input(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text, self.chains.iter().rev());
        text
    }

    fn write<'a>(
        &self,
        f: &mut impl fmt::Write,
        chains: impl Iterator<Item = (&'a Name, &'a Option<Body>)> + Clone,
    ) -> fmt::Result {
        writeln!(f, "*{}", self.table.name())?;
        chains.clone().try_for_each(|(name, _)| writeln!(f, ":{name} - [0:0]"))?;
        self.unjumped.iter().try_for_each(|jump| writeln!(f, "-D {} {}", jump.from, jump.rule()))?;
        for (chain, edited) in &self.edits {
            edited.gone.iter().try_for_each(|rule| writeln!(f, "-D {chain} {rule}"))?;
        }
        chains.clone().filter_map(|(_, body)| body.as_ref()).try_for_each(|body| f.write_str(body))?;
        for (chain, edited) in &self.edits {
            // Each goes before those before it.
            edited.first.iter().rev().try_for_each(|rule| writeln!(f, "-I {chain} {rule}"))?;
            edited.last.iter().try_for_each(|rule| writeln!(f, "-A {chain} {rule}"))?;
        }
        self.jumps.iter().try_for_each(|jump| writeln!(f, "-I {} {}", jump.from, jump.rule()))?;
        let gone = chains.filter(|(_, body)| body.is_none());
        gone.map(|(name, _)| name).try_for_each(|name| writeln!(f, "-X {name}"))?;
        f.write_str("COMMIT\n")
    }
}

/// How many rules a body has.
pub fn lines(body: &str) -> usize {
    body.bytes().filter(|byte| *byte == b'\n').count()
}

/// `iptables-restore --noflush` reads it; the programs are told [`TableRestore::input`]. A chain that is named is emptied first; a chain that goes must be
/// named before.
impl fmt::Display for TableRestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, self.chains.iter())
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
    edits: impl Iterator<Item = (Table, Name, Edited)>,
    jumps: impl Iterator<Item = Jump>,
    unjumped: impl Iterator<Item = Jump>,
) -> Vec<TableRestore> {
    let mut all = Table::ALL.map(TableRestore::new);
    let at = |table: Table| Table::ALL.iter().position(|of| *of == table).unwrap_or_default();
    chains.for_each(|(table, name, body)| drop(all[at(table)].chains.insert(name, body)));
    edits.for_each(|(table, name, edited)| drop(all[at(table)].edits.insert(name, edited)));
    jumps.for_each(|jump| all[at(jump.table)].jumps.push(jump));
    unjumped.for_each(|jump| all[at(jump.table)].unjumped.push(jump));
    all.into_iter().filter(|table| !table.is_empty()).collect()
}
