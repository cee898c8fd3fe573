//! Which frontend a packet hit.

use crate::compile::claims::Frontend;
use crate::compile::layout::Reach;
use crate::model::{Protocol, Service, ServicePort, ServicePortName, TrafficPolicy};
use crate::policy::Pool;
use crate::state::ServiceEntry;

use super::story::Hit;
use super::tell::Known;
use super::walk::Walk;

/// A service port and how it was reached.
pub(super) struct Found<'a> {
    pub(super) entry: &'a ServiceEntry,
    pub(super) service: &'a Service,
    pub(super) port: &'a ServicePort,
    pub(super) frontend: Frontend,
    /// Which endpoints the rules used, or would have used.
    pub(super) pool: Pool,
}

impl Found<'_> {
    /// Whether it was reached by its cluster IP.
    pub(super) fn is_internal(&self) -> bool {
        self.frontend.ip.is_some_and(|ip| self.service.cluster_ips.contains(&ip))
    }

    /// The policy that rules the frontend.
    pub(super) fn policy(&self) -> TrafficPolicy {
        if self.is_internal() { self.service.internal_policy } else { self.service.external_policy }
    }

    /// Whether the source goes to all endpoints although the policy is Local.
    pub(super) fn is_short_circuited(&self) -> bool {
        self.policy() == TrafficPolicy::Local && self.pool == Pool::Cluster
    }

    /// What to tell of it.
    pub(super) fn told(&self, from_node: bool) -> Hit {
        let kind = match self.frontend.ip {
            None => "node port",
            Some(_) if self.is_internal() => "cluster IP",
            Some(ip) if self.service.load_balancer_ips.contains(&ip) => "load-balancer IP",
            Some(_) => "external IP",
        };
        let field = if self.is_internal() { "internalTrafficPolicy" } else { "externalTrafficPolicy" };
        let name = ServicePortName { service: self.service.name.clone(), port: self.port.name.clone() };
        let short_circuit = self.is_short_circuited().then_some(match from_node {
            true => "the node itself goes to all endpoints",
            false => "a source inside the cluster goes to all endpoints",
        });
        let affinity = self.service.affinity.map(|seconds| {
            format!("ClientIP: a client keeps the endpoint it draws until it has not connected for {seconds} s")
        });
        let policy = format!("{field}: {:?}", self.policy());
        Hit { service: name.to_string(), kind, policy, short_circuit, affinity }
    }
}

/// The frontend a walk hit, as far as the source knows its Service.
pub(super) fn found<'a>(known: &Known<'a>, walk: &Walk, frontend: Frontend) -> Option<Found<'a>> {
    let by = |reach: &Reach| if *reach == Reach::Address { frontend } else { Frontend { ip: None, ..frontend } };
    let owned = |frontend: Frontend| Some((frontend, known.planned.owner_of(&frontend)?));
    let (frontend, owner) = walk.hits.iter().map(by).find_map(owned)?;
    let entry = known.snapshot.services.get(owner)?;
    let service = entry.service.as_ref()?;
    let number = |port: &ServicePort| if frontend.ip.is_some() { Some(port.port) } else { port.node_port };
    let ports = service.ports.iter().filter(|port| port.protocol == frontend.protocol);
    // Of two ports of one Service with the same frontend the first by name has it.
    let port = ports.filter(|port| number(port) == Some(frontend.port)).min_by_key(|port| port.name.clone())?;
    let mut found = Found { entry, service, port, frontend, pool: Pool::Cluster };
    let by_policy = || if found.policy() == TrafficPolicy::Local { Pool::Local } else { Pool::Cluster };
    found.pool = walk.pool.unwrap_or_else(by_policy);
    Some(found)
}

/// The frontend a packet asks for by address.
pub(super) fn asked(packet: &crate::compile::walk::Packet) -> Option<Frontend> {
    let protocol = Protocol::from_number(packet.protocol)?;
    Some(Frontend { family: packet.family(), ip: Some(packet.destination), protocol, port: packet.destination_port })
}
