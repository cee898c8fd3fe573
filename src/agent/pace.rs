//! When the next sync or audit is due.

use std::time::{Duration, Instant};

/// Keeps the times. Knows no clock: time is handed in.
#[derive(Debug)]
pub(super) struct Pace {
    period: Duration,
    least: Duration,
    last_sync: Option<Instant>,
    audit_at: Instant,
    waiting: bool,
}

impl Pace {
    pub(super) fn new(period: Duration, least: Duration) -> Pace {
        let audit_at = Instant::now() + period;
        Pace { period, least, last_sync: None, audit_at, waiting: false }
    }

    /// When the loop has to wake even if nothing happens; `retry` is when something that failed is due. While `minSyncPeriod` holds a sync
    /// back no retry and no audit is done, so none wakes the loop: it would do so again and again.
    pub(super) fn next(&self, retry: Option<Instant>) -> Instant {
        let held_back = self.last_sync.filter(|_| self.waiting).map(|at| at + self.least);
        held_back.unwrap_or_else(|| retry.map_or(self.audit_at, |at| at.min(self.audit_at)))
    }

    /// Whether `minSyncPeriod` holds a sync back. Nothing does unless the user set it.
    pub(super) fn must_wait(&mut self, now: Instant) -> bool {
        self.waiting = self.last_sync.is_some_and(|at| now < at + self.least);
        self.waiting
    }

    pub(super) fn audit_is_due(&self, now: Instant) -> bool {
        now >= self.audit_at
    }

    pub(super) fn audited(&mut self, now: Instant) {
        self.audit_at = now + self.period;
    }

    pub(super) fn synced(&mut self, now: Instant) {
        self.last_sync = Some(now);
        self.waiting = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nothing_is_held_back_by_default() {
        let mut pace = Pace::new(30_000 * MS, Duration::ZERO);
        let now = Instant::now();
        pace.synced(now);
        assert!(!pace.must_wait(now));
        assert_eq!(pace.next(Some(now + MS)), now + MS, "what failed is tried again when its time comes");
    }

    #[test]
    fn the_users_own_least_period_is_kept() {
        let mut pace = Pace::new(30_000 * MS, 1_000 * MS);
        let now = Instant::now();
        assert!(!pace.must_wait(now), "the first sync is never held back");
        pace.synced(now);
        assert!(pace.must_wait(now + MS));
        assert_eq!(pace.next(None), now + 1_000 * MS);
        assert!(!pace.must_wait(now + 1_000 * MS));
    }

    #[test]
    fn a_sync_held_back_is_not_woken_early_by_what_is_due_and_cannot_be_done() {
        let mut pace = Pace::new(10 * MS, 1_000 * MS);
        let now = Instant::now();
        pace.synced(now);
        assert!(pace.must_wait(now + MS));
        assert_eq!(pace.next(Some(now)), now + 1_000 * MS, "neither by the retry nor by the audit");
    }
}
