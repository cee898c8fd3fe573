//! Whether somebody else has touched the chains, as closely as is cheap.
//!
//! nf_tables counts commits; there a look costs nothing. The old programs do not: a small chain of ours in the mangle table tells of a flush,
//! and everything is compared now and then, on a budget.

use std::time::{Duration, Instant};

use super::IptablesEngine;
use crate::apply::iptables::RestoreTarget;

/// The share of time that comparing everything may cost: one part in so many.
const BUDGET: u32 = 50;

/// What is remembered of the last comparison.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The generation at the last comparison, or after our own commits since.
    generation: Option<u32>,
    /// The generation at which the canaries were last looked at.
    looked: Option<u32>,
    /// When everything is worth a comparison again.
    due: Option<Instant>,
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

    /// The table in which our chains were flushed, if there is one: then everything is to be compared at once.
    pub fn flushed(&mut self) -> Option<&'static str> {
        self.compiler.as_ref()?;
        let now = self.target.generation();
        if now.is_some() && (now == self.watch.generation || now == self.watch.looked) {
            return None;
        }
        self.watch.looked = now;
        let families = self.families.clone();
        families.into_iter().find_map(|family| self.target.flushed(family).ok()?.first().copied())
    }
}
