//! Figures only the kernel has: how much rules have learned, and how many connections they counted. Read now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::apply::target::{CommitError, Counted, Outline, Target};
use crate::compile::Compiler;
use crate::compile::bytes::Bytes;
use crate::compile::ruleset::{Name, Set};
use crate::model::{Connections, Family, MapFill};

/// How often they are read: about as often as metrics are asked for.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelFigures {
    /// How full the maps are that rules fill by themselves, where the kernel tells (6.16).
    pub learned: Vec<MapFill>,
    /// The connections counted since the last time.
    pub connections: Vec<Connections>,
}

/// What elements had counted when they were read last.
#[derive(Debug, Default)]
pub(super) struct Before(BTreeMap<(Family, Name, Bytes), u64>);

impl Before {
    /// Reads what there is to read.
    pub(super) fn read<T: Target>(
        &mut self,
        target: &mut T,
        compiler: &Compiler,
    ) -> Result<KernelFigures, CommitError> {
        let tables = compiler.draft().ruleset().iter().filter_map(|(family, table)| Some((family, table.as_ref()?)));
        let sets: Vec<Place<'_>> =
            tables.flat_map(|(family, table)| table.sets.iter().map(move |(name, set)| (family, name, set))).collect();
        let mut learns = sets.iter().filter(|(.., set)| set.def.learned.is_some()).peekable();
        let learned = match learns.peek() {
            Some(_) => learned(&target.outline()?, learns),
            None => Vec::new(),
        };
        Ok(KernelFigures { learned, connections: self.connections(target, &sets)? })
    }

    fn connections<T: Target>(&mut self, target: &mut T, sets: &[Place<'_>]) -> Result<Vec<Connections>, CommitError> {
        let mut new = BTreeMap::<(Family, Arc<str>), u64>::new();
        let mut now = BTreeMap::new();
        for (family, name, set) in sets.iter().filter(|(.., set)| set.def.counted) {
            for Counted { key, comment, packets } in target.counted(*family, name, &set.def)? {
                let place = (*family, (*name).clone(), key);
                let before = self.0.get(&place).copied().unwrap_or_default();
                // A smaller number is that of an element made anew.
                let count = packets.checked_sub(before).unwrap_or(packets);
                *new.entry((*family, comment)).or_default() += count;
                now.insert(place, packets);
            }
        }
        self.0 = now;
        Ok(new.into_iter().map(|((family, port), count)| Connections { family, port, count }).collect())
    }
}

/// A set of a family's table.
type Place<'a> = (Family, &'a Name, &'a Set);

fn learned<'a>(outline: &Outline, sets: impl Iterator<Item = &'a Place<'a>>) -> Vec<MapFill> {
    let fill = |(family, name, set): &Place<'_>| {
        let (_, elements) = outline.get(*family).as_ref()?.sets.get(*name)?;
        Some(MapFill { family: *family, name: name.to_string(), elements: (*elements)?, capacity: set.def.size })
    };
    sets.filter_map(fill).collect()
}
