//! Services that are left out because the kernel refuses an element of theirs: one bad service must not hold back all others.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::Engine;
use super::commit::Committed;
use crate::apply::target::{CommitError, Outcome, Receipt, Remedy, Target};
use crate::compile::bytes::Bytes;
use crate::compile::ruleset::Name;
use crate::model::{Family, ObjectName};
use crate::state::Snapshot;

/// The most services left out in one sync. Where more are refused, the rest waits for the next try: a stop is not kept waiting.
const MOST: usize = 16;

/// Who is left out.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    services: BTreeSet<ObjectName>,
    /// Those that are tried again in this sync.
    probation: BTreeSet<ObjectName>,
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

    /// The sync is over.
    pub(super) fn end_probation(&mut self) {
        self.probation.clear();
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
        warn!(service = %owner, %family, %error, "the kernel refuses this Service; it is left out until it changes");
        compiler.update(BTreeMap::from([(owner.clone(), Vec::new())]));
        self.quarantine.services.insert(owner);
        committed.left_out += 1;
    }
}
