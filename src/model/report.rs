//! What a sync did: the one word the agent says to observe.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Drift, Family, PerFamily, Rejection};

/// Whether a sync carried everything or only what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncKind {
    /// Everything was compared with the kernel (start, resync, audit).
    Full,
    /// Only what changed was committed.
    Partial,
}

/// How one family fared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FamilyOutcome {
    /// Nothing was to be done; the rules in force are the wanted ones.
    #[default]
    Unchanged,
    /// Committed.
    Committed,
    /// Refused or failed, with the reason.
    Failed(String),
    /// This kernel has not got the family.
    Absent,
}

impl FamilyOutcome {
    /// Whether the rules in force are the wanted ones.
    pub fn is_ok(&self) -> bool {
        !matches!(self, FamilyOutcome::Failed(_))
    }
}

/// A stage of a sync, for the latency metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Event received to sync begun.
    Queue,
    /// Routes decided and rules compiled.
    Compile,
    /// The difference taken and encoded, sent to the kernel and acknowledged.
    Commit,
}

/// Service ports whose policy is Local and that have no endpoint on this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoLocalEndpoints {
    /// By `internalTrafficPolicy`.
    pub internal: usize,
    /// By `externalTrafficPolicy`.
    pub external: usize,
}

/// Service ports whose endpoints carry topology hints that are not used, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HintsUnused {
    /// A ready endpoint has none.
    pub incomplete: usize,
    /// The node has no zone.
    pub no_zone: usize,
    /// None names this node or its zone.
    pub not_for_us: usize,
}

/// How full a map or set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFill {
    /// The family of its table.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// The elements wanted in it; what rules learn by themselves is not counted.
    pub elements: usize,
    /// The most it holds; `None`: as many as there are.
    pub capacity: Option<u32>,
}

/// New connections to a service port since they were last told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Their family.
    pub family: Family,
    /// `namespace/name:port`; very long ones are cut.
    pub port: Arc<str>,
    /// How many.
    pub count: u64,
}

/// One sync, told to observe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReport {
    /// Full or partial.
    pub kind: SyncKind,
    /// When it ended, by the wall clock.
    pub ended: Timestamp,
    /// How each family fared.
    pub families: PerFamily<FamilyOutcome>,
    /// How long each stage took.
    pub stages: Vec<(Stage, Duration)>,
    /// From the start of the sync to its end.
    pub duration: Duration,
    /// For each change that carries a trigger annotation: annotation to commit acknowledged.
    pub programming_latencies: Vec<Duration>,
    /// For each event of the sync: received to commit acknowledged.
    pub event_latencies: Vec<Duration>,
    /// Service events that this sync carried.
    pub service_changes: usize,
    /// EndpointSlice events that this sync carried.
    pub endpoint_changes: usize,
    /// Bytes of the batch sent.
    pub commit_bytes: usize,
    /// Elements, rules and other objects added or removed.
    pub operations: usize,
    /// Services known, frontends and endpoints in force.
    pub services: usize,
    /// Endpoint elements in force over all maps.
    pub elements: usize,
    /// How full each map and set is; empty when the sync changed nothing.
    pub maps: Vec<MapFill>,
    /// Local policy without local endpoints, per family.
    pub no_local_endpoints: PerFamily<NoLocalEndpoints>,
    /// Topology hints that are not used, per family.
    pub hints_unused: PerFamily<HintsUnused>,
    /// Rejections that came to light in this sync.
    pub rejections: Vec<Rejection>,
    /// Services the kernel refused and that are left out.
    pub quarantined: Vec<String>,
    /// Whether the whole tables were compared with the kernel's, and everything was readable.
    pub audited: bool,
    /// What somebody else had changed, found by that comparison.
    pub drift: Vec<Drift>,
}
