//! Services that are left out because the kernel refuses an element of theirs: one bad service must not hold back all others. One whose
//! earlier rules are in force keeps those.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::commit::Committed;
use super::{Engine, Routes};
use crate::apply::target::{CommitError, Outcome, Receipt, Remedy, Target};
use crate::compile::bytes::Bytes;
use crate::compile::ruleset::Name;
use crate::model::{Family, ObjectName};
use crate::policy::PortRoutes;
use crate::state::Snapshot;

/// The most services left out in one sync. Where more are refused, the rest waits for the next try: a stop is not kept waiting.
const MOST: usize = 16;

/// Who is left out.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    services: BTreeSet<ObjectName>,
    /// Those that are tried again in this sync.
    probation: BTreeSet<ObjectName>,
    /// The routes that are in force of services whose newer ones are pending, or were refused; none for a service that is new.
    good: Routes,
}

impl Quarantine {
    /// The services left out, as `namespace/name`.
    pub(super) fn names(&self) -> Vec<String> {
        self.services.iter().map(ToString::to_string).collect()
    }

    /// Whether nobody is left out.
    pub(super) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Lets these be tried again. Refused once more, they are left out without further ado.
    pub(super) fn release(&mut self, is_due: impl Fn(&ObjectName) -> bool) {
        let (due, stay) = std::mem::take(&mut self.services).into_iter().partition(is_due);
        self.services = stay;
        self.probation = due;
    }

    /// These routes of a service are in force, and others are about to take their place.
    pub(super) fn note(&mut self, name: &ObjectName, in_force: Vec<PortRoutes>) {
        self.good.entry(name.clone()).or_insert(in_force);
    }

    /// The sync is over; with `is_done`, everything wanted is in force.
    pub(super) fn end_sync(&mut self, is_done: bool) {
        self.probation.clear();
        if is_done {
            self.good.retain(|name, _| self.services.contains(name));
        }
    }

    /// Leaves a service out. Answers what it may have instead: what was in force, and the second time nothing.
    fn fall_back(&mut self, name: &ObjectName) -> Vec<PortRoutes> {
        match self.services.insert(name.clone()) {
            true => self.good.get(name).cloned().unwrap_or_default(),
            false => {
                self.good.remove(name);
                Vec::new()
            }
        }
    }
}

impl<T: Target> Engine<T> {
    /// Puts what is left out back into the wanted ruleset: the refusal may have been somebody else's doing.
    pub(super) fn try_quarantined(&mut self, snapshot: &Snapshot) {
        let names = self.quarantine.services.clone();
        let routes = self.routes(snapshot, names.iter());
        self.quarantine.release(|_| true);
        if let Some(compiler) = &mut self.compiler {
            compiler.update(routes);
        }
    }

    /// Leaves out the services whose elements were refused once more after a fresh try. Says whether there were any.
    pub(super) fn leave_out(&mut self, receipt: &Receipt, committed: &mut Committed) -> bool {
        let before = committed.left_out;
        for (family, outcome) in receipt.families.iter() {
            let Outcome::Failed(error) = outcome else { continue };
            if let (Some((set, key)), true) = (&error.element, error.remedy != Remedy::Retry) {
                self.leave_out_owner(family, set, key, error, committed);
            }
        }
        committed.left_out > before
    }

    fn leave_out_owner(
        &mut self,
        family: Family,
        set: &Name,
        key: &Bytes,
        error: &CommitError,
        committed: &mut Committed,
    ) {
        let Some(compiler) = &mut self.compiler else { return };
        let Some(owner) = compiler.owner_of_element(family, set.as_str(), key).cloned() else { return };
        let is_sure = committed.tried_afresh || self.quarantine.probation.contains(&owner);
        if !is_sure || committed.left_out >= MOST {
            return;
        }
        warn!(service = %owner, %family, %error, "the kernel refuses this Service; it keeps the rules it has, if any, until it changes");
        let instead = self.quarantine.fall_back(&owner);
        compiler.update(BTreeMap::from([(owner, instead)]));
        committed.left_out += 1;
    }
}
