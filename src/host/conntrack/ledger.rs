//! Which flows of one family are stale. Pure.
//!
//! Rules change in a transaction; the ledger hears of it twice. What is announced before it counts as serving from then on, so
//! that a flow made by the new rules is never taken for a stale one; what left stops counting only when the transaction is done.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::flow::{Flow, Frontend, NodePortScope, PortFlows};
use super::wire::Question;
use crate::model::{EndpointAddr, ObjectName};

/// From so many ports on, one dump of a protocol is cheaper than a dump for each port: each walks the whole table.
const PORTS_ASKED_APART: usize = 4;

/// The frontends of a family, their endpoints, and which of them are to be looked at.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    in_force: Index,
    coming: Index,
    /// Announcements that others replaced before it was known whether they came into force.
    doubtful: Vec<Arc<PortFlows>>,
    scope: NodePortScope,
    coming_scope: Option<NodePortScope>,
    due: Work,
    under_way: Work,
}

/// What is to be looked at.
#[derive(Debug, Default)]
struct Work {
    /// Every frontend.
    everything: bool,
    /// These frontends, each with the endpoints that left it.
    frontends: HashMap<Frontend, BTreeSet<EndpointAddr>>,
}

/// Ports by service and by frontend. Two services may claim one frontend: flows to either's endpoints stay.
#[derive(Debug, Default)]
struct Index {
    services: HashMap<ObjectName, Vec<Arc<PortFlows>>>,
    frontends: HashMap<Frontend, Vec<Arc<PortFlows>>>,
}

impl Ledger {
    /// A service's ports will be these; none when it is gone.
    pub(super) fn announce(&mut self, name: ObjectName, ports: Vec<PortFlows>) {
        let is_known = self.in_force.services.contains_key(&name) || self.coming.services.contains_key(&name);
        if is_known || !ports.is_empty() {
            self.doubtful.extend(self.coming.put(name, ports.into_iter().map(Arc::new).collect()));
        }
    }

    /// Node ports will answer here.
    pub(super) fn announce_scope(&mut self, scope: NodePortScope) {
        self.coming_scope = Some(scope);
    }

    /// What was announced is in force. Notes where flows may have become stale.
    pub(super) fn settle(&mut self) {
        if let Some(scope) = self.coming_scope.take().filter(|scope| *scope != self.scope) {
            self.scope = scope;
            self.due.everything = true;
        }
        let before: Vec<_> = self.doubtful.drain(..).collect();
        before.iter().for_each(|port| self.due.add_port(port));
        for (name, now) in std::mem::take(&mut self.coming).services {
            let before = self.in_force.put(name, now.clone());
            self.due.note(&before, &now);
        }
    }

    /// Whether there is something to look at.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Begins to look at what is due: what to ask the kernel for.
    pub(super) fn begin(&mut self) -> Vec<Question> {
        self.under_way.take_in(std::mem::take(&mut self.due));
        let all = self.in_force.frontends.keys().filter(|_| self.under_way.everything);
        let ports: BTreeSet<_> = self.under_way.frontends.keys().chain(all).map(|frontend| frontend.port()).collect();
        match ports.len() <= PORTS_ASKED_APART {
            true => ports.into_iter().map(|(protocol, port)| Question::To(protocol, port)).collect(),
            false => {
                let protocols: BTreeSet<_> = ports.into_iter().map(|(protocol, _)| protocol).collect();
                protocols.into_iter().map(Question::Of).collect()
            }
        }
    }

    /// What was under way is done; if it failed, it is due again.
    pub(super) fn finish(&mut self, succeeded: bool) {
        let done = std::mem::take(&mut self.under_way);
        if !succeeded {
            self.due.take_in(done);
        }
    }

    /// Whether the flow is proven stale: it was sent to a frontend under way, and who answers it is none of the serving endpoints;
    /// of a frontend that is gone: is one of the endpoints it had. `is_local` tells whether an address is the node's own.
    pub(super) fn is_stale(&self, flow: &Flow, mut is_local: impl FnMut(IpAddr) -> bool) -> bool {
        let mut stale = false;
        for frontend in self.frontends_of(flow, &mut is_local) {
            if self.in_force.serves(frontend, flow.reply_source) || self.coming.serves(frontend, flow.reply_source) {
                return false;
            }
            stale |= self.lost(frontend, flow.reply_source);
        }
        stale
    }

    /// The frontends the flow may have been sent to.
    fn frontends_of(&self, flow: &Flow, is_local: &mut impl FnMut(IpAddr) -> bool) -> impl Iterator<Item = Frontend> {
        let EndpointAddr { ip, port } = flow.destination;
        let node_port = Frontend::NodePort(flow.protocol, port);
        let answers_node_ports = self.under_way.has(node_port, &self.in_force)
            && match &self.scope {
                NodePortScope::Local => !ip.is_loopback() && is_local(ip),
                NodePortScope::On(ips) => ips.contains(&ip),
            };
        let address = Frontend::Address(ip, flow.protocol, port);
        [Some(address), answers_node_ports.then_some(node_port)].into_iter().flatten()
    }

    fn lost(&self, frontend: Frontend, answers: EndpointAddr) -> bool {
        match self.in_force.frontends.contains_key(&frontend) {
            true => self.under_way.has(frontend, &self.in_force),
            false => self.under_way.frontends.get(&frontend).is_some_and(|left| left.contains(&answers)),
        }
    }
}

impl Work {
    fn is_empty(&self) -> bool {
        !self.everything && self.frontends.is_empty()
    }

    fn has(&self, frontend: Frontend, index: &Index) -> bool {
        self.frontends.contains_key(&frontend) || (self.everything && index.frontends.contains_key(&frontend))
    }

    fn take_in(&mut self, other: Work) {
        self.everything |= other.everything;
        for (frontend, left) in other.frontends {
            self.frontends.entry(frontend).or_default().extend(left);
        }
    }

    fn add_port(&mut self, port: &PortFlows) {
        for frontend in &port.frontends {
            self.frontends.entry(*frontend).or_default().extend(&port.endpoints);
        }
    }

    /// A service went from `before` to `now`. A frontend that only gained endpoints has no stale flow, unless it had none before:
    /// flows that met no rule go on as they are.
    fn note(&mut self, before: &[Arc<PortFlows>], now: &[Arc<PortFlows>]) {
        let (before, now) = (endpoints_by_frontend(before), endpoints_by_frontend(now));
        for (frontend, had) in &before {
            let left = had.iter().filter(|addr| now.get(frontend).is_none_or(|has| !has.contains(addr)));
            let left: BTreeSet<EndpointAddr> = left.copied().collect();
            if !left.is_empty() {
                self.frontends.entry(*frontend).or_default().extend(left);
            }
        }
        // So at the start every frontend is looked at.
        for frontend in now.keys() {
            if before.get(frontend).is_none_or(BTreeSet::is_empty) {
                self.frontends.entry(*frontend).or_default();
            }
        }
    }
}

/// The endpoints of each frontend.
fn endpoints_by_frontend(ports: &[Arc<PortFlows>]) -> HashMap<Frontend, BTreeSet<EndpointAddr>> {
    let mut endpoints: HashMap<Frontend, BTreeSet<EndpointAddr>> = HashMap::new();
    for port in ports {
        for frontend in &port.frontends {
            endpoints.entry(*frontend).or_default().extend(&port.endpoints);
        }
    }
    endpoints
}

impl Index {
    /// Whether a claimant of the frontend has this endpoint.
    fn serves(&self, frontend: Frontend, endpoint: EndpointAddr) -> bool {
        self.frontends.get(&frontend).is_some_and(|ports| ports.iter().any(|port| port.endpoints.contains(&endpoint)))
    }

    /// Replaces a service's ports and gives back what they were.
    fn put(&mut self, name: ObjectName, ports: Vec<Arc<PortFlows>>) -> Vec<Arc<PortFlows>> {
        let before = self.services.remove(&name).unwrap_or_default();
        before.iter().for_each(|port| self.forget(port));
        for port in &ports {
            for frontend in &port.frontends {
                self.frontends.entry(*frontend).or_default().push(port.clone());
            }
        }
        self.services.insert(name, ports);
        before
    }

    fn forget(&mut self, port: &Arc<PortFlows>) {
        for frontend in &port.frontends {
            if let Some(claimants) = self.frontends.get_mut(frontend) {
                claimants.retain(|claimant| !Arc::ptr_eq(claimant, port));
                if claimants.is_empty() {
                    self.frontends.remove(frontend);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
