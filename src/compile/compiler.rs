//! The compiler: routes in, a draft of the ruleset out. A change of a service touches what that service contributes, nothing else.

mod numbering;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::affinity::ServiceNumbers;
use super::bytes::Bytes;
use super::claims::{Claims, Frontend};
use super::draft::Draft;
use super::emission::{Emission, Place, Placed, comment};
use super::frame;
use super::layout::SetId;
use super::ruleset::{Element, Value};
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

    /// How many services contribute.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// Takes new settings. Families cannot change.
    pub fn set_settings(&mut self, settings: Settings) {
        if settings == self.settings {
            return;
        }
        let before = std::mem::replace(&mut self.settings, settings);
        self.lay_frame();
        self.relay_parts();
        let (old_manners, manners) = (before.all_manners(), self.settings.all_manners());
        if old_manners != manners {
            let all: Vec<ObjectName> = self.services.keys().cloned().collect();
            for name in all {
                let ports = self.services.get(&name).cloned().unwrap_or_default();
                let old = Emission::of(&ports, &old_manners);
                let new = Emission::of(&ports, &manners);
                self.give_up(&old, &new);
                self.take_up(&old, new);
            }
        }
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
            emissions.push((Emission::of(&old, &manners), Emission::of(&new, &manners)));
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

    /// The routes of a service as they were taken last, its endpoints in the order of their slots; none for a service that is not there.
    pub fn routes_of(&self, name: &ObjectName) -> Vec<PortRoutes> {
        let ports = self.services.get(name).map_or(&[][..], Vec::as_slice);
        let whole = |port: &Placed| PortRoutes {
            cluster: port.cluster.clone(),
            local: port.local.clone(),
            ..port.routes.clone()
        };
        ports.iter().map(whole).collect()
    }

    /// The service that owns a frontend.
    pub fn owner_of(&self, frontend: &Frontend) -> Option<&ObjectName> {
        self.claims.owner(frontend).map(|name| &name.service)
    }

    /// A service that wants this element; `None` when no service does. Shared elements may have several. Looks at every service: for
    /// when something has gone wrong.
    pub fn owner_of_element(&self, family: Family, set: &str, key: &Bytes) -> Option<&ObjectName> {
        let id = SetId::all().find(|id| id.text() == set)?;
        let place = (family, id, key.clone());
        let manners = self.settings.all_manners();
        let wants = |ports: &[Placed]| {
            let emission = Emission::of(ports, &manners);
            emission.elements.contains_key(&place) || emission.shared.contains(&place)
        };
        self.services.iter().find(|(_, ports)| wants(ports)).map(|(name, _)| name)
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

    /// Removes what one contribution has and the next has not. Chains that both need stay.
    fn give_up(&mut self, old: &Emission, new: &Emission) {
        for (part, count) in &new.parts {
            self.acquire(*part, *count);
        }
        for (part, count) in &old.parts {
            self.release(*part, *count);
        }
        for (family, set, key) in old.elements.keys().filter(|place| !new.elements.contains_key(place)) {
            self.draft.remove(*family, set.text(), key);
        }
        for place in old.shared.difference(&new.shared) {
            self.release_shared(place);
        }
    }

    /// Puts what one contribution has and the one before had not.
    fn take_up(&mut self, old: &Emission, new: Emission) {
        for place in new.shared.difference(&old.shared) {
            self.acquire_shared(place);
        }
        for (place, element) in new.elements {
            if old.elements.get(&place) != Some(&element) {
                let (family, set, key) = place;
                self.draft.put(family, set.text(), key, element);
            }
        }
    }

    fn acquire_shared(&mut self, place: &Place) {
        let users = self.shared.entry(place.clone()).or_default();
        *users += 1;
        if *users == 1 {
            let (family, set, key) = place;
            self.draft.put(*family, set.text(), key.clone(), Element { value: Value::Present, comment: None });
        }
    }

    fn release_shared(&mut self, place: &Place) {
        let Some(users) = self.shared.get_mut(place) else { return };
        *users -= 1;
        if *users == 0 {
            self.shared.remove(place);
            self.draft.remove(place.0, place.1.text(), &place.2);
        }
    }

    fn acquire(&mut self, (family, part): (Family, Part), count: usize) {
        let users = self.parts.entry((family, part)).or_default();
        *users += count;
        if *users == count {
            let chain = part.chain(family, &self.settings.manners(family));
            self.draft.put_chain(family, part.name(), chain);
            for set in part.needs_sets() {
                self.acquire_set(family, set);
            }
            for next in part.needs() {
                self.acquire((family, next), 1);
            }
        }
    }

    fn release(&mut self, (family, part): (Family, Part), count: usize) {
        let Some(users) = self.parts.get_mut(&(family, part)) else { return };
        *users = users.saturating_sub(count);
        if *users == 0 {
            self.parts.remove(&(family, part));
            self.draft.remove_chain(family, &part.name());
            for set in part.needs_sets() {
                self.release_set(family, set);
            }
            for next in part.needs() {
                self.release((family, next), 1);
            }
        }
    }

    fn acquire_set(&mut self, family: Family, set: SetId) {
        let users = self.sets.entry((family, set)).or_default();
        *users += 1;
        if *users == 1 {
            self.draft.add_set(family, set);
            if let Some(size) = self.seed.sizes.get(&(family, set.name())) {
                self.draft.reserve(family, set.text(), *size);
            }
        }
    }

    fn release_set(&mut self, family: Family, set: SetId) {
        let Some(users) = self.sets.get_mut(&(family, set)) else { return };
        *users -= 1;
        if *users == 0 {
            self.sets.remove(&(family, set));
            self.draft.remove_set(family, set);
        }
    }

    /// Writes the frame's chains and the sets that follow the settings.
    fn lay_frame(&mut self) {
        for family in self.settings.families.clone() {
            for (name, chain) in frame::chains(family, &self.settings) {
                self.draft.put_chain(family, name, chain);
            }
            for (set, wanted) in frame::elements(family, &self.settings) {
                self.replace_elements(family, set, wanted);
            }
        }
    }

    /// Writes the shared chains anew: their rules follow the settings.
    fn relay_parts(&mut self) {
        let parts: Vec<(Family, Part)> = self.parts.keys().copied().collect();
        for (family, part) in parts {
            let chain = part.chain(family, &self.settings.manners(family));
            self.draft.put_chain(family, part.name(), chain);
        }
    }

    fn replace_elements(&mut self, family: Family, set: SetId, wanted: BTreeMap<Bytes, Element>) {
        let table = self.draft.ruleset().get(family).as_ref();
        let now = table.and_then(|t| t.sets.get(set.text())).map(|s| s.elements.clone()).unwrap_or_default();
        for key in now.keys().filter(|key| !wanted.contains_key(key)) {
            self.draft.remove(family, set.text(), key);
        }
        for (key, element) in wanted {
            self.draft.put(family, set.text(), key, element);
        }
    }
}

/// The same port of a service in the same family.
fn same_port<'a>(ports: &'a [Placed], routes: &PortRoutes) -> Option<&'a Placed> {
    ports.iter().find(|p| p.routes.family == routes.family && p.routes.name == routes.name)
}

/// Whether nothing but the ownership of frontends can differ.
fn same_but_for_owned(old: &[Placed], new: &[Placed]) -> bool {
    let pairs = || old.iter().zip(new);
    old.len() == new.len() && pairs().all(|(o, n)| o.routes == n.routes && o.cluster == n.cluster && o.local == n.local)
}
