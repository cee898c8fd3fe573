//! Equal names share one allocation.

use std::collections::HashSet;
use std::sync::Arc;

/// Names seen so far. When there are many, those nobody else holds are forgotten.
pub(crate) struct Interner {
    names: HashSet<Arc<str>>,
    limit: usize,
}

impl Default for Interner {
    fn default() -> Self {
        Interner { names: HashSet::new(), limit: 4096 }
    }
}

impl Interner {
    /// The shared name equal to `text`.
    pub(crate) fn name(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.names.get(text) {
            return known.clone();
        }
        if self.names.len() >= self.limit {
            self.names.retain(|name| Arc::strong_count(name) > 1);
            self.limit = (self.names.len() * 2).max(4096);
        }
        let name: Arc<str> = text.into();
        self.names.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_share_one_allocation() {
        let mut interner = Interner::default();
        assert!(Arc::ptr_eq(&interner.name("node-a"), &interner.name("node-a")));
        assert_ne!(interner.name("node-a"), interner.name("node-b"));
    }

    #[test]
    fn names_nobody_holds_are_forgotten() {
        let mut interner = Interner::default();
        let held = interner.name("held");
        for n in 0..20_000 {
            interner.name(&format!("name-{n}"));
        }
        assert!(interner.names.len() <= 4096);
        assert!(Arc::ptr_eq(&held, &interner.name("held")));
    }
}
