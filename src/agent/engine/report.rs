//! What a sync says of itself.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::commit::Committed;
use super::{Arrivals, Engine};
use crate::apply::target::Target;
use crate::compile::Compiler;
use crate::compile::ruleset::{Name, Set, Table};
use crate::model::{
    Drift, Family, FamilyOutcome, HintsUnused, MapFill, NoLocalEndpoints, PerFamily, Rejection, Stage, SyncKind,
    SyncReport,
};
use crate::policy::{HintsIgnored, PortRoutes, Route};
use crate::state::Changes;

impl<T: Target> Engine<T> {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn report(
        &self,
        kind: SyncKind,
        changes: Changes,
        rejections: Vec<Rejection>,
        arrivals: &Arrivals,
        times: Times,
        committed: Committed,
        drift: Option<Vec<Drift>>,
    ) -> SyncReport {
        let (ended, ended_at) = (Instant::now(), Timestamp::now());
        let since = |trigger: &Timestamp| Duration::try_from(ended_at.duration_since(*trigger)).unwrap_or_default();
        let first = arrivals.events.iter().min().copied().unwrap_or(times.begun);
        let served = committed.families.iter().all(|(_, outcome)| outcome.is_ok());
        let (triggers, events) =
            if served { (&changes.triggers[..], &arrivals.events[..]) } else { Default::default() };
        let triggers = triggers.iter().filter(|trigger| **trigger > self.started);
        let mut families = committed.families;
        for family in Family::ALL.into_iter().filter(|family| !self.families.contains(family)) {
            *families.get_mut(family) = FamilyOutcome::Absent;
        }
        let counts = total(self.counts.values());
        SyncReport {
            kind,
            ended: ended_at,
            families,
            stages: vec![
                (Stage::Queue, times.begun.saturating_duration_since(first)),
                (Stage::Compile, times.compiled.saturating_duration_since(times.begun)),
                (Stage::Commit, ended - times.compiled),
            ],
            duration: ended.saturating_duration_since(times.begun),
            programming_latencies: triggers.map(since).collect(),
            event_latencies: events.iter().map(|at| ended.saturating_duration_since(*at)).collect(),
            service_changes: changes.service_events,
            endpoint_changes: changes.slice_events,
            commit_bytes: committed.bytes,
            operations: committed.operations,
            services: self.compiler.as_ref().map_or(0, Compiler::service_count),
            elements: self.compiler.as_ref().map_or(0, element_count),
            maps: match committed.operations {
                0 => Vec::new(),
                _ => self.compiler.as_ref().map_or_else(Vec::new, fills),
            },
            no_local_endpoints: PerFamily::from_fn(|family| counts.get(family).no_local),
            hints_unused: PerFamily::from_fn(|family| counts.get(family).hints),
            rejections,
            quarantined: self.quarantine.names(),
            audited: drift.is_some(),
            drift: drift.unwrap_or_default(),
        }
    }
}

/// When the stages of a sync began and ended.
pub(super) struct Times {
    pub(super) begun: Instant,
    pub(super) compiled: Instant,
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

/// What is odd about a service's ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::agent) struct Counts {
    /// Their Local policy finds no local endpoint while there are others.
    pub(in crate::agent) no_local: NoLocalEndpoints,
    /// Topology hints that are not used.
    pub(in crate::agent) hints: HintsUnused,
}

/// What is odd over all services.
pub(in crate::agent) fn total<'a>(all: impl Iterator<Item = &'a PerFamily<Counts>>) -> PerFamily<Counts> {
    let mut total = PerFamily::<Counts>::default();
    for (family, Counts { no_local, hints }) in all.flat_map(PerFamily::iter) {
        let sum = total.get_mut(family);
        sum.no_local.internal += no_local.internal;
        sum.no_local.external += no_local.external;
        sum.hints.incomplete += hints.incomplete;
        sum.hints.no_zone += hints.no_zone;
        sum.hints.not_for_us += hints.not_for_us;
    }
    total
}

/// Counts what is odd; `None` when nothing is.
pub(in crate::agent) fn count(ports: &[PortRoutes]) -> Option<PerFamily<Counts>> {
    let mut counts = PerFamily::<Counts>::default();
    for port in ports {
        let Counts { no_local, hints } = counts.get_mut(port.family);
        no_local.internal += usize::from(port.internal == Route::Drop);
        no_local.external += usize::from(port.external == Route::Drop && port.is_external());
        match port.hints_ignored {
            Some(HintsIgnored::Incomplete) => hints.incomplete += 1,
            Some(HintsIgnored::NoZone) => hints.no_zone += 1,
            Some(HintsIgnored::NotForUs) => hints.not_for_us += 1,
            Some(HintsIgnored::None) | None => {}
        }
    }
    (counts != PerFamily::default()).then_some(counts)
}
