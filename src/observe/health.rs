//! Whether the rules in force are the wanted ones, per family, and whether the node should get traffic.
//!
//! A family is healthy while no change waits longer than the timeout and its last commit succeeded. Two rules are stricter
//! than kube-proxy's: before the first sync nothing is healthy, and a failed commit is unhealthy at once, until one succeeds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::model::{Family, FamilyOutcome, Node, PerFamily, SyncReport};

/// The taint by which the cluster autoscaler announces a node's deletion.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// Go's zero time, which kube-proxy shows for "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A point in time by both clocks: the wall clock is for people and may jump, the steady one is for how long something took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the wall clock.
    pub wall: Timestamp,
    /// By the steady clock.
    pub steady: Instant,
}

impl Moment {
    /// This moment.
    pub fn now() -> Moment {
        Moment { wall: Timestamp::now(), steady: Instant::now() }
    }
}

/// The state behind `/healthz` and `/livez`. Plain data; every method that needs the time takes it.
#[derive(Clone, Debug)]
pub struct Health {
    timeout: Duration,
    families: PerFamily<FamilyState>,
    node: NodeState,
    quarantined: Vec<String>,
}

/// How one family stands.
#[derive(Clone, Debug, Default)]
struct FamilyState {
    /// When the rules in force were last known to be the wanted ones.
    updated: Option<Timestamp>,
    /// The oldest and the newest change that no sync has served.
    pending: Option<(Instant, Instant)>,
    /// Whether the last sync failed.
    failing: bool,
}

/// What is known of the own Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NodeState {
    /// Nothing was ever told: a node without a Node object (manifests) is eligible.
    Unknown,
    Eligible,
    Ineligible,
}

/// The JSON of `/healthz` and `/livez`, field for field as kube-proxy has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthStatus {
    /// The latest of the families' times; while healthy, the current time.
    #[serde(serialize_with = "or_never")]
    pub last_updated: Option<Timestamp>,
    /// When this was asked.
    pub current_time: Timestamp,
    /// Whether the node should get traffic; only `/healthz` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_eligible: Option<bool>,
    /// Whether every family is healthy. The node's part is not in it.
    pub healthy: bool,
    /// Services the kernel refused and that are left out, the newest of their rules at least; only `/healthz` says it, and it harms no answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<String>,
    /// Every family that was synced or tried, by `IPv4` and `IPv6`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub status: BTreeMap<&'static str, FamilyHealth>,
}

/// One family's part of [`HealthStatus`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FamilyHealth {
    /// When the rules in force were last known to be the wanted ones.
    #[serde(serialize_with = "or_never")]
    pub last_updated: Option<Timestamp>,
    /// Whether they are, as far as the timeout allows.
    pub healthy: bool,
}

fn or_never<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => time.serialize(serializer),
        None => NEVER.serialize(serializer),
    }
}

impl HealthStatus {
    /// Whether the answer is 200 (else 503).
    pub fn is_ok(&self) -> bool {
        self.healthy && self.node_eligible != Some(false)
    }
}

impl Health {
    /// Nothing synced yet. A change may wait `timeout` (kube-proxy: twice syncPeriod) before its family is unhealthy.
    pub fn new(timeout: Duration) -> Health {
        Health { timeout, families: PerFamily::default(), node: NodeState::Unknown, quarantined: Vec::new() }
    }

    /// A change for these families arrived and waits for a sync.
    pub fn queued(&mut self, now: Instant, families: &[Family]) {
        for family in families {
            let pending = &mut self.families.get_mut(*family).pending;
            *pending = Some((pending.map_or(now, |(oldest, _)| oldest), now));
        }
    }

    /// A sync ended, at this time by the steady clock. It served the changes that arrived before it began.
    pub fn report(&mut self, report: &SyncReport, ended: Instant) {
        self.quarantined.clone_from(&report.quarantined);
        let began = ended.checked_sub(report.duration).unwrap_or(ended);
        for family in Family::ALL {
            let state = self.families.get_mut(family);
            match report.families.get(family) {
                // Neither updated nor failing: the family is not in the answer.
                FamilyOutcome::Absent => *state = FamilyState::default(),
                FamilyOutcome::Failed(_) => state.failing = true,
                FamilyOutcome::Committed | FamilyOutcome::Unchanged => {
                    let late = state.pending.filter(|(_, newest)| *newest > began);
                    state.pending = late.map(|(oldest, newest)| (oldest.max(began), newest));
                    state.updated = Some(report.ended);
                    state.failing = false;
                }
            }
        }
    }

    /// The own Node as it is now; `None` after it was known means that it is gone.
    pub fn node(&mut self, node: Option<&Node>) {
        self.node = match node {
            Some(node) if node.deleting || node.taints.iter().any(|taint| taint.key == TO_BE_DELETED) => {
                NodeState::Ineligible
            }
            Some(_) => NodeState::Eligible,
            None if self.node == NodeState::Unknown => NodeState::Unknown,
            None => NodeState::Ineligible,
        };
    }

    /// `/livez`: the families' part alone. Healthy before the first sync: a restart would not bring the API server back.
    pub fn livez(&self, now: Moment) -> HealthStatus {
        self.answer(now, None)
    }

    /// `/healthz`: the families' part and the node's.
    pub fn healthz(&self, now: Moment) -> HealthStatus {
        self.answer(now, Some(self.node != NodeState::Ineligible))
    }

    fn answer(&self, now: Moment, node_eligible: Option<bool>) -> HealthStatus {
        let status = self.status(now);
        let mut answer = HealthStatus {
            last_updated: status.values().filter_map(|family| family.last_updated).max(),
            current_time: now.wall,
            node_eligible,
            quarantined: node_eligible.map(|_| self.quarantined.clone()).unwrap_or_default(),
            healthy: (node_eligible.is_none() || !status.is_empty()) && status.values().all(|family| family.healthy),
            status,
        };
        // Older dashboards read the time as "alive at": an answer of 200 carries the current time.
        if answer.is_ok() {
            answer.last_updated = Some(now.wall);
        }
        answer
    }

    fn status(&self, now: Moment) -> BTreeMap<&'static str, FamilyHealth> {
        let tried = self.families.iter().filter(|(_, state)| state.updated.is_some() || state.failing);
        tried
            .map(|(family, state)| {
                let healthy = self.is_healthy(state, now.steady);
                (family.kubernetes(), FamilyHealth { last_updated: state.updated, healthy })
            })
            .collect()
    }

    fn is_healthy(&self, state: &FamilyState, now: Instant) -> bool {
        let waited = state.pending.map_or(Duration::ZERO, |(oldest, _)| now.saturating_duration_since(oldest));
        !state.failing && waited < self.timeout
    }
}

#[cfg(test)]
mod tests;
