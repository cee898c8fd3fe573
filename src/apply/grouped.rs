//! The difference between the live tables and a draft, by the service it is about.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::target::{Live, LiveTable};
use super::unified::{Comparison, Difference};
use crate::compile::bytes::Bytes;
use crate::compile::draft::{Draft, Pending, PendingSet};
use crate::compile::layout::SetId;
use crate::compile::ruleset::{Element, Name, TABLE, Table};

/// What differs of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceDifference {
    /// `namespace/name`; `None`: rules and elements of no single service.
    pub service: Option<String>,
    /// The objects in which something of it differs.
    pub differences: Vec<Difference>,
}

/// What differs between the live tables and the draft, what is of no single service first, then by service.
pub fn grouped(draft: &Draft, live: &Live) -> Vec<ServiceDifference> {
    let nothing = LiveTable::default();
    let mut groups = BTreeMap::<Option<String>, Vec<Difference>>::new();
    for (family, pending) in draft.pending().iter() {
        let Some(wanted) = draft.ruleset().get(family) else { continue };
        let live = live.get(family).as_ref().unwrap_or(&nothing);
        let owners = Owners::of(wanted, live);
        for (name, differing) in element_changes(wanted, pending) {
            for (service, elements) in owners.split(wanted, &name, differing) {
                let split = Pending { sets: [(name.clone(), elements)].into(), ..Pending::default() };
                let comparison = Comparison { family, wanted, live, pending: &split };
                groups.entry(service).or_default().extend(comparison.differences());
            }
        }
        let rest = without_elements(pending, wanted);
        let comparison = Comparison { family, wanted, live, pending: &rest };
        groups.entry(None).or_default().extend(comparison.frame_differences(pending.absent));
    }
    let groups = groups.into_iter().filter(|(_, differences)| !differences.is_empty());
    groups.map(|(service, differences)| ServiceDifference { service, differences }).collect()
}

/// The sets of which elements differ; of a table that is not there, all that hold any.
fn element_changes(wanted: &Table, pending: &Pending) -> Vec<(Name, PendingSet)> {
    if pending.absent {
        let filled = wanted.sets.iter().filter(|(_, set)| !set.elements.is_empty());
        let all = |elements: &BTreeMap<Bytes, Element>| elements.keys().map(|key| (key.clone(), None)).collect();
        return filled
            .map(|(name, set)| (name.clone(), PendingSet { shape: None, elements: all(&set.elements) }))
            .collect();
    }
    let same_shape = pending.sets.iter().filter(|(_, set)| set.shape.is_none());
    same_shape.map(|(name, set)| (name.clone(), set.clone())).collect()
}

fn without_elements(pending: &Pending, wanted: &Table) -> Pending {
    let (mut rest, absent) = (pending.clone(), pending.absent);
    rest.sets.retain(|_, set| set.shape.is_some());
    if absent {
        let chains = wanted.chains.keys().map(|name| (name.clone(), crate::compile::draft::ChainInForce::Absent));
        rest.chains = chains.collect();
        rest.absent = false;
    }
    rest
}

/// Which service a frontend belongs to.
struct Owners(BTreeMap<Bytes, Arc<str>>);

impl Owners {
    fn of(wanted: &Table, live: &LiveTable) -> Owners {
        let mut owners = BTreeMap::new();
        for id in [SetId::Services, SetId::NodePorts] {
            let in_force = live.sets.get(id.text()).into_iter().flat_map(|set| &set.elements);
            let wanted = wanted.sets.get(id.text()).into_iter().flat_map(|set| &set.elements);
            for (key, element) in in_force.chain(wanted) {
                owners.extend(element.comment.clone().map(|owner| (key.clone(), owner)));
            }
        }
        Owners(owners)
    }

    /// The differing elements of a set by service.
    fn split(&self, table: &Table, set: &Name, differing: PendingSet) -> BTreeMap<Option<String>, PendingSet> {
        let mut split = BTreeMap::<Option<String>, PendingSet>::new();
        for (key, in_force) in differing.elements {
            let wanted = table.sets.get(set).and_then(|set| set.elements.get(&key));
            let comment = wanted.or(in_force.as_ref()).and_then(|element| element.comment.as_deref());
            let service = comment.filter(|text| text.contains('/')).or_else(|| self.owner(&key)).map(service_of);
            split.entry(service).or_default().elements.insert(key, in_force);
        }
        split
    }

    /// The owner of the frontend that is the key, or that the key begins with before a slot or number.
    fn owner(&self, key: &Bytes) -> Option<&str> {
        let frontend = || Bytes::from_wire(key.as_slice().split_last_chunk::<4>()?.0);
        self.0.get(key).or_else(|| self.0.get(&frontend()?)).map(|owner| &**owner)
    }
}

/// `namespace/name` of `namespace/name:port`.
fn service_of(port: &str) -> String {
    port.split(':').next().unwrap_or(port).to_owned()
}

/// The groups in the form of a unified diff without context; with ANSI colours if asked for. Empty when there are none.
pub fn grouped_text(groups: &[ServiceDifference], before: &str, after: &str, colour: bool) -> String {
    let dyed = |text: &str, code: u8| if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let mut text = String::new();
    if groups.is_empty() {
        return text;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "--- {before}\n+++ {after}");
    for group in groups {
        let head = group.service.as_ref().map_or("of no single service".to_owned(), |name| format!("service {name}"));
        let _ = writeln!(text, "{}", dyed(&head, 1));
        for difference in &group.differences {
            let head = format!("@@ {} {TABLE}: {} @@", difference.family.nft(), difference.object);
            let _ = writeln!(text, "{}", dyed(&head, 36));
            for (sign, lines, code) in [('-', &difference.removed, 31), ('+', &difference.added, 32)] {
                for line in lines {
                    let _ = writeln!(text, "{}", dyed(&format!("{sign}{line}"), code));
                }
            }
        }
    }
    text
}
