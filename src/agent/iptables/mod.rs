//! One sync in iptables mode: changes through the rooms in their order, and a report.

mod commit;
mod report;
mod rules;
mod watch;

use std::time::Instant;

use jiff::Timestamp;
use tracing::warn;

use super::engine::holds::Holds;
use super::oddities::Oddities;
use super::plan::{Routes, contributions, routes};
use super::settings::iptables_settings;
use crate::apply::iptables::RestoreTarget;
use crate::compile::iptables::{IptablesCompiler, Measure};
use crate::model::{Config, Drift, DriftKind, Family, IptablesFigures, ObjectName, PerFamily, Rejection};
use crate::state::{Changes, Snapshot};

/// Moves changes to the classical chains.
pub struct IptablesEngine<T> {
    config: Config,
    families: Vec<Family>,
    target: T,
    compiler: Option<IptablesCompiler>,
    oddities: Oddities,
    /// Families whose chains in force are not known well enough for a partial restore: everything is written next.
    unsure: PerFamily<bool>,
    /// Families whose last commit failed, and when each is tried again.
    holds: Holds,
    watch: watch::Watch,
    figures: IptablesFigures,
    /// Changes that happened before say nothing about how fast we are.
    started: Timestamp,
}

impl<T: RestoreTarget> IptablesEngine<T> {
    /// An engine that has synced nothing yet.
    pub fn new(config: Config, families: Vec<Family>, target: T) -> IptablesEngine<T> {
        IptablesEngine {
            config,
            families,
            target,
            compiler: None,
            oddities: Oddities::default(),
            unsure: PerFamily::default(),
            holds: Holds::default(),
            watch: watch::Watch::default(),
            figures: IptablesFigures::default(),
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

    /// What is wanted; `None` before the first sync.
    pub fn compiler(&self) -> Option<&IptablesCompiler> {
        self.compiler.as_ref()
    }

    /// What others changed, where nothing of ours was pending before.
    fn drift(&self, family: Family) -> Vec<Drift> {
        let Some(compiler) = &self.compiler else { return Vec::new() };
        let mut all = Vec::new();
        for told in compiler.restore_family(family) {
            let table = told.table.name();
            let mut note = |kind, chain: &str, change: String| {
                all.push(Drift { family, kind, object: format!("{table} {chain}"), change });
            };
            for (chain, body) in &told.chains {
                match body {
                    Some(_) => note(DriftKind::Rules, chain.as_str(), "its rules are others, or it is gone".to_owned()),
                    None => note(DriftKind::Chain, chain.as_str(), "it is not ours, by a name of ours".to_owned()),
                }
            }
            told.jumps.iter().for_each(|jump| note(DriftKind::Rules, jump.from, format!("no jump to {}", jump.to)));
        }
        all
    }

    fn is_pending(&self, family: Family) -> bool {
        *self.unsure.get(family) || self.compiler.as_ref().is_some_and(|compiler| compiler.is_pending(family))
    }

    /// Learns what stands in a family. Where that cannot be read, everything is to be written once it can.
    fn learn(&mut self, family: Family, measure: Measure) -> bool {
        let existing = match self.target.save(family) {
            Ok(existing) => existing,
            Err(error) => {
                warn!(%family, %error, "cannot read the rules in force");
                *self.unsure.get_mut(family) = true;
                return false;
            }
        };
        if let Some(compiler) = &mut self.compiler {
            compiler.learn(family, &existing, measure);
        }
        *self.unsure.get_mut(family) = false;
        true
    }

    fn start(&mut self, snapshot: &Snapshot) -> Vec<Rejection> {
        let mut compiler = IptablesCompiler::new(iptables_settings(&self.config, snapshot, &self.families));
        let routes = self.routes(snapshot, snapshot.services.keys());
        let rejections = compiler.update(contributions(&self.config, snapshot, routes));
        self.compiler = Some(compiler);
        let begun = Instant::now();
        self.watch.begin(&mut self.target);
        for family in self.families.clone() {
            self.learn(family, Measure::Difference);
        }
        self.watch.compared(begun.elapsed());
        rejections
    }

    fn update(&mut self, snapshot: &Snapshot, changes: &Changes) -> Vec<Rejection> {
        let routes = match changes.node {
            true => self.routes(snapshot, snapshot.services.keys().chain(&changes.services)),
            false => self.routes(snapshot, changes.services.iter()),
        };
        let Some(compiler) = &mut self.compiler else { return Vec::new() };
        if changes.node || changes.local_addresses {
            compiler.set_settings(iptables_settings(&self.config, snapshot, &self.families));
        }
        compiler.update(contributions(&self.config, snapshot, routes))
    }

    /// The routes of these services now, what is odd about them counted.
    fn routes<'a>(&mut self, snapshot: &Snapshot, names: impl Iterator<Item = &'a ObjectName>) -> Routes {
        let routes = routes(&self.config, snapshot, names);
        self.oddities.recount(&routes);
        routes
    }
}

#[cfg(test)]
mod tests;
