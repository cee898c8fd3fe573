//! What services contribute together: elements, chains and sets that stay while anybody needs them.

use super::Compiler;
use crate::compile::emission::{Emission, Place};
use crate::compile::layout::SetId;
use crate::compile::ruleset::{Element, Value};
use crate::compile::treatment::Part;
use crate::model::Family;

impl Compiler {
    /// Removes what one contribution has and the next has not. Chains that both need stay.
    pub(super) fn give_up(&mut self, old: &Emission, new: &Emission) {
        for (part, count) in &new.parts {
            self.acquire(*part, *count);
        }
        for (part, count) in &old.parts {
            self.release(*part, *count);
        }
        for (family, set, key) in old.elements.keys().filter(|place| !new.elements.contains_key(place)) {
            self.draft.remove(*family, set.text(), key);
        }
        for place in old.shared.difference(&new.shared) {
            self.release_shared(place);
        }
    }

    /// Puts what one contribution has and the one before had not.
    pub(super) fn take_up(&mut self, old: &Emission, new: Emission) {
        for place in new.shared.difference(&old.shared) {
            self.acquire_shared(place);
        }
        for (place, element) in new.elements {
            if old.elements.get(&place) != Some(&element) {
                let (family, set, key) = place;
                self.draft.put(family, set.text(), key, element);
            }
        }
    }

    fn acquire_shared(&mut self, place: &Place) {
        let users = self.shared.entry(place.clone()).or_default();
        *users += 1;
        if *users == 1 {
            let (family, set, key) = place;
            self.draft.put(*family, set.text(), key.clone(), Element { value: Value::Present, comment: None });
        }
    }

    fn release_shared(&mut self, place: &Place) {
        let Some(users) = self.shared.get_mut(place) else { return };
        *users -= 1;
        if *users == 0 {
            self.shared.remove(place);
            self.draft.remove(place.0, place.1.text(), &place.2);
        }
    }

    fn acquire(&mut self, (family, part): (Family, Part), count: usize) {
        let users = self.parts.entry((family, part)).or_default();
        *users += count;
        if *users == count {
            let chain = part.chain(family, &self.settings.manners(family));
            self.draft.put_chain(family, part.name(), chain);
            for set in part.needs_sets() {
                self.acquire_set(family, set);
            }
            for next in part.needs() {
                self.acquire((family, next), 1);
            }
        }
    }

    fn release(&mut self, (family, part): (Family, Part), count: usize) {
        let Some(users) = self.parts.get_mut(&(family, part)) else { return };
        *users = users.saturating_sub(count);
        if *users == 0 {
            self.parts.remove(&(family, part));
            self.draft.remove_chain(family, &part.name());
            for set in part.needs_sets() {
                self.release_set(family, set);
            }
            for next in part.needs() {
                self.release((family, next), 1);
            }
        }
    }

    pub(super) fn acquire_set(&mut self, family: Family, set: SetId) {
        let users = self.sets.entry((family, set)).or_default();
        *users += 1;
        if *users == 1 {
            self.draft.add_set(family, set);
            if let Some(size) = self.seed.sizes.get(&(family, set.name())) {
                self.draft.reserve(family, set.text(), *size);
            }
        }
    }

    fn release_set(&mut self, family: Family, set: SetId) {
        let Some(users) = self.sets.get_mut(&(family, set)) else { return };
        *users -= 1;
        if *users == 0 {
            self.sets.remove(&(family, set));
            self.draft.remove_set(family, set);
        }
    }
}
