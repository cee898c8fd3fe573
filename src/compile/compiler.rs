//! The compiler: routes in, a draft of the ruleset out. A change of a service touches what that service contributes, nothing else.

mod asked;
mod numbering;
mod relay;
mod sharing;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::affinity::ServiceNumbers;
use super::claims::Claims;
use super::draft::Draft;
use super::emission::{Emission, Place, Placed, comment, same_port};
use super::layout::SetId;
use super::seed::Seed;
use super::settings::Settings;
use super::slots::settle;
use super::treatment::Part;
use crate::model::{EndpointAddr, Family, ObjectName, Rejection};
use crate::policy::{Pool, PortRoutes};

/// Turns routes into a draft.
#[derive(Debug)]
pub struct Compiler {
    settings: Settings,
    draft: Draft,
    services: BTreeMap<ObjectName, Vec<Placed>>,
    claims: Claims,
    /// Shared elements with the number of services that want each.
    shared: HashMap<Place, usize>,
    /// Shared chains with the number of elements and rules that lead to each.
    parts: BTreeMap<(Family, Part), usize>,
    /// Sets that not every table has, with the number of chains that need each.
    sets: BTreeMap<(Family, SetId), usize>,
    /// Which numbers stand for sticky service ports.
    numbers: ServiceNumbers,
    /// Slots of an earlier process; forgotten once the first full sync is over.
    seed: Seed,
}

impl Compiler {
    /// A compiler for these settings. The seed tells which slots and capacities are in force, so that they are kept.
    pub fn new(settings: Settings, seed: Seed) -> Compiler {
        let mut draft = Draft::new(&settings.families);
        for ((family, set), size) in &seed.sizes {
            draft.reserve(*family, set.as_str(), *size);
        }
        let mut compiler = Compiler {
            settings,
            draft,
            services: BTreeMap::new(),
            claims: Claims::default(),
            shared: HashMap::new(),
            parts: BTreeMap::new(),
            sets: BTreeMap::new(),
            numbers: ServiceNumbers::default(),
            seed,
        };
        let counted = if compiler.settings.count_connections { &SetId::COUNTED[..] } else { &[] };
        for family in compiler.settings.families.clone() {
            counted.iter().for_each(|set| compiler.acquire_set(family, *set));
        }
        compiler.lay_frame();
        compiler
    }

    /// The draft.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// The draft, to tell it what is in force.
    pub fn draft_mut(&mut self) -> &mut Draft {
        &mut self.draft
    }

    /// The settings in use.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Forgets the slots of an earlier process.
    pub fn forget_seed(&mut self) {
        self.seed = Seed::default();
    }

    /// Gives back the room that filling one by one has left unused. For after the first full sync: later ones change little.
    pub fn pack(&mut self) {
        self.draft.pack();
        self.claims.pack();
        self.services = std::mem::take(&mut self.services).into_iter().collect();
        self.shared.shrink_to_fit();
    }

    /// Takes the routes of some services; no routes means the service is gone. Answers frontends that could not be had.
    pub fn update(&mut self, batch: BTreeMap<ObjectName, Vec<PortRoutes>>) -> Vec<Rejection> {
        let mut stirred = BTreeSet::new();
        let mut changed = BTreeMap::new();
        let mut rejections = Vec::new();
        for (name, routes) in batch {
            let old = self.services.get(&name).map_or(&[][..], Vec::as_slice);
            let mut new = self.place(old, routes);
            if !same_but_for_owned(old, &new) {
                let old = self.services.remove(&name).unwrap_or_default();
                self.number(&old, &mut new, &mut rejections);
                stirred.extend(self.exchange_claims(&old, &new));
                changed.insert(name, (old, new));
            }
        }
        for name in stirred {
            if let Some(ports) = self.services.remove(&name) {
                changed.insert(name, (ports.clone(), ports));
            }
        }
        self.carry_out(changed, &mut rejections);
        rejections
    }

    /// Gives up all that goes before anything new is put: a frontend may pass from one service to another.
    fn carry_out(
        &mut self,
        changed: BTreeMap<ObjectName, (Vec<Placed>, Vec<Placed>)>,
        rejections: &mut Vec<Rejection>,
    ) {
        let manners = self.settings.all_manners();
        let mut emissions = Vec::with_capacity(changed.len());
        for (name, (old, new)) in changed {
            let new = self.own(new, rejections);
            emissions.push(Emission::change(&old, &new, &manners));
            if !new.is_empty() {
                self.services.insert(name, new);
            }
        }
        for (old, new) in &emissions {
            self.give_up(old, new);
        }
        for (old, new) in emissions {
            self.take_up(&old, new);
        }
    }

    /// Seats the endpoints of each port: as before, else as an earlier process had them.
    fn place(&self, old: &[Placed], routes: Vec<PortRoutes>) -> Vec<Placed> {
        let wanted = routes.into_iter().filter(|r| self.settings.families.contains(&r.family));
        let mut placed: Vec<Placed> = wanted
            .map(|mut routes| {
                let before = same_port(old, &routes);
                let (cluster, local) = (std::mem::take(&mut routes.cluster), std::mem::take(&mut routes.local));
                let seat = |pool: Pool, wanted: &[EndpointAddr]| match before {
                    Some(placed) => settle(placed.pool(pool), wanted),
                    None => settle(&self.seeded(&routes, pool), wanted),
                };
                let (cluster, local) = (seat(Pool::Cluster, &cluster), seat(Pool::Local, &local));
                Placed { routes, cluster, local, numbers: None, owned: Vec::new() }
            })
            .collect();
        // What is kept for every service takes what it needs and no more.
        placed.shrink_to_fit();
        placed
    }

    fn seeded(&self, routes: &PortRoutes, pool: Pool) -> Vec<EndpointAddr> {
        let comment = comment(&routes.name.to_string());
        let frontends = Placed::frontends(routes);
        frontends.iter().find_map(|frontend| self.seed.slots(frontend, pool, &comment)).unwrap_or_default()
    }

    /// Moves the claims from the old ports to the new ones. Answers the services that won or lost a frontend by it.
    fn exchange_claims(&mut self, old: &[Placed], new: &[Placed]) -> BTreeSet<ObjectName> {
        let claims = |ports: &[Placed]| -> BTreeSet<_> {
            let of_port = |p: &Placed| {
                let claimant = p.claimant();
                Placed::frontends(&p.routes).into_iter().map(move |f| (f, claimant.clone()))
            };
            ports.iter().flat_map(of_port).collect()
        };
        self.claims.exchange(&claims(old), &claims(new))
    }

    /// Notes which frontends each port owns, and rejects those that another has.
    fn own(&self, mut ports: Vec<Placed>, rejections: &mut Vec<Rejection>) -> Vec<Placed> {
        for port in &mut ports {
            let (mut owned, lost): (Vec<_>, Vec<_>) = Placed::frontends(&port.routes)
                .into_iter()
                .partition(|frontend| self.claims.owner(frontend) == Some(&port.routes.name));
            owned.shrink_to_fit();
            port.owned = owned;
            let told = lost.iter().map(|frontend| self.claims.rejection(frontend, &port.routes.name));
            rejections.extend(told);
        }
        ports
    }
}

/// Whether nothing but the ownership of frontends can differ.
fn same_but_for_owned(old: &[Placed], new: &[Placed]) -> bool {
    let pairs = || old.iter().zip(new);
    old.len() == new.len() && pairs().all(|(o, n)| o.routes == n.routes && o.cluster == n.cluster && o.local == n.local)
}
