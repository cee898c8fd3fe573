//! One sync: changes through the rooms in their order, and a report.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::plan::{Routes, compile, routes};
use super::settings::settings;
use crate::apply::target::{CommitError, Outcome, Receipt, Remedy, Target};
use crate::apply::transaction::Transaction;
use crate::apply::{compare, diff, rebuild, seed};
use crate::compile::Compiler;
use crate::model::{
    Config, Family, FamilyOutcome, NoLocalEndpoints, ObjectName, PerFamily, Rejection, Stage, SyncKind, SyncReport,
};
use crate::policy::{PortRoutes, Route};
use crate::state::{Changes, Snapshot};

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
    failing: bool,
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
        let no_local = BTreeMap::new();
        Engine { config, families, target, compiler: None, generation: None, no_local, failing: false }
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
        self.target.generation().ok() != self.generation
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
        self.compare_with_target(None);
        let compiled = Instant::now();
        let committed = self.commit();
        if committed.operations > 0 {
            warn!(operations = committed.operations, "the rules in force were not ours any more; repaired");
        }
        let times = Times { begun, compiled };
        self.report(SyncKind::Full, snapshot, Changes::default(), Vec::new(), &Arrivals::default(), times, committed)
    }

    /// The first sync: adopts the slots and capacities in force, compiles everything, and takes the difference.
    fn start(&mut self, snapshot: &Snapshot) -> Vec<Rejection> {
        let live = match self.target.read_back() {
            Ok(live) => Some(live),
            Err(error) => {
                warn!(%error, "cannot read the rules in force; they will be replaced");
                None
            }
        };
        let seed = live.as_ref().map(seed).unwrap_or_default();
        let routes = self.routes(snapshot, snapshot.services.keys());
        let (compiler, rejections) = compile(&self.config, snapshot, &self.families, seed, routes);
        self.compiler = Some(compiler);
        self.compare_with_target(live);
        rejections
    }

    fn update(&mut self, snapshot: &Snapshot, changes: &Changes) -> Vec<Rejection> {
        let routes = match changes.node {
            true => self.routes(snapshot, snapshot.services.keys().chain(&changes.services)),
            false => self.routes(snapshot, changes.services.iter()),
        };
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

    /// Learns anew where the rules in force differ. When they cannot be read, the next commit replaces them.
    fn compare_with_target(&mut self, live: Option<crate::apply::target::Live>) {
        let Some(compiler) = &mut self.compiler else { return };
        self.generation = self.target.generation().ok();
        let live = live.or_else(|| self.target.read_back().ok()).unwrap_or_default();
        for family in &self.families {
            if let Some(wanted) = compiler.draft().ruleset().get(*family) {
                let pending = compare(*family, wanted, live.get(*family).as_ref());
                compiler.draft_mut().set_pending(*family, pending);
            }
        }
    }

    /// Commits what is pending, following each error's own advice, a bounded number of times.
    fn commit(&mut self) -> Committed {
        let mut committed = Committed::default();
        for attempt in 0..TRIES {
            let Some(compiler) = &self.compiler else { break };
            let transaction = match committed.rebuild {
                true => self.rebuilding(&committed),
                false => diff(compiler.draft()),
            };
            if transaction.is_empty() {
                committed.nothing_left();
                break;
            }
            debug!(target: "ferroproxy::transaction", "\n{transaction}");
            let receipt = self.target.commit(&transaction);
            committed.operations += transaction.weight();
            committed.bytes += receipt.bytes;
            let advice = self.settle(&transaction, receipt, &mut committed);
            match advice {
                None | Some(Remedy::GiveUp) => break,
                Some(remedy) => self.follow(remedy, attempt, &mut committed),
            }
        }
        self.failing = committed.families.iter().any(|(_, outcome)| !outcome.is_ok());
        committed
    }

    /// Notes how each family fared. Answers what to do about the first failure.
    fn settle(&mut self, transaction: &Transaction, receipt: Receipt, committed: &mut Committed) -> Option<Remedy> {
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
                    advice = advice.or(Some(error.remedy));
                }
            }
        }
        self.generation = self.target.generation().ok();
        advice
    }

    fn follow(&mut self, remedy: Remedy, attempt: usize, committed: &mut Committed) {
        // What is still refused after a fresh comparison is built from nothing, once.
        let again = attempt > 0 && remedy == Remedy::Resync;
        match remedy {
            Remedy::Retry | Remedy::GiveUp => {}
            Remedy::Resync if !again => self.compare_with_target(None),
            Remedy::Resync | Remedy::Rebuild => committed.rebuild = true,
        }
    }

    /// A transaction that builds the tables of the families that failed from nothing.
    fn rebuilding(&mut self, committed: &Committed) -> Transaction {
        let live = self.target.read_back().unwrap_or_default();
        let mut transaction = Transaction::default();
        for family in &self.families {
            let failed = matches!(committed.families.get(*family), FamilyOutcome::Failed(_));
            let table = self.compiler.as_ref().and_then(|c| c.draft().ruleset().get(*family).as_ref());
            if let (true, Some(table)) = (failed, table) {
                *transaction.families.get_mut(*family) = rebuild(table, live.get(*family).is_some());
            }
        }
        transaction
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
            programming_latencies: changes.triggers.iter().map(since).collect(),
            event_latencies: arrivals.events.iter().map(|at| ended.saturating_duration_since(*at)).collect(),
            service_changes: changes.service_events,
            endpoint_changes: changes.slice_events,
            commit_bytes: committed.bytes,
            operations: committed.operations,
            services: snapshot.service_count(),
            elements: self.compiler.as_ref().map_or(0, element_count),
            no_local_endpoints: self.no_local_total(),
            rejections,
            quarantined: Vec::new(),
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
    rebuild: bool,
}

impl Committed {
    /// After a fresh comparison nothing differs: what was refused is in force already.
    fn nothing_left(&mut self) {
        for family in Family::ALL {
            let outcome = self.families.get_mut(family);
            if !outcome.is_ok() {
                *outcome = FamilyOutcome::Unchanged;
            }
        }
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
