//! Whether somebody else has touched the chains, as closely as is cheap.
//!
//! nf_tables counts commits; there a look costs nothing. The old programs do not: a small chain of ours in the mangle table tells of a flush,
//! and everything is compared now and then, on a budget.

use std::time::{Duration, Instant};

use crate::apply::iptables::RestoreTarget;

/// The share of time that comparing everything may cost where nobody says that anything changed: one part in so many.
const BUDGET: u32 = 50;
/// How often the canary is looked for where commits are not counted: each time is a process.
pub(super) const CANARY_EVERY: Duration = Duration::from_millis(900);

/// What is remembered of the last comparison.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The generation at the last comparison, or after our own commits since.
    pub(super) generation: Option<u32>,
    /// When everything is worth a comparison again.
    pub(super) due: Option<Instant>,
    /// When the canary is looked for again.
    pub(super) canary: Option<Instant>,
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
