//! When families whose commit failed are tried again. Knows no clock: time is handed in.

use std::time::{Duration, Instant};

use crate::model::{Family, PerFamily};

/// The wait after the first failure; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait between tries.
const LONGEST: Duration = Duration::from_secs(30);

/// The families that wait.
#[derive(Debug, Default)]
pub(in crate::agent) struct Holds(PerFamily<Option<Hold>>);

#[derive(Clone, Debug)]
struct Hold {
    failures: u32,
    until: Instant,
    reason: String,
}

impl Holds {
    /// Whether the family's time has not come.
    pub(in crate::agent) fn is_held(&self, family: Family, now: Instant) -> bool {
        self.0.get(family).as_ref().is_some_and(|hold| now < hold.until)
    }

    /// Why the family failed last.
    pub(in crate::agent) fn reason(&self, family: Family) -> &str {
        self.0.get(family).as_ref().map_or("", |hold| &hold.reason)
    }

    /// When the first of them is due; `None`: none waits.
    pub(in crate::agent) fn next(&self) -> Option<Instant> {
        self.0.iter().filter_map(|(_, hold)| Some(hold.as_ref()?.until)).min()
    }

    /// A commit of the family failed.
    pub(in crate::agent) fn failed(&mut self, family: Family, reason: &str, now: Instant) {
        let hold = self.0.get_mut(family);
        let failures = hold.as_ref().map_or(0, |hold| hold.failures) + 1;
        let wait = FIRST.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST);
        *hold = Some(Hold { failures, until: now + wait, reason: reason.to_owned() });
    }

    /// The family's rules are in force.
    pub(in crate::agent) fn succeeded(&mut self, family: Family) {
        *self.0.get_mut(family) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn tries_grow_rarer_until_one_works_and_each_family_waits_for_itself() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..12 {
            holds.failed(Family::V6, "no", now);
            waits.push(holds.next().unwrap() - now);
        }
        assert_eq!((waits[0], waits[1], waits[11]), (100 * MS, 200 * MS, 30_000 * MS));
        assert!(holds.is_held(Family::V6, now) && !holds.is_held(Family::V4, now));
        assert!(!holds.is_held(Family::V6, now + 30_000 * MS));
        assert_eq!(holds.reason(Family::V6), "no");
        holds.succeeded(Family::V6);
        assert_eq!(holds.next(), None);
        holds.failed(Family::V6, "again", now);
        assert_eq!(holds.next(), Some(now + 100 * MS));
    }
}
