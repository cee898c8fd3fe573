//! The elements of a set as a value.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::bytes::Bytes;
use super::ruleset::Element;

/// Elements by key: a map that is cheap to clone. A full transaction carries all elements of a ruleset, and need not hold them a second
/// time. A clone that changes becomes a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elements(Arc<BTreeMap<Bytes, Element>>);

impl Elements {
    /// None.
    pub fn new() -> Elements {
        Elements::default()
    }

    /// Gives back the room that growth one by one has left in the map's nodes: up to a half of it.
    pub fn pack(&mut self) {
        let map = std::mem::take(&mut **self);
        **self = map.into_iter().collect();
    }
}

impl Deref for Elements {
    type Target = BTreeMap<Bytes, Element>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Elements {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(&mut self.0)
    }
}

impl From<BTreeMap<Bytes, Element>> for Elements {
    fn from(map: BTreeMap<Bytes, Element>) -> Self {
        Elements(Arc::new(map))
    }
}

impl<const N: usize> From<[(Bytes, Element); N]> for Elements {
    fn from(elements: [(Bytes, Element); N]) -> Self {
        BTreeMap::from(elements).into()
    }
}

impl FromIterator<(Bytes, Element)> for Elements {
    fn from_iter<I: IntoIterator<Item = (Bytes, Element)>>(elements: I) -> Self {
        BTreeMap::from_iter(elements).into()
    }
}

impl<'a> IntoIterator for &'a Elements {
    type Item = (&'a Bytes, &'a Element);
    type IntoIter = std::collections::btree_map::Iter<'a, Bytes, Element>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::ruleset::Value;

    fn element(n: u32) -> (Bytes, Element) {
        (Bytes::new().number(n), Element { value: Value::Present, comment: None })
    }

    #[test]
    fn a_clone_shares_until_one_of_them_changes() {
        let mut elements: Elements = (0..100).map(element).collect();
        let clone = elements.clone();
        assert!(Arc::ptr_eq(&elements.0, &clone.0));
        elements.remove(&element(7).0);
        assert_eq!((elements.len(), clone.len()), (99, 100));
    }

    /// What is kept for one more endpoint of a service, where the nodes of the map are full. Another 10 MB at 100,000 endpoints should be
    /// somebody's intent.
    #[test]
    fn an_endpoint_takes_no_more_than_150_bytes() {
        use crate::model::{EndpointAddr, SliceEndpoint};
        let (in_state, seated) = (size_of::<SliceEndpoint>(), size_of::<EndpointAddr>());
        let in_ruleset = size_of::<(Bytes, Element)>() * 12 / 11;
        assert!(in_state + seated + in_ruleset <= 150, "{in_state} + {seated} + {in_ruleset}");
    }

    #[test]
    fn packing_changes_nothing_but_the_room() {
        let mut elements: Elements = (0..100).map(element).collect();
        let before = elements.clone();
        elements.pack();
        assert_eq!(elements, before);
    }
}
