//! What the loop asks of the one who keeps the rules in force, whatever they are written with.

use std::time::Instant;

use super::engine::{Arrivals, Engine, Finding};
use super::figures::KernelFigures;
use crate::apply::target::Target;
use crate::model::{IptablesFigures, SyncReport};
use crate::state::{Changes, Snapshot};

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

impl<T: Target> Rules for Engine<T> {
    fn has_synced(&self) -> bool {
        self.compiler().is_some()
    }

    fn retry_at(&self) -> Option<Instant> {
        self.retry_at()
    }

    fn has_quarantined(&self) -> bool {
        self.has_quarantined()
    }

    fn is_disturbed(&mut self) -> bool {
        self.is_disturbed()
    }

    fn look(&mut self, seen: Option<u32>) -> Finding {
        self.look(seen)
    }

    fn sync(&mut self, snapshot: &Snapshot, changes: Changes, arrivals: &Arrivals) -> SyncReport {
        self.sync(snapshot, changes, arrivals)
    }

    fn audit(&mut self, snapshot: &Snapshot) -> SyncReport {
        self.audit(snapshot)
    }

    fn repair(&mut self) -> SyncReport {
        self.repair()
    }

    fn kernel_figures(&mut self) -> KernelFigures {
        self.kernel_figures()
    }
}
