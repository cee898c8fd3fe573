//! The compiler of this mode: routes in, chains to restore out. A change of a service touches the chains it has for itself, and those of the
//! shared chains in which it changes a rule.

use std::collections::{BTreeMap, BTreeSet};

use super::dispatch::{self, Lines, LinesOf};
use super::frame::{self, JUMPS};
use super::pending::Pending;
use super::port::Port;
use super::restore::{Body, lines};
use super::service::{Manner, chains};
use super::shared::Chain;
use super::wanted::text;
use super::{Settings, Table, names};
use crate::compile::claims::{Claimant, Claims, Frontend};
use crate::compile::ruleset::Name;
use crate::model::{Family, ObjectName, PerFamily, Rejection};
use crate::policy::PortRoutes;

/// From so many endpoints of a family on, the rules of endpoints no longer say whose they are.
const LARGE: usize = 1000;

/// What one service brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contribution {
    /// The routes of its ports; none: the service is gone.
    pub routes: Vec<PortRoutes>,
    /// Its health check port: connections to it are accepted.
    pub health_check: Option<u16>,
}

/// Turns routes into chains.
#[derive(Debug)]
pub struct IptablesCompiler {
    pub(super) settings: Settings,
    pub(super) services: BTreeMap<ObjectName, Vec<Port>>,
    claims: Claims,
    pub(super) tally: PerFamily<Tally>,
    pub(super) pending: PerFamily<Pending>,
}

/// How much the services of a family bring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Endpoint chains.
    pub(super) endpoints: usize,
    /// Rules in `nat`.
    pub(super) nat: usize,
    /// Rules in `filter`.
    pub(super) filter: usize,
    /// Rules in each shared chain.
    pub(super) shared: BTreeMap<Chain, usize>,
}

impl IptablesCompiler {
    /// A compiler without services. Nothing is pending before [`IptablesCompiler::learn`] says what is in force.
    pub fn new(settings: Settings) -> IptablesCompiler {
        IptablesCompiler {
            settings,
            services: BTreeMap::new(),
            claims: Claims::default(),
            tally: PerFamily::default(),
            pending: PerFamily::default(),
        }
    }

    /// The settings in use.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many services contribute.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// The service that owns a frontend.
    pub fn owner_of(&self, frontend: &Frontend) -> Option<&ObjectName> {
        self.claims.owner(frontend).map(|name| &name.service)
    }

    /// How many endpoint chains there are in a family.
    pub fn endpoint_count(&self, family: Family) -> usize {
        self.tally.get(family).endpoints
    }

    /// Takes new settings. Families cannot change.
    pub fn set_settings(&mut self, settings: Settings) {
        if settings == self.settings {
            return;
        }
        let before = std::mem::replace(&mut self.settings, settings);
        for family in self.families() {
            let wanted = |settings| frame::chains(family, settings).into_iter().collect::<BTreeSet<_>>();
            let (old, new) = (wanted(&before), wanted(&self.settings));
            for chain in old.union(&new) {
                self.stir_shared(family, *chain);
            }
            let pending = self.pending.get_mut(family);
            for jump in JUMPS {
                match (jump.is_wanted(family, &before), jump.is_wanted(family, &self.settings)) {
                    (false, true) if !pending.unjumped.remove(&jump) => drop(pending.jumps.insert(jump)),
                    (true, false) if !pending.jumps.remove(&jump) => drop(pending.unjumped.insert(jump)),
                    _ => {}
                }
            }
            self.stir_own(family);
        }
    }

    /// Takes what some services bring now. Answers frontends that could not be had.
    pub fn update(&mut self, batch: BTreeMap<ObjectName, Contribution>) -> Vec<Rejection> {
        let (mut stirred, mut changed) = (BTreeSet::new(), BTreeMap::new());
        for (name, contribution) in batch {
            let new = self.place(contribution);
            let old = self.services.get(&name).map_or(&[][..], Vec::as_slice);
            if !same_but_for_owned(old, &new) {
                let old = self.services.remove(&name).unwrap_or_default();
                stirred.extend(self.claims.exchange(&claims(&old), &claims(&new)));
                changed.insert(name, (old, new));
            }
        }
        for name in stirred {
            if let Some(ports) = self.services.remove(&name) {
                changed.insert(name, (ports.clone(), ports));
            }
        }
        let large = PerFamily::from_fn(|family| self.is_large(family));
        let mut rejections = Vec::new();
        for (name, (old, new)) in changed {
            let new = self.own(new, &mut rejections);
            self.exchange(&old, &new);
            if !new.is_empty() {
                self.services.insert(name, new);
            }
        }
        for family in self.families() {
            if self.is_large(family) != *large.get(family) {
                self.stir_own(family);
            }
        }
        rejections
    }

    fn families(&self) -> Vec<Family> {
        self.settings.common.families.clone()
    }

    fn is_large(&self, family: Family) -> bool {
        self.tally.get(family).endpoints > LARGE
    }

    fn manner(&self, family: Family) -> Manner<'_> {
        Manner { settings: &self.settings, comments: !self.is_large(family) }
    }

    fn place(&self, contribution: Contribution) -> Vec<Port> {
        let Contribution { routes, health_check } = contribution;
        let wanted = routes.into_iter().filter(|routes| self.settings.common.families.contains(&routes.family));
        wanted.map(|routes| Port::new(routes, health_check)).collect()
    }

    /// Notes which frontends each port owns, and rejects those that another has.
    fn own(&self, mut ports: Vec<Port>, rejections: &mut Vec<Rejection>) -> Vec<Port> {
        for port in &mut ports {
            let name = &port.routes.name;
            let claimed = port.claims().into_iter().map(|(frontend, _)| frontend);
            let (owned, lost): (BTreeSet<_>, BTreeSet<_>) =
                claimed.partition(|frontend| self.claims.owner(frontend) == Some(name));
            rejections.extend(lost.iter().map(|frontend| self.claims.rejection(frontend, name)));
            port.owned = owned;
        }
        ports
    }

    /// Puts pending what differs between what a service brought and what it brings.
    fn exchange(&mut self, old: &[Port], new: &[Port]) {
        for family in self.families() {
            let (before, after) = (self.brings(family, old), self.brings(family, new));
            let tally = self.tally.get_mut(family);
            tally.add(after.tally());
            tally.subtract(before.tally());
            for chain in before.shared_that_differ(&after) {
                self.edit_shared(family, chain, &before.lines, &after.lines);
                if chain.0 == Table::Filter {
                    let (old, new) = (before.rules_in(chain), after.rules_in(chain));
                    self.pending.get_mut(family).refusals.note(chain.1, &old, &new, str::to_owned);
                }
            }
            let pending = self.pending.get_mut(family);
            let gone = before.own.keys().filter(|name| !after.own.contains_key(name.as_str()));
            pending.own.extend(gone.map(|name| (name.clone(), None)));
            let put = after.own.into_iter().filter(|(name, body)| before.own.get(name) != Some(body));
            pending.own.extend(put.map(|(name, body)| (name, Some(body))));
        }
    }

    /// A service has other rules in a shared chain.
    fn edit_shared(&mut self, family: Family, chain: Chain, old: &[Lines], new: &[Lines]) {
        let rules = self.tally.get(family).shared.get(&chain).copied().unwrap_or_default();
        let pending = self.pending.get_mut(family);
        if pending.shared.contains(&(chain.0, chain.1.into())) {
            return;
        }
        let edits = pending.edits.entry(chain).or_default();
        edits.exchange(chain, old, new);
        let (none, too_much) = (edits.is_empty(), edits.is_too_much(rules));
        if none {
            pending.edits.remove(&chain);
        } else if too_much {
            self.stir_shared(family, chain);
        }
    }

    /// A shared chain is to be written anew.
    fn stir_shared(&mut self, family: Family, chain: Chain) {
        let pending = self.pending.get_mut(family);
        pending.edits.remove(&chain);
        pending.shared.insert((chain.0, chain.1.into()));
    }

    /// All chains of services are to be written anew.
    fn stir_own(&mut self, family: Family) {
        let all: Vec<Brought> = self.services.values().map(|ports| self.brings(family, ports)).collect();
        let mut tally = Tally::default();
        let pending = self.pending.get_mut(family);
        for brought in all {
            tally.add(brought.tally());
            pending.own.extend(brought.own.into_iter().map(|(name, body)| (name, Some(body))));
        }
        *self.tally.get_mut(family) = tally;
    }

    fn brings(&self, family: Family, ports: &[Port]) -> Brought {
        let lines = of(family, ports).map(|port| dispatch::lines(port, &self.settings)).collect();
        Brought { own: self.own_chains(family, ports), lines }
    }

    pub(super) fn own_chains(&self, family: Family, ports: &[Port]) -> BTreeMap<Name, Body> {
        let manner = self.manner(family);
        let all = of(family, ports).flat_map(|port| chains(port, manner));
        all.map(|(name, rules)| (name.clone(), text(&name, &rules))).collect()
    }
}

/// What a service brings to a family.
struct Brought {
    own: BTreeMap<Name, Body>,
    lines: Vec<Lines>,
}

impl Brought {
    fn tally(&self) -> Tally {
        let count = |table: Table| -> usize { self.lines.iter().map(|lines| lines.count(table)).sum() };
        let own: usize = self.own.values().map(|body| lines(body)).sum();
        let endpoints = self.own.keys().filter(|name| name.as_str().starts_with(names::SEP)).count();
        let mut shared = BTreeMap::new();
        let chains = self.lines.iter().flat_map(|lines| lines.by_address.iter().chain(&lines.by_node_port));
        chains.for_each(|(chain, block)| *shared.entry(*chain).or_default() += block.len());
        Tally { endpoints, nat: own + count(Table::Nat), filter: count(Table::Filter), shared }
    }

    fn shared_that_differ(&self, other: &Brought) -> BTreeSet<(Table, &'static str)> {
        let all = self.lines.iter().chain(&other.lines).flat_map(Lines::chains);
        all.filter(|chain| self.in_chain(*chain) != other.in_chain(*chain)).collect()
    }

    fn rules_in(&self, chain: (Table, &'static str)) -> Vec<String> {
        let all = self.in_chain(chain).into_iter().flat_map(|(by_address, by_node_port)| [by_address, by_node_port]);
        all.flatten().flatten().map(ToString::to_string).collect()
    }

    fn in_chain(&self, chain: (Table, &'static str)) -> Vec<LinesOf<'_>> {
        self.lines.iter().map(|lines| lines.of(chain)).filter(|of| *of != (None, None)).collect()
    }
}

impl Tally {
    fn add(&mut self, more: Tally) {
        self.endpoints += more.endpoints;
        self.nat += more.nat;
        self.filter += more.filter;
        more.shared.into_iter().for_each(|(chain, rules)| *self.shared.entry(chain).or_default() += rules);
    }

    fn subtract(&mut self, less: Tally) {
        self.endpoints -= less.endpoints;
        self.nat -= less.nat;
        self.filter -= less.filter;
        less.shared.into_iter().for_each(|(chain, rules)| *self.shared.entry(chain).or_default() -= rules);
    }
}

pub(super) fn of(family: Family, ports: &[Port]) -> impl Iterator<Item = &Port> {
    ports.iter().filter(move |port| port.routes.family == family)
}

fn claims(ports: &[Port]) -> BTreeSet<(Frontend, Claimant)> {
    ports.iter().flat_map(Port::claims).collect()
}

/// Whether nothing but the ownership of frontends can differ.
fn same_but_for_owned(old: &[Port], new: &[Port]) -> bool {
    let same = |(old, new): (&Port, &Port)| old.routes == new.routes && old.health_check == new.health_check;
    old.len() == new.len() && old.iter().zip(new).all(same)
}
