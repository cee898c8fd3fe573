//! Rulesets compared without regard to which slot an endpoint has: slots follow history, what a packet meets does not.

use std::collections::{BTreeMap, BTreeSet};

use ferroproxy::apply::target::{Live, LiveSet, LiveTable};
use ferroproxy::compile::bytes::Bytes;
use ferroproxy::compile::elements::Elements;
use ferroproxy::compile::layout::SetId;
use ferroproxy::compile::ruleset::{Name, Value};
use ferroproxy::model::PerFamily;

/// A table with its endpoint maps as sets of endpoints for each frontend.
#[derive(Debug, PartialEq)]
pub(crate) struct Canonical {
    chains: BTreeMap<String, String>,
    elements: BTreeMap<String, Elements>,
    endpoints: BTreeMap<String, BTreeMap<Bytes, BTreeSet<Value>>>,
    dense: bool,
}

/// Both tables in canonical form.
pub(crate) fn canonical(live: &Live) -> PerFamily<Option<Canonical>> {
    PerFamily::from_fn(|family| live.get(family).as_ref().map(of_table))
}

fn of_table(table: &LiveTable) -> Canonical {
    let mut canonical = Canonical {
        chains: table.chains.iter().map(|(name, chain)| (name.to_string(), format!("{chain:?}"))).collect(),
        elements: BTreeMap::new(),
        endpoints: BTreeMap::new(),
        dense: true,
    };
    for (name, set) in &table.sets {
        match SetId::all().find(|id| id.text() == name.as_str()) {
            Some(SetId::Endpoints(..)) => canonical.add(name, set, true, |_, value| value.clone()),
            Some(SetId::StickyEndpoints(..)) => canonical.add(name, set, false, |_, value| value.clone()),
            Some(SetId::StickySlots(reach, pool)) => {
                let endpoints = &table.sets[SetId::StickyEndpoints(reach, pool).text()];
                canonical.add(name, set, true, |frontend, number| match number {
                    Value::Data(number) => endpoints.elements[&joined(frontend, number)].value.clone(),
                    other => panic!("a slot of {name} holds {other:?}"),
                });
            }
            _ => _ = canonical.elements.insert(name.to_string(), set.elements.clone()),
        }
    }
    canonical
}

impl Canonical {
    /// A map whose keys end in a slot, or in a number that is like a name: each frontend with its endpoints.
    fn add(&mut self, name: &Name, set: &LiveSet, slots: bool, endpoint: impl Fn(&Bytes, &Value) -> Value) {
        let mut frontends: BTreeMap<Bytes, BTreeSet<Value>> = BTreeMap::new();
        let mut places: BTreeMap<Bytes, BTreeSet<u32>> = BTreeMap::new();
        for (key, element) in &set.elements {
            let (frontend, place) = key.as_slice().split_last_chunk::<4>().expect("a slot or a number");
            let frontend = Bytes::from_wire(frontend).expect("short");
            frontends.entry(frontend.clone()).or_default().insert(endpoint(&frontend, &element.value));
            places.entry(frontend).or_default().insert(u32::from_ne_bytes(*place));
        }
        let dense = |places: &BTreeSet<u32>| places.iter().copied().eq(0..places.len() as u32);
        self.dense &= !slots || places.values().all(dense);
        self.endpoints.insert(name.to_string(), frontends);
    }
}

fn joined(frontend: &Bytes, number: &Bytes) -> Bytes {
    Bytes::from_wire(&[frontend.as_slice(), number.as_slice()].concat()).expect("short")
}
