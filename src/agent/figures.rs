//! Figures only the kernel has: how much rules have learned, and how many connections they counted. Read now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::apply::target::{CommitError, Counted, Outline, Target};
use crate::compile::bytes::Bytes;
use crate::compile::ruleset::{Name, Set};
use crate::model::{Connections, Family, MapFill};

/// How often they are read: below the interval at which metrics usually are.
const EVERY: Duration = Duration::from_secs(10);

/// What was read before.
#[derive(Debug)]
pub(super) struct Figures {
    next: Instant,
    counted: BTreeMap<(Family, Name, Bytes), u64>,
}

/// A set of a family's table.
pub(super) type Place<'a> = (Family, &'a Name, &'a Set);

impl Figures {
    pub(super) fn new(now: Instant) -> Figures {
        Figures { next: now, counted: BTreeMap::new() }
    }

    /// When they are to be read next.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Whether they are due; the next time is a while later.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + EVERY;
        }
        due
    }

    /// The connections counted since the last time.
    pub(super) fn connections<T: Target>(
        &mut self,
        target: &mut T,
        sets: &[Place<'_>],
    ) -> Result<Vec<Connections>, CommitError> {
        let mut new = BTreeMap::<(Family, Arc<str>), u64>::new();
        let mut now = BTreeMap::new();
        for (family, name, set) in sets.iter().filter(|(.., set)| set.def.counted) {
            for Counted { key, comment, packets } in target.counted(*family, name, &set.def)? {
                let place = (*family, (*name).clone(), key);
                let before = self.counted.get(&place).copied().unwrap_or_default();
                // A smaller number is that of an element made anew.
                let count = packets.checked_sub(before).unwrap_or(packets);
                *new.entry((*family, comment)).or_default() += count;
                now.insert(place, packets);
            }
        }
        self.counted = now;
        Ok(new.into_iter().map(|((family, port), count)| Connections { family, port, count }).collect())
    }
}

/// How full the maps are that rules fill by themselves, where the kernel tells.
pub(super) fn learned(outline: &Outline, sets: &[Place<'_>]) -> Vec<MapFill> {
    let fill = |(family, name, set): &Place<'_>| {
        let (_, elements) = outline.get(*family).as_ref()?.sets.get(*name)?;
        Some(MapFill { family: *family, name: name.to_string(), elements: (*elements)?, capacity: set.def.size })
    };
    sets.iter().filter(|(.., set)| set.def.learned.is_some()).filter_map(fill).collect()
}
