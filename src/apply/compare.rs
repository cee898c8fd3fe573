//! Comparing what was read back with what is wanted. Pure.

use std::collections::BTreeMap;

use super::target::{Live, LiveChain, LiveSet, LiveTable, TableFlags};
use crate::compile::bytes::Bytes;
use crate::compile::draft::{ChainInForce, Draft, Pending, PendingSet, SetInForce};
use crate::compile::layout::{Reach, SetId};
use crate::compile::lower::lower;
use crate::compile::ruleset::{Chain, Element, Name, Set, SetDef, Table, Value};
use crate::compile::seed::Seed;
use crate::model::{EndpointAddr, Family};

/// Tells a draft where the live tables differ from it.
pub fn learn(draft: &mut Draft, live: &Live) {
    for family in Family::ALL {
        if let Some(wanted) = draft.ruleset().get(family) {
            let pending = compare(family, wanted, live.get(family).as_ref());
            draft.set_pending(family, pending);
        }
    }
}

/// Where the live table differs from the wanted one.
pub fn compare(family: Family, wanted: &Table, live: Option<&LiveTable>) -> Pending {
    let Some(live) = live else { return Pending { absent: true, ..Pending::default() } };
    if live.flags == TableFlags::ToRebuild {
        return Pending { absent: true, unknown: true, ..Pending::default() };
    }
    let (sets, chains) = (differing_sets(wanted, live), differing_chains(family, wanted, live));
    Pending { flags: live.flags == TableFlags::ToSet, sets, chains, ..Pending::default() }
}

fn differing_sets(wanted: &Table, live: &LiveTable) -> BTreeMap<Name, PendingSet> {
    let wanted_ones = wanted.sets.iter().map(|(name, set)| (name.clone(), differing_set(set, live.sets.get(name))));
    let surplus = live.sets.iter().filter(|(name, _)| !wanted.sets.contains_key(*name)).map(|(name, set)| {
        let shape = Some(SetInForce::Shaped(set.def.clone()));
        (name.clone(), PendingSet { shape, elements: BTreeMap::new() })
    });
    wanted_ones.chain(surplus).filter(|(_, differing)| *differing != PendingSet::default()).collect()
}

fn differing_set(wanted: &Set, live: Option<&LiveSet>) -> PendingSet {
    match live {
        None => PendingSet { shape: Some(SetInForce::Absent), elements: BTreeMap::new() },
        Some(live) if !fits(&wanted.def, live.def.as_ref()) => {
            PendingSet { shape: Some(SetInForce::Shaped(live.def.clone())), elements: BTreeMap::new() }
        }
        // What rules have learned is nobody's wish.
        Some(_) if wanted.def.learned.is_some() => PendingSet::default(),
        Some(live) => PendingSet { shape: None, elements: differing_elements(&wanted.elements, &live.elements) },
    }
}

/// Whether a live set can hold the wanted one's elements as it is: a larger capacity is no difference.
pub(super) fn fits(wanted: &SetDef, live: Option<&SetDef>) -> bool {
    let Some(live) = live else { return false };
    let roomy = match (wanted.size, live.size) {
        (Some(wanted), Some(live)) => live >= wanted,
        (wanted, live) => wanted == live,
    };
    roomy && SetDef { size: None, ..wanted.clone() } == SetDef { size: None, ..live.clone() }
}

fn differing_elements(
    wanted: &BTreeMap<Bytes, Element>,
    live: &BTreeMap<Bytes, Element>,
) -> BTreeMap<Bytes, Option<Element>> {
    let missing_or_other = wanted.iter().filter(|(key, element)| live.get(*key) != Some(*element)).map(|(key, _)| key);
    let surplus = live.keys().filter(|key| !wanted.contains_key(*key));
    missing_or_other.chain(surplus).map(|key| (key.clone(), live.get(key).cloned())).collect()
}

pub(super) fn differing_chains(family: Family, wanted: &Table, live: &LiveTable) -> BTreeMap<Name, ChainInForce> {
    let wanted_ones = wanted.chains.iter().filter_map(|(name, chain)| match live.chains.get(name) {
        None => Some((name.clone(), ChainInForce::Absent)),
        Some(live) if same_chain(family, chain, live) => None,
        Some(live) => Some((name.clone(), ChainInForce::There(live.hook))),
    });
    let surplus = live.chains.iter().filter(|(name, _)| !wanted.chains.contains_key(*name));
    wanted_ones.chain(surplus.map(|(name, chain)| (name.clone(), ChainInForce::There(chain.hook)))).collect()
}

fn same_chain(family: Family, wanted: &Chain, live: &LiveChain) -> bool {
    wanted.hook == live.hook
        && wanted.rules.len() == live.rules.len()
        && wanted.rules.iter().zip(&live.rules).all(|(wanted, live)| live.as_ref() == Some(&lower(wanted, family)))
}

/// What of the live tables is worth keeping: slots, capacities and the numbers of session affinity.
pub fn seed(live: &Live) -> Seed {
    let mut seed = Seed::default();
    for (family, table) in live.iter() {
        for (name, set) in table.iter().flat_map(|table| &table.sets) {
            if let Some(size) = set.def.as_ref().and_then(|def| def.size) {
                seed.sizes.insert((family, name.clone()), size);
            }
        }
        let Some(table) = table else { continue };
        for id in SetId::all() {
            for (key, element) in table.sets.get(id.text()).iter().flat_map(|set| &set.elements) {
                note(&mut seed, table, (family, id), key, element);
            }
        }
    }
    seed
}

fn note(seed: &mut Seed, table: &LiveTable, (family, set): (Family, SetId), key: &Bytes, element: &Element) {
    let owner = element.comment.clone();
    match (set, owner) {
        (SetId::Services, Some(owner)) => seed.note_owner(family, Reach::Address, key.clone(), owner),
        (SetId::NodePorts, Some(owner)) => seed.note_owner(family, Reach::NodePort, key.clone(), owner),
        (SetId::Endpoints(..), _) => note_slot(seed, family, set, key, element),
        _ => note_sticky_slot(seed, table, (family, set), key, element),
    }
}

fn note_slot(seed: &mut Seed, family: Family, set: SetId, key: &Bytes, element: &Element) {
    let Some((frontend, slot)) = key.as_slice().split_last_chunk::<4>() else { return };
    let (Some(frontend), Value::Data(data)) = (Bytes::from_wire(frontend), &element.value) else { return };
    if let Some(endpoint) = endpoint_of(family, data) {
        seed.note(family, set, frontend, u32::from_ne_bytes(*slot), endpoint);
    }
}

/// A slot may hold a number: the endpoint is where the number leads.
fn note_sticky_slot(
    seed: &mut Seed,
    table: &LiveTable,
    (family, set): (Family, SetId),
    key: &Bytes,
    element: &Element,
) {
    let Some((endpoints, plain, reach)) = set.behind_slots() else { return };
    let Some(endpoints) = table.sets.get(endpoints.text()) else { return };
    let Some((frontend, _)) = key.as_slice().split_last_chunk::<4>() else { return };
    let (Some(frontend), Value::Data(data)) = (Bytes::from_wire(frontend), &element.value) else { return };
    let Some(number) = data.as_slice().first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)) else { return };
    let Some(endpoint) = endpoints.elements.get(&frontend.clone().number(number)) else { return };
    note_slot(seed, family, plain, key, endpoint);
    if let Value::Data(data) = &endpoint.value
        && let Some(endpoint) = endpoint_of(family, data)
    {
        seed.note_number(family, reach, frontend, endpoint, number);
    }
}

/// Reads an endpoint's address and port from a map's data.
fn endpoint_of(family: Family, data: &Bytes) -> Option<EndpointAddr> {
    let (ip, port) = data.as_slice().split_at_checked(family.addr_len())?;
    let ip = match family {
        Family::V4 => <[u8; 4]>::try_from(ip).ok()?.into(),
        Family::V6 => <[u8; 16]>::try_from(ip).ok()?.into(),
    };
    Some(EndpointAddr { ip, port: u16::from_be_bytes(*port.first_chunk()?) })
}
