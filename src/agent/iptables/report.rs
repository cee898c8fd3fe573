//! What is in force after a sync, for its report.

use super::IptablesEngine;
use super::commit::Committed;
use crate::agent::report::{InForce, Sync, report};
use crate::compile::iptables::IptablesCompiler;
use crate::model::{Family, SyncReport};

impl<T> IptablesEngine<T> {
    pub(super) fn report(&self, sync: Sync<'_>, committed: Committed) -> SyncReport {
        let compiler = self.compiler.as_ref();
        let count =
            |compiler: &IptablesCompiler| Family::ALL.map(|family| compiler.endpoint_count(family)).iter().sum();
        let in_force = InForce {
            families: committed.families,
            bytes: committed.bytes,
            operations: committed.operations,
            services: compiler.map_or(0, IptablesCompiler::service_count),
            elements: compiler.map_or(0, count),
            ..InForce::default()
        };
        report(sync, in_force, &self.families, self.started, self.oddities.sum())
    }
}
