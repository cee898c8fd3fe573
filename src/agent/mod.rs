//! The hall clock: the one loop that moves values from room to room.

mod engine;
mod figures;
mod flows;
mod guard;
mod health;
mod iptables;
mod oddities;
mod pace;
mod plan;
mod report;
mod rules;
mod settings;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep_until;
use tracing::{debug, info, warn};

use crate::host::Conntrack;
use crate::model::{Config, Event, Family, ObjectKind, Rejection, SyncReport};
use crate::observe::{Moment, Observer};
use crate::source::Feed;
use crate::state::{Snapshot, State};

pub use engine::Engine;
pub use figures::KernelFigures;
use guard::Guard;
use health::HealthPorts;
pub use iptables::IptablesEngine;
use pace::Pace;
pub use plan::{plan, plan_iptables};
pub use rules::{Arrivals, Finding, Rules};
use settings::waits_for_addresses;
pub use settings::{iptables_settings, on_loopback, settings, waits_for_node};

/// The most batches taken in before a sync: events that arrive during a commit ride in the next one, but none waits for ever.
const BATCHES_A_SYNC: usize = 4096;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to stop. The rules stay in force.
    Stopped,
    /// It was to sync once, and everything is in force.
    Synced,
    /// It was to sync once, and something could not be brought into force.
    Failed,
    /// The source has ended.
    SourceEnded,
}

/// The loop and what it moves values between.
pub struct Agent<E> {
    config: Config,
    families: Vec<Family>,
    state: State,
    engine: E,
    observer: Observer,
    conntrack: Option<Conntrack>,
    health_ports: HealthPorts,
    arrivals: Arrivals,
    pace: Pace,
    guard: Guard,
    /// When the kernel's figures are read next.
    figures_at: Instant,
    restarts: BTreeMap<ObjectKind, u64>,
    once: bool,
    in_force: Option<Box<dyn FnOnce() + Send>>,
}

impl<E: Rules> Agent<E> {
    /// An agent that has seen nothing yet. With `once` it ends after the first sync.
    pub fn new(config: Config, families: Vec<Family>, engine: E, observer: Observer, once: bool) -> Agent<E> {
        let pace = Pace::new(config.sync_period, config.min_sync_period);
        Agent {
            config,
            families,
            state: State::new(),
            engine,
            observer,
            conntrack: None,
            health_ports: HealthPorts::default(),
            arrivals: Arrivals::default(),
            pace,
            guard: Guard::new(Instant::now()),
            figures_at: Instant::now(),
            restarts: BTreeMap::new(),
            once,
            in_force: None,
        }
    }

    /// Also tells the conntrack reconciler what changes.
    pub fn with_conntrack(mut self, conntrack: Option<Conntrack>) -> Agent<E> {
        self.conntrack = conntrack;
        self
    }

    /// Does something once everything has come into force for the first time.
    pub fn once_in_force(mut self, then: impl FnOnce() + Send + 'static) -> Agent<E> {
        self.in_force = Some(Box::new(then));
        self
    }

    /// Runs until told to stop. A commit in flight is finished first.
    pub async fn run(mut self, feed: &mut Feed, stop: impl Future<Output = ()>) -> Ending {
        let mut stop = pin!(stop);
        loop {
            let wake = self.wake();
            tokio::select! {
                biased;
                () = &mut stop => return Ending::Stopped,
                batch = feed.events.recv() => match batch {
                    Some(batch) => self.take_in(batch, &mut feed.events),
                    None => return Ending::SourceEnded,
                },
                () = wait_until(wake) => {}
            }
            self.count_restarts(feed);
            if let Some(ending) = self.turn() {
                return ending;
            }
        }
    }

    /// When to wake even if nothing happens; `None`: only an event can change anything.
    fn wake(&self) -> Option<Instant> {
        let next = || self.pace.next(self.engine.retry_at());
        let looks = self.engine.has_synced().then(|| self.guard.next());
        self.is_ready().then(|| looks.map_or_else(next, |at| at.min(next())))
    }

    /// Whether enough is known to write rules. Once they are written they are kept in step whatever becomes of the Node.
    fn is_ready(&self) -> bool {
        let snapshot = self.state.snapshot();
        let waits_for_node = || waits_for_node(&self.config, snapshot, self.state.knows_node());
        let waits = || waits_for_node() || waits_for_addresses(&self.config, snapshot);
        let patient = || !self.once || self.state.knows_service_cidrs();
        self.engine.has_synced() || (self.state.is_complete() && !waits() && patient())
    }

    /// Takes in a batch and whatever else has arrived by now.
    fn take_in(&mut self, first: Vec<Event>, events: &mut UnboundedReceiver<Vec<Event>>) {
        let mut next = Some(first);
        for _ in 0..BATCHES_A_SYNC {
            let Some(batch) = next else { break };
            let received = Instant::now();
            for event in batch {
                match event {
                    Event::Rejected(rejection) => {
                        log_rejection(&rejection);
                        self.observer.rejected(&rejection);
                    }
                    event => self.state.apply(event),
                }
            }
            self.arrivals.events.push(received);
            next = events.try_recv().ok();
        }
        let changes = self.state.changes();
        if !changes.is_empty() {
            self.observer.queued(Moment::now(), &self.families);
            self.observer.pending(changes.service_events, changes.slice_events);
        }
    }

    /// Tells the world how often the source had to begin anew since the last look.
    fn count_restarts(&mut self, feed: &Feed) {
        for kind in ObjectKind::ALL {
            let (now, told) = (feed.stats.restarts(kind), self.restarts.entry(kind).or_default());
            for _ in *told..now {
                self.observer.watch_restarted(kind);
            }
            *told = now;
        }
    }

    /// Does what is due: a sync, a retry, an audit, a look at what others did. Answers when the run is over.
    fn turn(&mut self) -> Option<Ending> {
        self.observer.node(self.state.snapshot().node.as_ref());
        if !self.is_ready() {
            // What waits for the first lists says nothing about how fast a change is carried out.
            self.arrivals = Arrivals::default();
            return None;
        }
        let synced = self.sync_if_due(Instant::now());
        if !synced && !self.state.has_changes() {
            self.arrivals = Arrivals::default();
        }
        self.look_if_due(Instant::now());
        self.tell_figures_if_due(Instant::now());
        let ended = if self.engine.retry_at().is_some() { Ending::Failed } else { Ending::Synced };
        (self.once && synced).then_some(ended)
    }

    /// A sync of what changed, a retry of what failed, or the periodic audit. Says whether there was any.
    fn sync_if_due(&mut self, now: Instant) -> bool {
        let has_changes = !self.engine.has_synced() || self.state.has_changes();
        if has_changes && self.pace.must_wait(now) {
            return false;
        }
        let retry = self.engine.retry_at().is_some_and(|at| now >= at);
        let report = match () {
            () if has_changes || retry => self.sync(),
            () if self.pace.audit_is_due(now) => {
                self.pace.audited(now);
                if !self.engine.is_disturbed() && !self.engine.has_quarantined() {
                    return false;
                }
                self.compare(|engine, snapshot| engine.audit(snapshot))
            }
            () => return false,
        };
        self.tell(&report);
        self.pace.synced(Instant::now());
        if self.engine.retry_at().is_none()
            && let Some(then) = self.in_force.take()
        {
            then();
        }
        true
    }

    /// Looks whether others have touched our tables, and repairs what they did.
    fn look_if_due(&mut self, now: Instant) {
        let Some(seen) = self.guard.is_due(now) else { return };
        let finding = self.engine.look(seen);
        if !self.guard.looked(&finding, now) {
            return;
        }
        debug!(?finding, "someone changed the ruleset of the namespace; comparing ours");
        let report = self.compare(|engine, _| engine.repair());
        self.tell(&report);
    }

    /// Reads the figures only the kernel has. The looks wake the loop often enough.
    fn tell_figures_if_due(&mut self, now: Instant) {
        if now < self.figures_at || !self.engine.has_synced() {
            return;
        }
        self.figures_at = now + figures::EVERY;
        let told = self.engine.kernel_figures();
        self.observer.learned(told.learned);
        self.observer.connections(&told.connections, self.config.count_connections.unwrap_or_default());
    }

    /// Compares everything, and notes how long that took.
    fn compare(&mut self, how: impl FnOnce(&mut E, &Snapshot) -> SyncReport) -> SyncReport {
        let begun = Instant::now();
        let report = how(&mut self.engine, self.state.snapshot());
        self.guard.compared(begun, Instant::now());
        report
    }

    fn sync(&mut self) -> SyncReport {
        let changes = self.state.take_changes();
        let arrivals = std::mem::take(&mut self.arrivals);
        if let Some(conntrack) = &self.conntrack {
            let first = !self.engine.has_synced();
            flows::announce(conntrack, &self.config, self.state.snapshot(), &changes, first);
        }
        let snapshot = self.state.snapshot();
        self.health_ports.update(&self.config, snapshot, &self.families, &changes);
        self.observer.health_checks(self.health_ports.before());
        let report = self.engine.sync(snapshot, changes, &arrivals);
        self.observer.health_checks(self.health_ports.after());
        report
    }

    fn tell(&self, report: &SyncReport) {
        if let Some(conntrack) = &self.conntrack {
            flows::settle(conntrack, report);
        }
        report.rejections.iter().for_each(log_rejection);
        log_drift(report);
        if report.operations > 0 {
            info!(
                kind = ?report.kind,
                services = report.services,
                elements = report.elements,
                operations = report.operations,
                bytes = report.commit_bytes,
                duration_ms = report.duration.as_secs_f64() * 1e3,
                "synced"
            );
        }
        self.observer.report(report);
        if let Some(figures) = self.engine.figures() {
            self.observer.iptables(figures);
        }
    }
}

async fn wait_until(wake: Option<Instant>) {
    match wake {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// So many objects that others changed are named.
const NAMED: usize = 8;

fn log_drift(report: &SyncReport) {
    for drift in report.drift.iter().take(NAMED) {
        warn!(kind = drift.kind.name(), family = %drift.family, object = drift.object, "somebody else changed our rules: {drift}");
    }
    if !report.drift.is_empty() {
        let failed: Vec<Family> =
            report.families.iter().filter(|(_, o)| !o.is_ok()).map(|(family, _)| family).collect();
        let operations = report.operations;
        match failed.is_empty() {
            true => {
                warn!(objects = report.drift.len(), operations, "the rules in force were not ours any more; repaired")
            }
            false => warn!(
                objects = report.drift.len(),
                ?failed,
                "the rules in force are not ours any more and cannot be repaired yet"
            ),
        }
    }
}

fn log_rejection(rejection: &Rejection) {
    warn!(kind = %rejection.kind, object = rejection.object, field = rejection.field, "{}", rejection.reason);
}

#[cfg(test)]
mod tests;
