//! Committing what is pending, and following the advice of errors.

use std::time::Instant;

use tracing::{debug, info, warn};

use super::{Engine, TRIES};
use crate::apply::target::{CommitError, Outcome, Receipt, Remedy, Target};
use crate::apply::transaction::Transaction;
use crate::apply::{diff, rebuild};
use crate::model::{Family, FamilyOutcome, PerFamily};

impl<T: Target> Engine<T> {
    /// Commits what is pending, following each error's own advice, a bounded number of times. Families that failed lately wait for their
    /// time; without a time (`None`), none does.
    pub(super) fn commit(&mut self, now: Option<Instant>) -> Committed {
        let held = self.families.iter().filter(|family| now.is_some_and(|now| self.holds.is_held(**family, now)));
        let mut committed = Committed { held: held.copied().collect(), ..Committed::default() };
        let mut tries = TRIES;
        while let Some(left) = tries.checked_sub(1) {
            tries = left;
            let transaction = self.transaction(&committed);
            committed.rests(&transaction);
            if transaction.is_empty() {
                break;
            }
            debug!(target: "ferroproxy::transaction", "\n{transaction}");
            let receipt = self.send(&transaction);
            committed.operations += transaction.weight();
            committed.bytes += receipt.bytes;
            let advice = self.settle(&transaction, &receipt, &mut committed);
            if self.leave_out(&receipt, &mut committed) {
                tries = TRIES;
                continue;
            }
            match advice {
                None | Some(Remedy::GiveUp) => break,
                Some(remedy) => self.follow(remedy, &mut committed),
            }
        }
        self.settle_holds(&mut committed);
        self.quarantine.end_sync(!self.is_failing());
        committed
    }

    /// Notes which families failed and when to try them again; those that were held back fail as they did before.
    fn settle_holds(&mut self, committed: &mut Committed) {
        for family in self.families.clone() {
            let outcome = committed.families.get_mut(family);
            match (outcome, committed.held.contains(&family)) {
                (outcome, true) => *outcome = FamilyOutcome::Failed(self.holds.reason(family).to_owned()),
                (FamilyOutcome::Failed(reason), false) => self.holds.failed(family, reason, Instant::now()),
                (_, false) => self.holds.succeeded(family),
            }
        }
    }

    /// What differs; where that was refused once more, a table from nothing.
    fn transaction(&self, committed: &Committed) -> Transaction {
        let Some(compiler) = &self.compiler else { return Transaction::default() };
        let mut transaction = diff(compiler.draft());
        for family in &self.families {
            let failed = !committed.families.get(*family).is_ok();
            if let (true, true, Some(table)) = (committed.rebuild, failed, compiler.draft().ruleset().get(*family)) {
                *transaction.families.get_mut(*family) = rebuild(table);
            }
        }
        committed.held.iter().for_each(|family| transaction.families.get_mut(*family).clear());
        transaction
    }

    /// Commits. Each batch moves the generation by one, past zero: where it stands elsewhere afterwards, others have committed too, before
    /// or meanwhile, and the next look sees it.
    fn send(&mut self, transaction: &Transaction) -> Receipt {
        let receipt = self.target.commit(transaction);
        for _ in 0..receipt.batches {
            self.generation = self.generation.map(|then| then.checked_add(1).unwrap_or(1));
        }
        receipt
    }

    /// Notes how each family fared. Answers what to do about the failures: what helps one family does not harm the other.
    pub(super) fn settle(
        &mut self,
        transaction: &Transaction,
        receipt: &Receipt,
        committed: &mut Committed,
    ) -> Option<Remedy> {
        let mut advice = None;
        for family in transaction.touched() {
            match receipt.families.get(family) {
                Outcome::Done => {
                    if let Some(compiler) = &mut self.compiler {
                        compiler.draft_mut().committed(family);
                    }
                    *committed.families.get_mut(family) = FamilyOutcome::Committed;
                }
                Outcome::Failed(error) => {
                    log_failure(family, error);
                    *committed.families.get_mut(family) = FamilyOutcome::Failed(error.to_string());
                    advice =
                        [advice, Some(advised(error))].into_iter().max_by_key(|remedy| remedy.map(reach)).flatten();
                }
            }
        }
        advice
    }

    fn follow(&mut self, remedy: Remedy, committed: &mut Committed) {
        let tried_before = committed.tried_afresh;
        committed.tried_afresh |= remedy != Remedy::Retry;
        match remedy {
            Remedy::Retry | Remedy::GiveUp => {}
            Remedy::Resync if !tried_before => {
                let live = self.read_back_or_replace();
                self.compare_with(live);
            }
            // What is still refused after a fresh comparison is built from nothing.
            Remedy::Resync | Remedy::Rebuild => committed.rebuild = true,
        }
    }
}

/// What a sync's commits came to.
#[derive(Debug, Default)]
pub(super) struct Committed {
    pub(super) families: PerFamily<FamilyOutcome>,
    pub(super) operations: usize,
    pub(super) bytes: usize,
    /// Whether the tables that failed are to be built from nothing.
    pub(super) rebuild: bool,
    /// Whether what was refused has been tried again after a fresh comparison or from nothing.
    pub(super) tried_afresh: bool,
    /// How many services were left out.
    pub(super) left_out: usize,
    /// Families that were not tried: their time has not come.
    pub(super) held: Vec<Family>,
}

impl Committed {
    /// A family that failed and has nothing left to do, after a fresh comparison: what was refused is in force already.
    fn rests(&mut self, transaction: &Transaction) {
        for family in Family::ALL.into_iter().filter(|family| transaction.families.get(*family).is_empty()) {
            let outcome = self.families.get_mut(family);
            if !outcome.is_ok() {
                *outcome = FamilyOutcome::Unchanged;
            }
        }
    }
}

/// What to do after an error. A refusal for good of one element need not be the end of all others.
fn advised(error: &CommitError) -> Remedy {
    match (error.remedy, &error.element) {
        (Remedy::GiveUp, Some(_)) => Remedy::Resync,
        (remedy, _) => remedy,
    }
}

/// Orders remedies by how much they do.
fn reach(remedy: Remedy) -> u8 {
    match remedy {
        Remedy::GiveUp => 0,
        Remedy::Retry => 1,
        Remedy::Resync => 2,
        Remedy::Rebuild => 3,
    }
}

fn log_failure(family: Family, error: &CommitError) {
    match error.remedy {
        Remedy::Retry => info!(%family, %error, "the kernel asks for another try"),
        _ => warn!(%family, %error, "the kernel refused a transaction"),
    }
}
