//! What one service contributes to a table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::affinity::Numbers;
use super::bytes::Bytes;
use super::claims::{Claimant, Frontend};
use super::layout::{Reach, SetId, endpoint_data, hairpin_key};
use super::manners::Manners;
use super::ruleset::{COMMENT_MAX, Element, Value};
use super::treatment::{End, Entry, Part, Pick, Treatment};
use crate::model::{EndpointAddr, Family, PerFamily, TrafficPolicy};
use crate::policy::{Pool, PortRoutes, Route};

/// An element's place: table, set, key.
pub(super) type Place = (Family, SetId, Bytes);

/// A service port with its endpoints seated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Its routes. The pools are empty here: [`Placed::cluster`] and [`Placed::local`] hold them, in slot order.
    pub(super) routes: PortRoutes,
    /// The Cluster pool by slot.
    pub(super) cluster: Vec<EndpointAddr>,
    /// The Local pool by slot.
    pub(super) local: Vec<EndpointAddr>,
    /// The numbers of its endpoints, if its clients keep theirs.
    pub(super) numbers: Option<Numbers>,
    /// The frontends it owns, ordered.
    pub(super) owned: Vec<Frontend>,
}

/// Everything one service contributes. Elements belong to it alone; shared ones and parts are counted over all services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Emission {
    /// Elements of its own.
    pub(super) elements: BTreeMap<Place, Element>,
    /// Elements it shares with others.
    pub(super) shared: BTreeSet<Place>,
    /// Chains its elements lead to, each with how often.
    pub(super) parts: BTreeMap<(Family, Part), usize>,
}

impl Emission {
    /// The contribution of all ports of a service, by the manners of each family.
    pub(super) fn of(ports: &[Placed], manners: &PerFamily<Manners>) -> Emission {
        Emission::beside(ports, &[], manners)
    }

    /// The contributions of a service before and after a change, without the endpoints that keep their slots: of thousands one may move.
    pub(super) fn change(old: &[Placed], new: &[Placed], manners: &PerFamily<Manners>) -> (Emission, Emission) {
        (Emission::beside(old, new, manners), Emission::beside(new, old, manners))
    }

    /// The contribution of these ports, without the endpoints that the others have in the same slots.
    fn beside(ports: &[Placed], others: &[Placed], manners: &PerFamily<Manners>) -> Emission {
        let mut emission = Emission::default();
        for port in ports {
            let other = same_port(others, &port.routes);
            emission.add_port(port, other, manners.get(port.routes.family));
        }
        emission
    }

    fn add_port(&mut self, port: &Placed, other: Option<&Placed>, manners: &Manners) {
        let routes = &port.routes;
        let comment: Arc<str> = comment(&routes.name.to_string()).into();
        for frontend in &port.owned {
            let reach = frontend.reach();
            let treatment = port.treatment(frontend, manners);
            self.add_frontend(*frontend, treatment, &comment);
            for pool in treatment.pools() {
                let stays = other.map_or(&[][..], |other| other.plain_slots(frontend, pool, manners));
                self.add_endpoints(port, stays, frontend, pool);
            }
            if manners.count_connections {
                let place = (frontend.family, SetId::Counted(reach), frontend.key());
                self.elements.insert(place, Element { value: Value::Present, comment: Some(comment.clone()) });
            }
            if treatment.guarded {
                self.add_guard(routes, frontend, manners.node_ip);
            }
        }
        self.shared.insert((routes.family, SetId::ClusterIps, Bytes::new().addr(routes.cluster_ip)));
        for endpoint in &routes.on_node {
            self.shared.insert((routes.family, SetId::Hairpin, hairpin_key(*endpoint, routes.protocol)));
        }
    }

    /// The sources that may reach a guarded frontend, as disjoint ranges: the kernel's set refuses nested ones.
    fn add_guard(&mut self, routes: &PortRoutes, frontend: &Frontend, node_ip: Option<IpAddr>) {
        for range in routes.admitted_sources(node_ip) {
            let bound = |ip| frontend.key().addr(ip);
            let until = Value::Until(bound(range.broadcast()));
            let place = (frontend.family, SetId::Firewall, bound(range.network()));
            self.elements.insert(place, Element { value: until, comment: None });
        }
    }

    fn add_frontend(&mut self, frontend: Frontend, treatment: Treatment, comment: &Arc<str>) {
        let set = match frontend.reach() {
            Reach::Address => SetId::Services,
            Reach::NodePort => SetId::NodePorts,
        };
        let element = Element { value: Value::Verdict(treatment.verdict()), comment: Some(comment.clone()) };
        self.elements.insert((frontend.family, set, frontend.key()), element);
        if let Some(part) = treatment.first_part() {
            *self.parts.entry((frontend.family, part)).or_default() += 1;
        }
    }

    /// The endpoints of a pool by slot, but for those that stay: the ones another contribution has in the same places.
    fn add_endpoints(&mut self, port: &Placed, stays: &[EndpointAddr], frontend: &Frontend, pool: Pool) {
        let (family, reach, frontend) = (frontend.family, frontend.reach(), frontend.key());
        let seated = port.pool(pool).iter().enumerate();
        for (slot, endpoint) in seated {
            let stays = port.numbers.is_none() && stays.get(slot) == Some(endpoint);
            let Some(slot) = u32::try_from(slot).ok().filter(|_| !stays) else { continue };
            match port.numbers.as_ref().and_then(|numbers| numbers.of(*endpoint)) {
                Some(number) => {
                    let slots = (family, SetId::StickySlots(reach, pool), frontend.clone().number(slot));
                    self.elements.insert(slots, data(Bytes::new().number(number)));
                    let endpoints = (family, SetId::StickyEndpoints(reach, pool), frontend.clone().number(number));
                    self.elements.insert(endpoints, data(endpoint_data(*endpoint)));
                }
                None => {
                    let place = (family, SetId::Endpoints(reach, pool), frontend.clone().number(slot));
                    self.elements.insert(place, data(endpoint_data(*endpoint)));
                }
            }
        }
    }
}

fn data(data: Bytes) -> Element {
    Element { value: Value::Data(data), comment: None }
}

impl Placed {
    /// The endpoints of a pool, by slot.
    pub(super) fn pool(&self, pool: Pool) -> &[EndpointAddr] {
        match pool {
            Pool::Cluster => &self.cluster,
            Pool::Local => &self.local,
        }
    }

    /// The endpoints by slot that it puts under a frontend for a pool; none if clients keep theirs: then there are other elements.
    fn plain_slots(&self, frontend: &Frontend, pool: Pool, manners: &Manners) -> &[EndpointAddr] {
        let puts = self.numbers.is_none()
            && self.owned.contains(frontend)
            && self.treatment(frontend, manners).pools().any(|of| of == pool);
        if puts { self.pool(pool) } else { &[] }
    }

    fn treatment(&self, frontend: &Frontend, manners: &Manners) -> Treatment {
        let routes = &self.routes;
        let guarded = routes.is_guarded() && frontend.ip.is_some_and(|ip| routes.load_balancer_ips.contains(&ip));
        match frontend.ip == Some(routes.cluster_ip) {
            true => internal_treatment(self, manners.has_internal_entry(), guarded),
            false => external_treatment(self, frontend.reach(), guarded),
        }
    }

    /// Every frontend the port claims.
    pub(super) fn frontends(routes: &PortRoutes) -> BTreeSet<Frontend> {
        let frontend = |ip, port| Frontend { family: routes.family, ip, protocol: routes.protocol, port };
        let addresses = [routes.cluster_ip].into_iter().chain(routes.external_ips.iter().copied());
        let addresses = addresses.chain(routes.load_balancer_ips.iter().copied());
        addresses
            .map(|ip| frontend(Some(ip), routes.port))
            .chain(routes.node_port.map(|port| frontend(None, port)))
            .collect()
    }

    /// Who claims for the port.
    pub(super) fn claimant(&self) -> Claimant {
        Claimant::new(self.routes.created, self.routes.name.clone())
    }

    fn pick(&self, reach: Reach, pool: Pool) -> Pick {
        let slots = u32::try_from(self.pool(pool).len()).unwrap_or(u32::MAX);
        let sticky = self.numbers.as_ref().and(self.routes.affinity);
        Pick { reach, pool, slots, sticky }
    }

    fn end(&self, route: Route, reach: Reach) -> End {
        match route {
            Route::Balance(pool) => End::Pick(self.pick(reach, pool)),
            Route::Drop => End::Drop,
            Route::Reject => End::Reject,
        }
    }
}

impl Treatment {
    /// The pools it picks from.
    fn pools(self) -> impl Iterator<Item = Pool> {
        let short = match self.entry {
            Entry::ShortCircuit(pick) => Some(pick.pool),
            _ => None,
        };
        let end = match self.end {
            End::Pick(pick) => Some(pick.pool),
            _ => None,
        };
        short.into_iter().chain(end.filter(move |pool| short != Some(*pool)))
    }
}

/// The same port of a service in the same family.
pub(super) fn same_port<'a>(ports: &'a [Placed], routes: &PortRoutes) -> Option<&'a Placed> {
    ports.iter().find(|p| p.routes.family == routes.family && p.routes.name == routes.name)
}

/// A cluster IP is guarded too where it is a load-balancer IP as well: the ranges guard an address and port.
fn internal_treatment(port: &Placed, internal_entry: bool, guarded: bool) -> Treatment {
    let end = port.end(port.routes.internal, Reach::Address);
    let entry = match end {
        End::Pick(_) if internal_entry => Entry::Internal,
        _ => Entry::None,
    };
    Treatment { guarded, entry, end }
}

fn external_treatment(port: &Placed, reach: Reach, guarded: bool) -> Treatment {
    let end = port.end(port.routes.external, reach);
    let entry = match (end, port.routes.external_policy) {
        (End::Reject, _) => Entry::None,
        (_, TrafficPolicy::Local) => Entry::ShortCircuit(port.pick(reach, Pool::Cluster)),
        (_, TrafficPolicy::Cluster) => Entry::External,
    };
    Treatment { guarded, entry, end }
}

/// A comment nft reads back: names longer than it allows are cut and marked, with a hash that keeps them apart.
pub(super) fn comment(name: &str) -> String {
    if name.len() <= COMMENT_MAX {
        return name.to_owned();
    }
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let cut = (0..=COMMENT_MAX - 9).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    format!("{}~{:08x}", &name[..cut], hash as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let (a, b) = ("n".repeat(130) + "a", "n".repeat(130) + "b");
        assert_eq!(comment(&a).len(), COMMENT_MAX);
        assert_ne!(comment(&a), comment(&b));
        assert_eq!(comment("default/web:http"), "default/web:http");
    }
}
