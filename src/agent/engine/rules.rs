//! What the loop asks of the engine.

use std::time::Instant;

use tracing::debug;

use super::Engine;
use crate::agent::figures::KernelFigures;
use crate::agent::rules::{Arrivals, Finding, Rules};
use crate::apply::deviation;
use crate::apply::target::Target;
use crate::model::SyncReport;
use crate::state::{Changes, Snapshot};

impl<T: Target> Rules for Engine<T> {
    fn has_synced(&self) -> bool {
        self.compiler.is_some()
    }

    fn retry_at(&self) -> Option<Instant> {
        self.holds.next()
    }

    fn has_quarantined(&self) -> bool {
        !self.quarantine.is_empty()
    }

    /// Also when it cannot be known.
    fn is_disturbed(&mut self) -> bool {
        !matches!((self.target.generation(), self.generation), (Ok(now), Some(then)) if now == then)
    }

    /// Looks at the generation and, where somebody has moved it, at the outline of our tables, once for each generation.
    fn look(&mut self, seen: Option<u32>) -> Finding {
        let Some(compiler) = &self.compiler else { return Finding::Untouched };
        let Ok(now) = self.target.generation() else { return Finding::Unreadable };
        if self.generation == Some(now) {
            return Finding::Untouched;
        }
        if seen == Some(now) {
            return Finding::Unproven(now);
        }
        match self.target.outline() {
            Ok(outline) => deviation(compiler.draft(), &outline).map_or(Finding::Unproven(now), Finding::Deviates),
            Err(_) => Finding::Unreadable,
        }
    }

    fn sync(&mut self, snapshot: &Snapshot, changes: Changes, arrivals: &Arrivals) -> SyncReport {
        self.sync_at(Instant::now(), snapshot, changes, arrivals)
    }

    fn audit(&mut self, snapshot: &Snapshot) -> SyncReport {
        self.audit_and(|engine| engine.try_quarantined(snapshot))
    }

    fn repair(&mut self) -> SyncReport {
        self.audit_and(|_| ())
    }

    /// None when the kernel does not answer.
    fn kernel_figures(&mut self) -> KernelFigures {
        let Some(compiler) = &self.compiler else { return KernelFigures::default() };
        self.counted.read(&mut self.target, compiler).unwrap_or_else(|error| {
            debug!(%error, "the kernel's counters cannot be read; they are read again later");
            KernelFigures::default()
        })
    }
}
