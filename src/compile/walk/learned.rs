//! What rules learn from packets.

use std::collections::BTreeMap;

use crate::compile::bytes::Bytes;
use crate::compile::ruleset::Name;

/// The elements maps have learned, without their timeouts: no time passes between the packets of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    maps: BTreeMap<Name, BTreeMap<Bytes, Bytes>>,
}

impl Learned {
    /// What a map has learned of a key.
    pub fn get(&self, map: &Name, key: &Bytes) -> Option<&Bytes> {
        self.maps.get(map)?.get(key)
    }

    /// How much a map has learned.
    pub fn count(&self, map: &Name) -> usize {
        self.maps.get(map).map_or(0, BTreeMap::len)
    }

    pub(super) fn learn(&mut self, map: &Name, key: Bytes, data: Bytes) {
        self.maps.entry(map.clone()).or_default().insert(key, data);
    }

    pub(super) fn forget(&mut self, map: &Name, key: &Bytes) {
        if let Some(known) = self.maps.get_mut(map) {
            known.remove(key);
        }
    }
}
