//! The slices of one service.

use std::sync::Arc;

use crate::model::EndpointSlice;

/// Slices by their own name, in its order. A service has one or a few: a sorted list takes what they need and no more, where a map would
/// make room for eleven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices(Vec<EndpointSlice>);

impl Slices {
    /// The slice of that name, without the namespace.
    pub fn get(&self, name: &str) -> Option<&EndpointSlice> {
        self.0.get(self.place(name).ok()?)
    }

    /// Puts a slice in the place of the one with its name.
    pub fn insert(&mut self, mut slice: EndpointSlice) {
        slice.ports.shrink_to_fit();
        slice.endpoints.shrink_to_fit();
        match self.place(&slice.name.name) {
            Ok(at) => self.0[at] = slice,
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, slice);
            }
        }
    }

    /// Removes the slice of that name.
    pub fn remove(&mut self, name: &str) {
        if let Ok(at) = self.place(name) {
            self.0.remove(at);
        }
    }

    /// All of them, in the order of their names.
    pub fn values(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.0.iter()
    }

    /// All of them, to change what is in them but their names.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut EndpointSlice> {
        self.0.iter_mut()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|slice| (*slice.name.name).cmp(name))
    }
}

impl<const N: usize> From<[(Arc<str>, EndpointSlice); N]> for Slices {
    fn from(slices: [(Arc<str>, EndpointSlice); N]) -> Self {
        slices.into_iter().collect()
    }
}

impl FromIterator<(Arc<str>, EndpointSlice)> for Slices {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, EndpointSlice)>>(slices: I) -> Self {
        let mut all = Slices::default();
        slices.into_iter().for_each(|(_, slice)| all.insert(slice));
        all
    }
}
