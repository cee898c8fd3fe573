//! What the conntrack reconciler is told: the UDP and SCTP frontends of the services that change, and who serves them.

use crate::host::{Announcement, Conntrack, Frontend, NodePortScope, PortFlows};
use crate::model::{Config, Family, ObjectName, PerFamily, Protocol, Service, ServicePort, SyncReport};
use crate::state::{Changes, ServiceEntry, Snapshot};

use super::settings::settings;

/// Tells what the next sync brings; with `first`, that is everything.
pub(super) fn announce(conntrack: &Conntrack, config: &Config, snapshot: &Snapshot, changes: &Changes, first: bool) {
    if !conntrack.is_on() {
        return;
    }
    let of = |name: &ObjectName| (name.clone(), port_flows(config, snapshot.services.get(name)));
    let services = match first {
        true => snapshot.services.keys().map(of).collect(),
        false => changes.services.iter().map(of).collect(),
    };
    let scope = (first || changes.node).then(|| scope(config, snapshot));
    conntrack.announce(Announcement { services, scope });
}

/// Tells which families now have what was announced.
pub(super) fn settle(conntrack: &Conntrack, report: &SyncReport) {
    let in_force = report.families.iter().filter(|(_, outcome)| outcome.is_ok());
    in_force.for_each(|(family, _)| conntrack.settle(family));
}

/// A family for which no address is chosen answers node ports everywhere.
fn scope(config: &Config, snapshot: &Snapshot) -> PerFamily<NodePortScope> {
    let settings = settings(config, snapshot, &Family::ALL);
    PerFamily::from_fn(|family| match settings.node_port_ips(family) {
        ips if ips.is_empty() => NodePortScope::Local,
        ips => NodePortScope::On(ips.into_iter().collect()),
    })
}

/// The UDP and SCTP ports of a service; none when it is not known.
fn port_flows(config: &Config, entry: Option<&ServiceEntry>) -> Vec<PortFlows> {
    let Some((entry, service)) = entry.and_then(|entry| Some((entry, entry.service.as_ref()?))) else {
        return Vec::new();
    };
    let ports = service.ports.iter().filter(|port| port.protocol != Protocol::Tcp);
    let by_family = |port| service.cluster_ips.iter().map(move |ip| (port, Family::of(*ip)));
    ports.flat_map(by_family).map(|(port, family)| of_port(config, entry, service, port, family)).collect()
}

fn of_port(config: &Config, entry: &ServiceEntry, service: &Service, port: &ServicePort, family: Family) -> PortFlows {
    let external: &[_] = if config.allow_external_ips() { &service.external_ips } else { &[] };
    let addresses = service.cluster_ips.iter().chain(external).chain(&service.load_balancer_ips);
    let addresses = addresses.filter(|ip| Family::of(**ip) == family);
    let frontends = addresses.map(|ip| Frontend::Address(*ip, port.protocol, port.port));
    let node_port = port.node_port.map(|number| Frontend::NodePort(port.protocol, number));
    // Policies and topology choose for new flows only. Ready but not serving: `publishNotReadyAddresses`.
    let endpoints = entry.endpoints(port, family, &config.node_name).into_iter();
    let stays = endpoints.filter(|endpoint| endpoint.conditions.serving || endpoint.conditions.ready);
    PortFlows { family, frontends: frontends.chain(node_port).collect(), endpoints: stays.map(|e| e.addr).collect() }
}
