//! What is in force after a sync, for its report.

use super::Engine;
use super::commit::Committed;
use crate::agent::report::{InForce, Sync, report};
use crate::apply::target::Target;
use crate::compile::Compiler;
use crate::compile::ruleset::{Name, Set, Table};
use crate::model::{Family, MapFill, SyncReport};

impl<T: Target> Engine<T> {
    pub(super) fn report(&self, sync: Sync<'_>, committed: Committed) -> SyncReport {
        let compiler = self.compiler.as_ref();
        let in_force = InForce {
            families: committed.families,
            bytes: committed.bytes,
            operations: committed.operations,
            services: compiler.map_or(0, Compiler::service_count),
            elements: compiler.map_or(0, element_count),
            maps: match committed.operations {
                0 => Vec::new(),
                _ => compiler.map_or_else(Vec::new, fills),
            },
            quarantined: self.quarantine.names(),
        };
        report(sync, in_force, &self.families, self.started, self.oddities.sum())
    }
}

fn element_count(compiler: &Compiler) -> usize {
    let tables = compiler.draft().ruleset().iter().filter_map(|(_, table)| table.as_ref());
    tables.flat_map(|table| table.sets.values()).map(|set| set.elements.len()).sum()
}

/// How full each map and set is that holds what we put.
fn fills(compiler: &Compiler) -> Vec<MapFill> {
    let of_table = |(family, table): (Family, &Option<Table>)| {
        let sets = table.iter().flat_map(|table| &table.sets).filter(|(_, set)| set.def.learned.is_none());
        let fill = |(name, set): (&Name, &Set)| MapFill {
            family,
            name: name.to_string(),
            elements: set.elements.len(),
            capacity: set.def.size,
        };
        sets.map(fill).collect::<Vec<_>>()
    };
    compiler.draft().ruleset().iter().flat_map(of_table).collect()
}
