//! Whether what can be seen of the tables without their elements is as it should be. Pure.

use super::compare::{differing_chains, fits};
use super::target::{Outline, TableFlags, TableOutline};
use crate::compile::draft::{Draft, Pending};
use crate::compile::ruleset::{Name, Set, SetDef, Table};
use crate::model::Family;

/// The first thing that is not as the draft believes it to be in force, in words. Tables with something pending are left out: what differs
/// there is known.
pub fn deviation(draft: &Draft, outline: &Outline) -> Option<String> {
    Family::ALL.into_iter().find_map(|family| {
        let wanted = draft.ruleset().get(family).as_ref()?;
        let said = match outline.get(family) {
            None if draft.pending().get(family).absent => None,
            None => Some("the table is gone".to_owned()),
            Some(_) if *draft.pending().get(family) != Pending::default() => None,
            Some(live) => of_table(family, wanted, live),
        };
        said.map(|words| format!("{}: {words}", family.nft()))
    })
}

fn of_table(family: Family, wanted: &Table, live: &TableOutline) -> Option<String> {
    if live.frame.flags != TableFlags::AsWanted {
        return Some("the table's flags are others".to_owned());
    }
    if let Some((name, _)) = differing_chains(family, wanted, &live.frame).first_key_value() {
        return Some(format!("chain {name} is another"));
    }
    let missing = wanted.sets.keys().find(|name| !live.sets.contains_key(*name));
    let other = || {
        let differs = |name: &Name, def: Option<&SetDef>, count| match wanted.sets.get(name) {
            None => true,
            Some(set) => !fits(&set.def, def) || !counts(set, count),
        };
        live.sets.iter().find(|(name, (def, count))| differs(name, def.as_ref(), *count)).map(|(name, _)| name)
    };
    missing.or_else(other).map(|name| format!("set or map {name} is another"))
}

/// Whether a set holds as many elements as it should, as far as that can be told: learned ones come and go, and the ends of ranges may
/// count as elements of their own.
fn counts(wanted: &Set, told: Option<usize>) -> bool {
    let is_plain = wanted.def.learned.is_none() && !wanted.def.interval;
    !is_plain || told.is_none_or(|count| count == wanted.elements.len())
}
