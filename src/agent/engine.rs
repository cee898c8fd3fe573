//! One sync: changes through the rooms in their order, and a report.

mod quarantine;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::plan::{Routes, compile, routes};
use super::settings::settings;
use crate::apply::target::{CommitError, Live, Outcome, Receipt, Remedy, Target};
use crate::apply::transaction::Transaction;
use crate::apply::{compare, diff, rebuild, seed};
use crate::compile::Compiler;
use crate::compile::draft::Pending;
use crate::model::{
    Config, Family, FamilyOutcome, NoLocalEndpoints, ObjectName, PerFamily, Rejection, Stage, SyncKind, SyncReport,
};
use crate::policy::{PortRoutes, Route};
use crate::state::{Changes, Snapshot};
use quarantine::Quarantine;

/// How often a transaction is tried in one sync before it is left to the next.
const TRIES: usize = 4;

/// Moves changes to the target. Knows no clock: time is handed in.
pub struct Engine<T> {
    config: Config,
    families: Vec<Family>,
    target: T,
    compiler: Option<Compiler>,
    /// The ruleset generation of the namespace after our last look or commit.
    generation: Option<u32>,
    no_local: BTreeMap<ObjectName, PerFamily<NoLocalEndpoints>>,
    quarantine: Quarantine,
    failing: bool,
    /// Changes that happened before say nothing about how fast we are.
    started: Timestamp,
}

/// When a sync's changes were received and where time is read.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// When each event was received.
    pub events: Vec<Instant>,
}

impl<T: Target> Engine<T> {
    /// An engine that has synced nothing yet. `families` are those the target can hold.
    pub fn new(config: Config, families: Vec<Family>, target: T) -> Engine<T> {
        Engine {
            config,
            families,
            target,
            compiler: None,
            generation: None,
            no_local: BTreeMap::new(),
            quarantine: Quarantine::default(),
            failing: false,
            started: Timestamp::now(),
        }
    }

    /// The target.
    pub fn target(&self) -> &T {
        &self.target
    }

    /// The target, to do something to it.
    pub fn target_mut(&mut self) -> &mut T {
        &mut self.target
    }

    /// The wanted ruleset; `None` before the first sync.
    pub fn compiler(&self) -> Option<&Compiler> {
        self.compiler.as_ref()
    }

    /// Whether the last sync left something undone.
    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// Whether someone has committed to the namespace's ruleset since our last look or commit; also when that cannot be known.
    pub fn is_disturbed(&mut self) -> bool {
        !matches!((self.target.generation(), self.generation), (Ok(now), Some(then)) if now == then)
    }

    /// Brings what changed into force. The first sync compares with the kernel and brings everything.
    pub fn sync(&mut self, snapshot: &Snapshot, changes: Changes, arrivals: &Arrivals) -> SyncReport {
        let begun = Instant::now();
        let kind = if self.compiler.is_none() { SyncKind::Full } else { SyncKind::Partial };
        let rejections = match kind {
            SyncKind::Full => self.start(snapshot),
            SyncKind::Partial => self.update(snapshot, &changes),
        };
        let compiled = Instant::now();
        let committed = self.commit();
        self.report(kind, snapshot, changes, rejections, arrivals, Times { begun, compiled }, committed)
    }

    /// Compares everything with the kernel and repairs what differs.
    pub fn audit(&mut self, snapshot: &Snapshot) -> SyncReport {
        let begun = Instant::now();
        let tries_again = self.try_quarantined(snapshot);
        match self.read_back() {
            Ok(live) => self.compare_with(Some(live)),
            Err(error) => warn!(%error, "cannot read the rules in force; they are looked at again later"),
        }
        let compiled = Instant::now();
        let committed = self.commit();
        if committed.operations > 0 && !tries_again {
            warn!(operations = committed.operations, "the rules in force were not ours any more; repaired");
        }
        let times = Times { begun, compiled };
        self.report(SyncKind::Full, snapshot, Changes::default(), Vec::new(), &Arrivals::default(), times, committed)
    }

    /// The first sync: adopts the slots and capacities in force, compiles everything, and takes the difference.
    fn start(&mut self, snapshot: &Snapshot) -> Vec<Rejection> {
        let live = self.read_back_or_replace();
        let seed = live.as_ref().map(seed).unwrap_or_default();
        let routes = self.routes(snapshot, snapshot.services.keys());
        let (compiler, rejections) = compile(&self.config, snapshot, &self.families, seed, routes);
        self.compiler = Some(compiler);
        self.compare_with(live);
        rejections
    }

    fn update(&mut self, snapshot: &Snapshot, changes: &Changes) -> Vec<Rejection> {
        let routes = match changes.node {
            true => self.routes(snapshot, snapshot.services.keys().chain(&changes.services)),
            false => self.routes(snapshot, changes.services.iter()),
        };
        self.quarantine.release(|name| routes.contains_key(name));
        let Some(compiler) = &mut self.compiler else { return Vec::new() };
        if changes.node || changes.service_cidrs || changes.local_addresses {
            compiler.set_settings(settings(&self.config, snapshot, &self.families));
        }
        compiler.update(routes)
    }

    /// The routes of these services now, their Local policies without local endpoints counted.
    fn routes<'a>(&mut self, snapshot: &Snapshot, names: impl Iterator<Item = &'a ObjectName>) -> Routes {
        let routes = routes(&self.config, snapshot, names);
        for (name, ports) in &routes {
            match count_no_local(ports) {
                Some(counts) => self.no_local.insert(name.clone(), counts),
                None => self.no_local.remove(name),
            };
        }
        routes
    }

    /// Learns anew where the rules in force differ. When they could not be read, the next commit replaces them.
    fn compare_with(&mut self, live: Option<Live>) {
        let Some(compiler) = &mut self.compiler else { return };
        for family in &self.families {
            if let Some(wanted) = compiler.draft().ruleset().get(*family) {
                let pending = match &live {
                    Some(live) => compare(*family, wanted, live.get(*family).as_ref()),
                    None => Pending { absent: true, unknown: true, ..Pending::default() },
                };
                compiler.draft_mut().set_pending(*family, pending);
            }
        }
    }

    /// Reads the rules in force. The generation is the one from before: what changes meanwhile shows as a disturbance.
    fn read_back(&mut self) -> Result<Live, CommitError> {
        let generation = self.target.generation().ok();
        let live = self.target.read_back()?;
        self.generation = generation;
        Ok(live)
    }

    /// The rules in force, where there is a way to go on without.
    fn read_back_or_replace(&mut self) -> Option<Live> {
        let told = |error: &CommitError| warn!(%error, "cannot read the rules in force; they will be replaced");
        self.read_back().inspect_err(told).ok()
    }

    /// Commits what is pending, following each error's own advice, a bounded number of times.
    fn commit(&mut self) -> Committed {
        let mut committed = Committed::default();
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
        self.quarantine.end_probation();
        self.failing = committed.families.iter().any(|(_, outcome)| !outcome.is_ok());
        committed
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
        transaction
    }

    /// Commits. What others have committed since our last look stays to be seen by the next audit.
    fn send(&mut self, transaction: &Transaction) -> Receipt {
        let undisturbed = !self.is_disturbed();
        let receipt = self.target.commit(transaction);
        if undisturbed {
            self.generation = self.target.generation().ok();
        }
        receipt
    }

    /// Notes how each family fared. Answers what to do about the failures: what helps one family does not harm the other.
    fn settle(&mut self, transaction: &Transaction, receipt: &Receipt, committed: &mut Committed) -> Option<Remedy> {
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

    #[allow(clippy::too_many_arguments)]
    fn report(
        &self,
        kind: SyncKind,
        snapshot: &Snapshot,
        changes: Changes,
        rejections: Vec<Rejection>,
        arrivals: &Arrivals,
        times: Times,
        committed: Committed,
    ) -> SyncReport {
        let (ended, ended_at) = (Instant::now(), Timestamp::now());
        let since = |trigger: &Timestamp| Duration::try_from(ended_at.duration_since(*trigger)).unwrap_or_default();
        let first = arrivals.events.iter().min().copied().unwrap_or(times.begun);
        let served = committed.families.iter().all(|(_, outcome)| outcome.is_ok());
        let (triggers, events) =
            if served { (&changes.triggers[..], &arrivals.events[..]) } else { Default::default() };
        let triggers = triggers.iter().filter(|trigger| **trigger > self.started);
        let mut families = committed.families;
        for family in Family::ALL.into_iter().filter(|family| !self.families.contains(family)) {
            *families.get_mut(family) = FamilyOutcome::Absent;
        }
        SyncReport {
            kind,
            ended: ended_at,
            families,
            stages: vec![
                (Stage::Queue, times.begun.saturating_duration_since(first)),
                (Stage::Compile, times.compiled - times.begun),
                (Stage::Commit, ended - times.compiled),
            ],
            duration: ended - times.begun,
            programming_latencies: triggers.map(since).collect(),
            event_latencies: events.iter().map(|at| ended.saturating_duration_since(*at)).collect(),
            service_changes: changes.service_events,
            endpoint_changes: changes.slice_events,
            commit_bytes: committed.bytes,
            operations: committed.operations,
            services: snapshot.service_count(),
            elements: self.compiler.as_ref().map_or(0, element_count),
            no_local_endpoints: self.no_local_total(),
            rejections,
            quarantined: self.quarantine.names(),
        }
    }

    fn no_local_total(&self) -> PerFamily<NoLocalEndpoints> {
        let mut total = PerFamily::<NoLocalEndpoints>::default();
        for (family, counts) in self.no_local.values().flat_map(PerFamily::iter) {
            let sum = total.get_mut(family);
            sum.internal += counts.internal;
            sum.external += counts.external;
        }
        total
    }
}

/// When the stages of a sync began and ended.
struct Times {
    begun: Instant,
    compiled: Instant,
}

/// What a sync's commits came to.
#[derive(Debug, Default)]
struct Committed {
    families: PerFamily<FamilyOutcome>,
    operations: usize,
    bytes: usize,
    /// Whether the tables that failed are to be built from nothing.
    rebuild: bool,
    /// Whether what was refused has been tried again after a fresh comparison or from nothing.
    tried_afresh: bool,
    /// How many services were left out.
    left_out: usize,
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

fn element_count(compiler: &Compiler) -> usize {
    let tables = compiler.draft().ruleset().iter().filter_map(|(_, table)| table.as_ref());
    tables.flat_map(|table| table.sets.values()).map(|set| set.elements.len()).sum()
}

/// Ports whose Local policy finds no local endpoint while there are others; `None` when there are none.
fn count_no_local(ports: &[PortRoutes]) -> Option<PerFamily<NoLocalEndpoints>> {
    let mut counts = PerFamily::<NoLocalEndpoints>::default();
    for port in ports {
        let count = counts.get_mut(port.family);
        count.internal += usize::from(port.internal == Route::Drop);
        count.external += usize::from(port.external == Route::Drop && port.is_external());
    }
    (counts != PerFamily::default()).then_some(counts)
}

#[cfg(test)]
mod tests;
