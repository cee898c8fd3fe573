//! One sync: changes through the rooms in their order, and a report.

mod commit;
pub(super) mod holds;
mod quarantine;
mod report;
mod rules;

use std::time::Instant;

use jiff::Timestamp;
use tracing::warn;

use super::figures::Before;
use super::oddities::Oddities;
use super::plan::{Routes, routes};
use super::report::{Sync, Times};
use super::rules::Arrivals;
use super::settings::settings;
use crate::apply::target::{CommitError, Live, Target};
use crate::apply::{drift, learn, seed};
use crate::compile::Compiler;
use crate::compile::draft::Pending;
use crate::model::{Config, Drift, Family, ObjectName, Rejection, SyncKind, SyncReport};
use crate::state::{Changes, Snapshot};
use holds::Holds;
use quarantine::Quarantine;

/// How many services are compiled at a time.
const SERVICES_AT_A_TIME: usize = 512;
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
    oddities: Oddities,
    quarantine: Quarantine,
    /// What the kernel had counted when it was asked last.
    counted: Before,
    /// Families whose last commit failed, and when each is tried again.
    holds: Holds,
    /// Changes that happened before say nothing about how fast we are.
    started: Timestamp,
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
            oddities: Oddities::default(),
            quarantine: Quarantine::default(),
            counted: Before::default(),
            holds: Holds::default(),
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
        self.holds.next().is_some()
    }

    /// [`Rules::sync`] at this time: families whose commit failed lately wait for theirs.
    fn sync_at(&mut self, begun: Instant, snapshot: &Snapshot, changes: Changes, arrivals: &Arrivals) -> SyncReport {
        let kind = if self.compiler.is_none() { SyncKind::Full } else { SyncKind::Partial };
        let rejections = match kind {
            SyncKind::Full => self.start(snapshot),
            SyncKind::Partial => self.update(snapshot, &changes),
        };
        let compiled = Instant::now();
        let committed = self.commit(Some(begun));
        let times = Times { begun, compiled };
        self.report(Sync { kind, changes, rejections, arrivals, times, drift: None }, committed)
    }

    fn audit_and(&mut self, then: impl FnOnce(&mut Self)) -> SyncReport {
        let begun = Instant::now();
        let drift = match self.read_back() {
            Ok(live) => Some(self.learn_drift(live)),
            Err(error) => {
                warn!(%error, "cannot read the rules in force; they are looked at again later");
                None
            }
        };
        then(self);
        let compiled = Instant::now();
        let committed = self.commit(None);
        let times = Times { begun, compiled };
        self.report(Sync::audit(&Arrivals::default(), times, drift), committed)
    }

    /// Learns anew where the rules in force differ. Answers what others changed: what was pending before is not their doing.
    fn learn_drift(&mut self, live: Live) -> Vec<Drift> {
        let Some(compiler) = &mut self.compiler else { return Vec::new() };
        let is_settled = |family: &Family| *compiler.draft().pending().get(*family) == Pending::default();
        let settled: Vec<Family> = self.families.iter().copied().filter(is_settled).collect();
        learn(compiler.draft_mut(), &live);
        settled.into_iter().flat_map(|family| drift(compiler.draft(), &live, family)).collect()
    }

    /// The first sync: adopts the slots and capacities in force, compiles everything, and takes the difference.
    fn start(&mut self, snapshot: &Snapshot) -> Vec<Rejection> {
        let live = self.read_back_or_replace();
        let seed = live.as_ref().map(seed).unwrap_or_default();
        let mut compiler = Compiler::new(settings(&self.config, snapshot, &self.families), seed);
        let rejections = self.take_in(&mut compiler, snapshot, snapshot.services.keys());
        compiler.forget_seed();
        compiler.pack();
        self.compiler = Some(compiler);
        self.compare_with(live);
        rejections
    }

    /// Tells the compiler the routes of these services now, some at a time: what many contribute is not held in memory twice.
    fn take_in<'a>(
        &mut self,
        compiler: &mut Compiler,
        snapshot: &Snapshot,
        names: impl Iterator<Item = &'a ObjectName>,
    ) -> Vec<Rejection> {
        let mut names = names.peekable();
        let mut rejections = Vec::new();
        while names.peek().is_some() {
            let routes = self.routes(snapshot, names.by_ref().take(SERVICES_AT_A_TIME));
            rejections.extend(compiler.update(routes));
        }
        rejections
    }

    fn update(&mut self, snapshot: &Snapshot, changes: &Changes) -> Vec<Rejection> {
        let Some(mut compiler) = self.compiler.take() else { return Vec::new() };
        self.quarantine.release(|name| changes.node || changes.services.contains(name));
        // What very many have in force is not held in memory twice: where so many change at once, who is refused goes without.
        if changes.services.len() <= SERVICES_AT_A_TIME {
            changes.services.iter().for_each(|name| self.quarantine.note(name, compiler.routes_of(name)));
        }
        if changes.node || changes.service_cidrs || changes.local_addresses {
            compiler.set_settings(settings(&self.config, snapshot, &self.families));
        }
        let rejections = match changes.node {
            true => self.take_in(&mut compiler, snapshot, snapshot.services.keys().chain(&changes.services)),
            false => self.take_in(&mut compiler, snapshot, changes.services.iter()),
        };
        self.compiler = Some(compiler);
        rejections
    }

    /// The routes of these services now, what is odd about them counted.
    fn routes<'a>(&mut self, snapshot: &Snapshot, names: impl Iterator<Item = &'a ObjectName>) -> Routes {
        let routes = routes(&self.config, snapshot, names);
        self.oddities.recount(&routes);
        routes
    }

    /// Learns anew where the rules in force differ. When they could not be read, the next commit replaces them.
    fn compare_with(&mut self, live: Option<Live>) {
        let Some(compiler) = &mut self.compiler else { return };
        let Some(live) = live else {
            for family in &self.families {
                let pending = Pending { absent: true, unknown: true, ..Pending::default() };
                compiler.draft_mut().set_pending(*family, pending);
            }
            return;
        };
        learn(compiler.draft_mut(), &live);
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
}

#[cfg(test)]
mod tests;
