//! How long to wait before asking again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

/// Waits that double from 200 ms up to 10 s, each shortened by a random part of up to a half.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Things work again: the next wait is the first one.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        full - full.mul_f64(fraction() / 2.0)
    }
}

/// A random number from 0 to 1: spreads what many nodes would otherwise do in the same moment.
pub(super) fn fraction() -> f64 {
    f64::from(u32::try_from(RandomState::new().hash_one(0u8) >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::default();
        for full in [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000] {
            let (wait, full) = (backoff.next(), Duration::from_millis(full));
            assert!(wait <= full && wait >= full / 2, "{wait:?} of {full:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn waits_differ() {
        let waits: std::collections::BTreeSet<_> = (0..32).map(|_| Backoff::default().next()).collect();
        assert!(waits.len() > 1);
    }
}
