//! What a sync says of itself.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::IptablesEngine;
use super::commit::Committed;
use crate::agent::engine::{Arrivals, total};
use crate::compile::iptables::IptablesCompiler;
use crate::model::{Drift, Family, FamilyOutcome, PerFamily, Rejection, Stage, SyncKind, SyncReport};
use crate::state::Changes;

/// When the stages of a sync began and ended.
pub(super) struct Times {
    pub(super) begun: Instant,
    pub(super) compiled: Instant,
}

impl<T> IptablesEngine<T> {
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
        let mut families = committed.families;
        for family in Family::ALL.into_iter().filter(|family| !self.families.contains(family)) {
            *families.get_mut(family) = FamilyOutcome::Absent;
        }
        let count =
            |compiler: &IptablesCompiler| Family::ALL.map(|family| compiler.endpoint_count(family)).iter().sum();
        let counts = total(self.counts.values());
        SyncReport {
            kind,
            ended: ended_at,
            families,
            stages: vec![
                (Stage::Queue, times.begun.saturating_duration_since(first)),
                (Stage::Compile, times.compiled - times.begun),
                (Stage::Commit, ended - times.compiled),
            ],
            duration: ended - times.begun,
            programming_latencies: triggers.iter().filter(|trigger| **trigger > self.started).map(since).collect(),
            event_latencies: events.iter().map(|at| ended.saturating_duration_since(*at)).collect(),
            service_changes: changes.service_events,
            endpoint_changes: changes.slice_events,
            commit_bytes: committed.bytes,
            operations: committed.operations,
            services: self.compiler.as_ref().map_or(0, IptablesCompiler::service_count),
            elements: self.compiler.as_ref().map_or(0, count),
            maps: Vec::new(),
            no_local_endpoints: PerFamily::from_fn(|family| counts.get(family).no_local),
            hints_unused: PerFamily::from_fn(|family| counts.get(family).hints),
            rejections,
            quarantined: Vec::new(),
            audited: drift.is_some(),
            drift: drift.unwrap_or_default(),
        }
    }
}
