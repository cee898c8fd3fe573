//! What the loop asks of the one who keeps the rules in force, whatever they are written with.

use std::time::Instant;

use super::figures::KernelFigures;
use crate::model::{IptablesFigures, SyncReport};
use crate::state::{Changes, Snapshot};

/// When what a sync is about was received.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// When each event was received.
    pub events: Vec<Instant>,
}

/// What a look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nobody has committed anything since everything was last compared: what is in force is ours.
    Untouched,
    /// Somebody has committed something by this generation. What can be seen without the elements is ours; the elements were not compared.
    Unproven(u32),
    /// Something of ours is not as it was. The words name the first such thing.
    Deviates(String),
    /// The kernel did not answer.
    Unreadable,
}

/// Keeps rules in force.
pub trait Rules {
    /// Whether there was a first sync.
    fn has_synced(&self) -> bool;
    /// When what the last sync left undone is due again; `None`: nothing is undone.
    fn retry_at(&self) -> Option<Instant>;
    /// Whether services are left out because the kernel refused them.
    fn has_quarantined(&self) -> bool;
    /// Whether somebody may have touched the rules since they were last compared.
    fn is_disturbed(&mut self) -> bool;
    /// Looks, as closely as is cheap, whether somebody has; `seen` is the last generation at which a look was fine.
    fn look(&mut self, seen: Option<u32>) -> Finding;
    /// Brings what changed into force; the first time, everything.
    fn sync(&mut self, snapshot: &Snapshot, changes: Changes, arrivals: &Arrivals) -> SyncReport;
    /// Compares everything with the kernel, repairs what differs, and tries what was left out once more.
    fn audit(&mut self, snapshot: &Snapshot) -> SyncReport;
    /// Compares everything with the kernel and repairs what differs.
    fn repair(&mut self) -> SyncReport;
    /// Figures only the kernel has; read from it now.
    fn kernel_figures(&mut self) -> KernelFigures {
        KernelFigures::default()
    }
    /// The figures of the last sync in iptables mode.
    fn figures(&self) -> Option<&IptablesFigures> {
        None
    }
}
