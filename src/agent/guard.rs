//! When to look whether others have touched our tables, and how closely. Knows no clock: time is handed in.
//!
//! A look costs microseconds while nobody commits anything, and an outline's time once somebody has. Comparing every element costs what
//! there are elements, so it has a budget: after a comparison that took a time, none follows for a multiple of it.

use std::time::{Duration, Instant};

use super::rules::Finding;

/// How often the generation is looked at. What is found is repaired at once, so this and a comparison's time bound a repair.
const LOOK: Duration = Duration::from_millis(250);
/// A comparison because somebody committed something, perhaps nothing of ours: at most one part in 20 of the time.
const DOUBT: u32 = 20;
/// A comparison because something of ours was seen to be wrong: at most one part in 5 of the time, should two agents fight.
const SUSPICION: u32 = 4;

/// Keeps the times.
#[derive(Debug)]
pub(super) struct Guard {
    look_at: Instant,
    /// The generation of the last outline that was fine.
    seen: Option<u32>,
    /// When the next comparison is allowed, on doubt and on suspicion.
    doubt_after: Instant,
    suspicion_after: Instant,
}

impl Guard {
    pub(super) fn new(now: Instant) -> Guard {
        Guard { look_at: now + LOOK, seen: None, doubt_after: now, suspicion_after: now }
    }

    /// When the next look is due.
    pub(super) fn next(&self) -> Instant {
        self.look_at
    }

    /// Whether a look is due; answers the generation whose outline is known to be fine.
    pub(super) fn is_due(&self, now: Instant) -> Option<Option<u32>> {
        (now >= self.look_at).then_some(self.seen)
    }

    /// A look was taken. Says whether everything is to be compared now.
    pub(super) fn looked(&mut self, finding: &Finding, now: Instant) -> bool {
        self.look_at = now + LOOK;
        match finding {
            Finding::Untouched | Finding::Unreadable => false,
            Finding::Unproven(generation) => {
                self.seen = Some(*generation);
                now >= self.doubt_after
            }
            Finding::Deviates(_) => now >= self.suspicion_after,
        }
    }

    /// Everything was compared, and repaired, in this time.
    pub(super) fn compared(&mut self, begun: Instant, ended: Instant) {
        let took = ended.saturating_duration_since(begun);
        self.doubt_after = ended + took * DOUBT;
        self.suspicion_after = ended + took * SUSPICION;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn wrong() -> Finding {
        Finding::Deviates("chain x is another".into())
    }

    #[test]
    fn after_a_quiet_time_everything_is_compared_at_once() {
        let now = Instant::now();
        let mut guard = Guard::new(now);
        assert_eq!(guard.is_due(now), None);
        assert_eq!(guard.is_due(now + LOOK), Some(None));
        assert!(!guard.looked(&Finding::Untouched, now + LOOK));
        assert!(guard.looked(&Finding::Unproven(7), now + LOOK * 2));
        assert_eq!(guard.is_due(now + LOOK * 3), Some(Some(7)), "the same outline is not taken twice");
    }

    #[test]
    fn while_others_are_busy_comparisons_keep_to_their_budget() {
        let now = Instant::now();
        let mut guard = Guard::new(now);
        guard.compared(now, now + 100 * MS);
        assert!(!guard.looked(&Finding::Unproven(8), now + 2099 * MS));
        assert!(guard.looked(&Finding::Unproven(8), now + 2100 * MS));
    }

    #[test]
    fn what_is_seen_to_be_wrong_waits_less_and_two_that_fight_are_slowed_down() {
        let now = Instant::now();
        let mut guard = Guard::new(now);
        assert!(guard.looked(&wrong(), now));
        guard.compared(now, now + 100 * MS);
        assert!(!guard.looked(&wrong(), now + 499 * MS));
        assert!(guard.looked(&wrong(), now + 500 * MS));
        assert!(!guard.looked(&Finding::Unreadable, now + 9000 * MS));
    }
}
