//! Whether somebody else has touched the chains, as closely as is cheap.
//!
//! nf_tables counts commits; there a look costs nothing. The old programs do not: a small chain of ours in the mangle table tells of a flush,
//! and everything is compared now and then, on a budget.

use std::time::{Duration, Instant};

use super::IptablesEngine;
use crate::agent::engine::Finding;
use crate::apply::iptables::RestoreTarget;

/// The share of time that comparing everything may cost where nobody says that anything changed: one part in so many.
const BUDGET: u32 = 50;
/// How often the canary is looked for where commits are not counted: each time is a process.
const CANARY_EVERY: Duration = Duration::from_millis(900);

/// What is remembered of the last comparison.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The generation at the last comparison, or after our own commits since.
    generation: Option<u32>,
    /// When everything is worth a comparison again.
    due: Option<Instant>,
    /// When the canary is looked for again.
    canary: Option<Instant>,
}

impl Watch {
    /// What is in force now is about to be read, or is ours.
    pub(super) fn begin(&mut self, target: &mut impl RestoreTarget) {
        self.generation = target.generation();
    }

    /// Everything was compared.
    pub(super) fn compared(&mut self, took: Duration) {
        self.due = Some(Instant::now() + took * BUDGET);
    }

    /// Whether somebody has committed anything since; also where that cannot be known.
    pub(super) fn is_moved(&self, target: &mut impl RestoreTarget) -> bool {
        let now = target.generation();
        now.is_none() || now != self.generation
    }
}

impl<T: RestoreTarget> IptablesEngine<T> {
    /// Whether everything is to be compared: somebody has committed something, or nobody can say, and the last comparison is long enough ago.
    pub fn is_disturbed(&mut self) -> bool {
        self.watch.is_moved(&mut self.target) && self.watch.due.is_none_or(|due| Instant::now() >= due)
    }

    /// Looks for commits of others and for our canaries; `seen` is the generation at which they last stood.
    pub fn look(&mut self, seen: Option<u32>) -> Finding {
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
}
