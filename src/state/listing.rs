//! Full lists as full replacement.

use std::borrow::Borrow;
use std::collections::BTreeSet;

/// Follows one kind's lists: what was not told between `Init` and `Synced` is gone.
#[derive(Debug)]
pub(super) struct Listing<N> {
    /// Names told since `Init`; `None` outside a list.
    seen: Option<BTreeSet<N>>,
    synced: bool,
}

impl<N> Default for Listing<N> {
    fn default() -> Self {
        Listing { seen: None, synced: false }
    }
}

impl<N: Ord + Clone> Listing<N> {
    pub(super) fn begin(&mut self) {
        self.seen = Some(BTreeSet::new());
    }

    pub(super) fn saw(&mut self, name: &N) {
        if let Some(seen) = &mut self.seen {
            seen.insert(name.clone());
        }
    }

    /// A delete inside a list: the object does not outlive the list for having been told before.
    pub(super) fn forget<Q: Ord + ?Sized>(&mut self, name: &Q)
    where
        N: Borrow<Q>,
    {
        if let Some(seen) = &mut self.seen {
            seen.remove(name);
        }
    }

    /// Ends the list and answers the known names that were not told. A `Synced` without an `Init` replaces nothing.
    pub(super) fn finish<'a>(&mut self, known: impl Iterator<Item = &'a N>) -> Vec<N>
    where
        N: 'a,
    {
        self.synced = true;
        match self.seen.take() {
            Some(seen) => known.filter(|name| !seen.contains(name)).cloned().collect(),
            None => Vec::new(),
        }
    }

    pub(super) fn was_synced(&self) -> bool {
        self.synced
    }
}
