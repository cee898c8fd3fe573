//! Rulesets compared without regard to which slot an endpoint has: slots follow history, what a packet meets does not.

use std::collections::{BTreeMap, BTreeSet};

use ferroproxy::apply::target::{Live, LiveTable};
use ferroproxy::compile::bytes::Bytes;
use ferroproxy::compile::layout::SetId;
use ferroproxy::compile::ruleset::{Element, Value};
use ferroproxy::model::PerFamily;

/// A table with its endpoint maps as sets of endpoints for each frontend.
#[derive(Debug, PartialEq)]
pub(crate) struct Canonical {
    chains: BTreeMap<String, String>,
    elements: BTreeMap<String, BTreeMap<Bytes, Element>>,
    endpoints: BTreeMap<String, BTreeMap<Bytes, BTreeSet<Value>>>,
    dense: bool,
}

/// Both tables in canonical form.
pub(crate) fn canonical(live: &Live) -> PerFamily<Option<Canonical>> {
    PerFamily::from_fn(|family| live.get(family).as_ref().map(of_table))
}

fn of_table(table: &LiveTable) -> Canonical {
    let is_endpoints = |name: &str| SetId::ALL.iter().any(|id| matches!(id, SetId::Endpoints(..)) && id.text() == name);
    let mut canonical = Canonical {
        chains: table.chains.iter().map(|(name, chain)| (name.to_string(), format!("{chain:?}"))).collect(),
        elements: BTreeMap::new(),
        endpoints: BTreeMap::new(),
        dense: true,
    };
    for (name, set) in &table.sets {
        if !is_endpoints(name.as_str()) {
            canonical.elements.insert(name.to_string(), set.elements.clone());
            continue;
        }
        let mut frontends: BTreeMap<Bytes, BTreeSet<Value>> = BTreeMap::new();
        let mut slots: BTreeMap<Bytes, BTreeSet<u32>> = BTreeMap::new();
        for (key, element) in &set.elements {
            let (frontend, slot) = key.as_slice().split_last_chunk::<4>().expect("a slot");
            let frontend = Bytes::from_wire(frontend).expect("short");
            frontends.entry(frontend.clone()).or_default().insert(element.value.clone());
            slots.entry(frontend).or_default().insert(u32::from_ne_bytes(*slot));
        }
        canonical.dense &= slots.values().all(|slots| slots.iter().copied().eq(0..slots.len() as u32));
        canonical.endpoints.insert(name.to_string(), frontends);
    }
    canonical
}
