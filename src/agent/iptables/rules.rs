//! What the loop asks of the engine.

use std::time::Instant;

use super::IptablesEngine;
use super::watch::CANARY_EVERY;
use crate::agent::report::{Sync, Times};
use crate::agent::rules::{Arrivals, Finding, Rules};
use crate::apply::iptables::RestoreTarget;
use crate::compile::iptables::Measure;
use crate::model::{IptablesFigures, SyncKind, SyncReport};
use crate::state::{Changes, Snapshot};

impl<T: RestoreTarget> Rules for IptablesEngine<T> {
    fn has_synced(&self) -> bool {
        self.compiler.is_some()
    }

    fn retry_at(&self) -> Option<Instant> {
        self.holds.next()
    }

    fn has_quarantined(&self) -> bool {
        false
    }

    /// Whether everything is to be compared: somebody has committed something, or nobody can say, and the last comparison is long enough ago.
    fn is_disturbed(&mut self) -> bool {
        self.watch.is_moved(&mut self.target) && self.watch.due.is_none_or(|due| Instant::now() >= due)
    }

    /// Looks for commits of others and for our canaries; `seen` is the generation at which they last stood.
    fn look(&mut self, seen: Option<u32>) -> Finding {
        if self.compiler.is_none() {
            return Finding::Untouched;
        }
        let now = self.target.generation();
        match now {
            Some(_) if now == self.watch.generation => return Finding::Untouched,
            Some(now) if seen == Some(now) => return Finding::Unproven(now),
            None if self.watch.canary.is_some_and(|at| Instant::now() < at) => return Finding::Untouched,
            _ => self.watch.canary = Some(Instant::now() + CANARY_EVERY),
        }
        for family in self.families.clone() {
            match self.target.flushed(family) {
                Ok(flushed) if flushed.is_empty() => {}
                Ok(flushed) => return Finding::Deviates(format!("{family}: flushed: {}", flushed.join(", "))),
                Err(_) => return Finding::Unreadable,
            }
        }
        now.map_or(Finding::Untouched, Finding::Unproven)
    }

    fn sync(&mut self, snapshot: &Snapshot, changes: Changes, arrivals: &Arrivals) -> SyncReport {
        let begun = Instant::now();
        let kind = if self.compiler.is_none() { SyncKind::Full } else { SyncKind::Partial };
        let rejections = match kind {
            SyncKind::Full => self.start(snapshot),
            SyncKind::Partial => self.update(snapshot, &changes),
        };
        let times = Times { begun, compiled: Instant::now() };
        let committed = self.commit(Some(begun));
        let kind = if committed.wrote_everything { SyncKind::Full } else { kind };
        self.report(Sync { kind, changes, rejections, arrivals, times, drift: None }, committed)
    }

    fn audit(&mut self, _: &Snapshot) -> SyncReport {
        self.repair()
    }

    fn repair(&mut self) -> SyncReport {
        let begun = Instant::now();
        let mut drift = Some(Vec::new());
        self.watch.begin(&mut self.target);
        for family in self.families.clone() {
            let was_settled = !self.is_pending(family);
            let learned = self.learn(family, Measure::Difference);
            drift = drift.filter(|_| learned);
            if let (Some(drift), true) = (&mut drift, was_settled) {
                drift.extend(self.drift(family));
            }
        }
        self.watch.compared(begun.elapsed());
        let times = Times { begun, compiled: Instant::now() };
        let committed = self.commit(None);
        self.report(Sync::audit(&Arrivals::default(), times, drift), committed)
    }

    fn figures(&self) -> Option<&IptablesFigures> {
        Some(&self.figures)
    }
}
