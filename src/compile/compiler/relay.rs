//! What follows the settings, whatever the services are.

use std::collections::BTreeMap;

use super::Compiler;
use crate::compile::bytes::Bytes;
use crate::compile::emission::Emission;
use crate::compile::frame;
use crate::compile::layout::SetId;
use crate::compile::ruleset::Element;
use crate::compile::settings::Settings;
use crate::compile::treatment::Part;
use crate::model::{Family, ObjectName};

impl Compiler {
    /// Takes new settings. Families cannot change.
    pub fn set_settings(&mut self, settings: Settings) {
        if settings == self.settings {
            return;
        }
        let before = std::mem::replace(&mut self.settings, settings);
        self.lay_frame();
        self.relay_parts();
        let (old_manners, manners) = (before.all_manners(), self.settings.all_manners());
        if old_manners != manners {
            let all: Vec<ObjectName> = self.services.keys().cloned().collect();
            for name in all {
                let ports = self.services.get(&name).cloned().unwrap_or_default();
                let old = Emission::of(&ports, &old_manners);
                let new = Emission::of(&ports, &manners);
                self.give_up(&old, &new);
                self.take_up(&old, new);
            }
        }
    }

    /// Writes the frame's chains and the sets that follow the settings.
    pub(super) fn lay_frame(&mut self) {
        for family in self.settings.families.clone() {
            for (name, chain) in frame::chains(family, &self.settings) {
                self.draft.put_chain(family, name, chain);
            }
            for (set, wanted) in frame::elements(family, &self.settings) {
                self.replace_elements(family, set, wanted);
            }
        }
    }

    /// Writes the shared chains anew: their rules follow the settings.
    fn relay_parts(&mut self) {
        let parts: Vec<(Family, Part)> = self.parts.keys().copied().collect();
        for (family, part) in parts {
            let chain = part.chain(family, &self.settings.manners(family));
            self.draft.put_chain(family, part.name(), chain);
        }
    }

    fn replace_elements(&mut self, family: Family, set: SetId, wanted: BTreeMap<Bytes, Element>) {
        let table = self.draft.ruleset().get(family).as_ref();
        let now = table.and_then(|t| t.sets.get(set.text())).map(|s| s.elements.clone()).unwrap_or_default();
        for key in now.keys().filter(|key| !wanted.contains_key(key)) {
            self.draft.remove(family, set.text(), key);
        }
        for (key, element) in wanted {
            self.draft.put(family, set.text(), key, element);
        }
    }
}
