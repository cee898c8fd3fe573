//! When the next sync, retry or audit is due.

use std::time::{Duration, Instant};

/// The first wait before a failed sync is tried again; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest wait between tries.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Keeps the times. Knows no clock: time is handed in.
#[derive(Debug)]
pub(super) struct Pace {
    period: Duration,
    least: Duration,
    last_sync: Option<Instant>,
    audit_at: Instant,
    retry_at: Instant,
    retry_after: Duration,
    waiting: bool,
}

impl Pace {
    pub(super) fn new(period: Duration, least: Duration) -> Pace {
        let now = Instant::now();
        let audit_at = now + period;
        Pace { period, least, last_sync: None, audit_at, retry_at: now, retry_after: RETRY_MIN, waiting: false }
    }

    /// When the loop has to wake even if nothing happens. While `minSyncPeriod` holds a sync back nothing else is done, so nothing else
    /// wakes it: a retry or an audit that is due meanwhile would do so again and again.
    pub(super) fn next(&self, failing: bool) -> Instant {
        let held_back = self.last_sync.filter(|_| self.waiting).map(|at| at + self.least);
        let retry = failing.then_some(self.retry_at);
        held_back.unwrap_or_else(|| retry.map_or(self.audit_at, |at| at.min(self.audit_at)))
    }

    /// Whether `minSyncPeriod` holds a sync back. Nothing does unless the user set it.
    pub(super) fn must_wait(&mut self, now: Instant) -> bool {
        self.waiting = self.last_sync.is_some_and(|at| now < at + self.least);
        self.waiting
    }

    pub(super) fn retry_is_due(&self, now: Instant, failing: bool) -> bool {
        failing && now >= self.retry_at
    }

    pub(super) fn audit_is_due(&self, now: Instant) -> bool {
        now >= self.audit_at
    }

    pub(super) fn audited(&mut self, now: Instant) {
        self.audit_at = now + self.period;
    }

    pub(super) fn synced(&mut self, now: Instant, failing: bool) {
        self.last_sync = Some(now);
        self.waiting = false;
        self.retry_after = if failing { (self.retry_after * 2).min(RETRY_MAX) } else { RETRY_MIN };
        self.retry_at = now + self.retry_after;
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
        pace.synced(now, false);
        assert!(!pace.must_wait(now));
    }

    #[test]
    fn the_users_own_least_period_is_kept() {
        let mut pace = Pace::new(30_000 * MS, 1_000 * MS);
        let now = Instant::now();
        assert!(!pace.must_wait(now), "the first sync is never held back");
        pace.synced(now, false);
        assert!(pace.must_wait(now + MS));
        assert_eq!(pace.next(false), now + 1_000 * MS);
        assert!(!pace.must_wait(now + 1_000 * MS));
    }

    #[test]
    fn a_sync_held_back_is_not_woken_early_by_what_is_due_and_cannot_be_done() {
        let mut pace = Pace::new(10 * MS, 1_000 * MS);
        let now = Instant::now();
        pace.synced(now, true);
        assert!(pace.must_wait(now + MS));
        assert_eq!(pace.next(true), now + 1_000 * MS, "neither by the retry nor by the audit");
    }

    #[test]
    fn tries_grow_rarer_until_one_works() {
        let mut pace = Pace::new(30_000 * MS, Duration::ZERO);
        let now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..12 {
            pace.synced(now, true);
            waits.push(pace.next(true) - now);
        }
        assert_eq!(waits[0], 200 * MS);
        assert!(waits.windows(2).all(|w| w[0] <= w[1]));
        assert!(waits.iter().all(|wait| *wait <= 30_000 * MS));
        pace.synced(now, false);
        pace.synced(now, true);
        assert_eq!(pace.next(true) - now, 200 * MS);
    }
}
