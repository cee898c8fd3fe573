//! Restoring what is pending, and what to do when that is refused.

use std::time::Instant;

use tracing::{debug, info, warn};

use super::IptablesEngine;
use crate::apply::iptables::RestoreTarget;
use crate::apply::target::{CommitError, Remedy};
use crate::compile::iptables::{Measure, Table, TableRestore};
use crate::model::{Family, FamilyOutcome, IptablesFigures, PerFamily};

/// What a sync's restores came to.
#[derive(Debug, Default)]
pub(super) struct Committed {
    pub(super) families: PerFamily<FamilyOutcome>,
    pub(super) operations: usize,
    pub(super) bytes: usize,
    /// Whether everything was written in some family.
    pub(super) wrote_everything: bool,
}

impl<T: RestoreTarget> IptablesEngine<T> {
    /// Restores what is pending, family by family: the failure of one does not hold up the other.
    /// With a time, families whose last commit failed wait for theirs.
    pub(super) fn commit(&mut self, at: Option<Instant>) -> Committed {
        let mut committed = Committed::default();
        self.figures = IptablesFigures::default();
        let undisturbed = !self.watch.is_moved(&mut self.target);
        for family in self.families.clone() {
            match at.is_some_and(|at| self.holds.is_held(family, at)) {
                true => {
                    let reason = self.holds.reason(family).to_owned();
                    *committed.families.get_mut(family) = FamilyOutcome::Failed(reason);
                }
                false => self.commit_family(family, &mut committed),
            }
        }
        if undisturbed {
            self.watch.begin(&mut self.target);
        }
        let wait = self.target.lock_wait();
        (self.figures.lock_waits, self.figures.lock_waited) = (wait.times, wait.waited);
        self.count_rules();
        committed
    }

    fn commit_family(&mut self, family: Family, committed: &mut Committed) {
        let everything = *self.unsure.get(family);
        let outcome = match everything {
            true => self.write_everything(family, committed),
            false => match self.write_pending(family, committed) {
                Err(error) if error.remedy == Remedy::Resync => {
                    *self.figures.partial_restore_failures.get_mut(family) += 1;
                    warn!(%family, %error, "a restore of what changed was refused; everything is written");
                    self.write_everything(family, committed)
                }
                outcome => outcome,
            },
        };
        let outcome = outcome.unwrap_or_else(|error| {
            match error.remedy {
                Remedy::Retry => info!(%family, %error, "the chains could not be written now; it is tried again"),
                _ => warn!(%family, %error, "the chains cannot be written"),
            }
            FamilyOutcome::Failed(error.to_string())
        });
        match &outcome {
            FamilyOutcome::Failed(reason) => self.holds.failed(family, reason, Instant::now()),
            _ => self.holds.succeeded(family),
        }
        *committed.families.get_mut(family) = outcome;
    }

    /// Everything anew: after a look at what stands, because stale chains and missing jumps are not known otherwise.
    fn write_everything(&mut self, family: Family, committed: &mut Committed) -> Result<FamilyOutcome, CommitError> {
        if !self.learn(family, Measure::Everything) {
            let message = "the chains in force cannot be read".to_owned();
            return Err(CommitError { remedy: Remedy::Retry, errno: None, message, element: None });
        }
        committed.wrote_everything = true;
        let outcome = self.write_pending(family, committed);
        *self.unsure.get_mut(family) = outcome.is_err();
        outcome
    }

    /// Table by table. What one table was told stays pending until it is in force.
    fn write_pending(&mut self, family: Family, committed: &mut Committed) -> Result<FamilyOutcome, CommitError> {
        let Some(compiler) = &self.compiler else { return Ok(FamilyOutcome::Unchanged) };
        let tables = compiler.restore_family(family);
        let outcome = if tables.is_empty() { FamilyOutcome::Unchanged } else { FamilyOutcome::Committed };
        for (index, told) in tables.iter().enumerate() {
            let told_in_part = |before: &TableRestore| tables[index..].iter().any(|later| later.table == before.table);
            let in_part = tables[..index].iter().any(told_in_part);
            self.write_table(family, told, committed).map_err(|error| match in_part {
                true => CommitError { remedy: error.remedy.or_resync(), ..error },
                false => error,
            })?;
            let is_told_again = tables[index + 1..].iter().any(|later| later.table == told.table);
            if let (Some(compiler), false) = (&mut self.compiler, is_told_again) {
                compiler.committed(family, told.table);
            }
        }
        Ok(outcome)
    }

    fn write_table(
        &mut self,
        family: Family,
        table: &TableRestore,
        committed: &mut Committed,
    ) -> Result<(), CommitError> {
        debug!(target: "ferroproxy::transaction", %family, "\n{table}");
        committed.operations += table.rules() + table.gone();
        match self.target.restore(family, table) {
            Ok(bytes) => committed.bytes += bytes,
            Err(error) => {
                *self.figures.restore_failures.get_mut(family) += 1;
                return Err(error);
            }
        }
        *self.figures.written.get_mut(family).entry(table.table.name()).or_default() += table.rules();
        Ok(())
    }

    fn count_rules(&mut self) {
        let Some(compiler) = &self.compiler else { return };
        for family in &self.families {
            let rules = self.figures.rules.get_mut(*family);
            let counted = [Table::Filter, Table::Nat].map(|table| (table.name(), compiler.rule_count(*family, table)));
            rules.extend(counted);
        }
    }
}
