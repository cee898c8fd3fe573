//! What a sync says of itself, whatever the rules are written with.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::oddities::Odd;
use super::rules::Arrivals;
use crate::model::{Drift, Family, FamilyOutcome, MapFill, PerFamily, Rejection, Stage, SyncKind, SyncReport};
use crate::state::Changes;

/// When the stages of a sync began and ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) begun: Instant,
    pub(super) compiled: Instant,
}

/// What a sync was about.
#[derive(Debug)]
pub(super) struct Sync<'a> {
    pub(super) kind: SyncKind,
    pub(super) changes: Changes,
    pub(super) rejections: Vec<Rejection>,
    pub(super) arrivals: &'a Arrivals,
    pub(super) times: Times,
    /// What others had changed; `None`: nobody looked.
    pub(super) drift: Option<Vec<Drift>>,
}

impl<'a> Sync<'a> {
    /// A comparison of everything that found this.
    pub(super) fn audit(arrivals: &'a Arrivals, times: Times, drift: Option<Vec<Drift>>) -> Sync<'a> {
        Sync { kind: SyncKind::Full, changes: Changes::default(), rejections: Vec::new(), arrivals, times, drift }
    }
}

/// What is in force after it, and what that took.
#[derive(Debug, Default)]
pub(super) struct InForce {
    pub(super) families: PerFamily<FamilyOutcome>,
    pub(super) bytes: usize,
    pub(super) operations: usize,
    pub(super) services: usize,
    pub(super) elements: usize,
    pub(super) maps: Vec<MapFill>,
    pub(super) quarantined: Vec<String>,
}

/// The report. Changes that were triggered before `started` say nothing about how fast we are.
pub(super) fn report(
    sync: Sync<'_>,
    in_force: InForce,
    usable: &[Family],
    started: Timestamp,
    odd: PerFamily<Odd>,
) -> SyncReport {
    let Sync { kind, changes, rejections, arrivals, times, drift } = sync;
    let (ended, ended_at) = (Instant::now(), Timestamp::now());
    let since = |trigger: &Timestamp| Duration::try_from(ended_at.duration_since(*trigger)).unwrap_or_default();
    let first = arrivals.events.iter().min().copied().unwrap_or(times.begun);
    let served = in_force.families.iter().all(|(_, outcome)| outcome.is_ok());
    let (triggers, events) = if served { (&changes.triggers[..], &arrivals.events[..]) } else { Default::default() };
    let mut families = in_force.families;
    for family in Family::ALL.into_iter().filter(|family| !usable.contains(family)) {
        *families.get_mut(family) = FamilyOutcome::Absent;
    }
    SyncReport {
        kind,
        ended: ended_at,
        families,
        stages: vec![
            (Stage::Queue, times.begun.saturating_duration_since(first)),
            (Stage::Compile, times.compiled.saturating_duration_since(times.begun)),
            (Stage::Commit, ended.saturating_duration_since(times.compiled)),
        ],
        duration: ended.saturating_duration_since(times.begun),
        programming_latencies: triggers.iter().filter(|trigger| **trigger > started).map(since).collect(),
        event_latencies: events.iter().map(|at| ended.saturating_duration_since(*at)).collect(),
        service_changes: changes.service_events,
        endpoint_changes: changes.slice_events,
        commit_bytes: in_force.bytes,
        operations: in_force.operations,
        services: in_force.services,
        elements: in_force.elements,
        maps: in_force.maps,
        no_local_endpoints: PerFamily::from_fn(|family| odd.get(family).no_local),
        hints_unused: PerFamily::from_fn(|family| odd.get(family).hints),
        rejections,
        quarantined: in_force.quarantined,
        audited: drift.is_some(),
        drift: drift.unwrap_or_default(),
    }
}
