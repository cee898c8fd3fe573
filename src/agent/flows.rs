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
        None => NodePortScope::Local,
        Some(ips) => NodePortScope::On(ips.iter().copied().collect()),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::{Conditions, EndpointSlice, Node, NodePortAddresses, SliceEndpoint, SlicePort, SourceConfig};

    fn config() -> Config {
        Config::new(SourceConfig::Manifests("/nowhere".into()), "node-a")
    }

    fn port(name: &str, protocol: Protocol) -> ServicePort {
        ServicePort { name: name.into(), protocol, port: 53, node_port: (name == "u").then_some(30053) }
    }

    /// A dual-stack service with a port of each protocol, and IPv4 endpoints 1 to 4 of all sorts.
    fn entry() -> ServiceEntry {
        let name = ObjectName::new("default", "dns");
        let mut service = Service::named("default", "dns");
        service.cluster_ips = vec!["10.96.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        service.external_ips = vec!["203.0.113.1".parse().unwrap()];
        service.load_balancer_ips = vec!["2001:db8::7".parse().unwrap()];
        service.ports = vec![port("t", Protocol::Tcp), port("u", Protocol::Udp), port("s", Protocol::Sctp)];
        let conditions = [(true, true, false), (false, true, true), (true, false, false), (false, false, true)];
        let endpoint = |(last, (ready, serving, terminating))| SliceEndpoint {
            address: [10, 244, 0, last].into(),
            conditions: Conditions { ready, serving, terminating },
            node: None,
            hints: None,
        };
        let slice = EndpointSlice {
            name: ObjectName::new("default", "dns-v4"),
            service: name,
            family: Family::V4,
            ports: vec![SlicePort { name: "u".into(), protocol: Protocol::Udp, port: 5353 }],
            endpoints: (1u8..).zip(conditions).map(endpoint).collect(),
            triggered: None,
        };
        ServiceEntry { service: Some(service), slices: [("dns-v4".into(), slice)].into() }
    }

    #[test]
    fn every_frontend_of_udp_and_sctp_is_told_and_who_still_serves() {
        let told = port_flows(&config(), Some(&entry()));
        let at = |ip: &str, protocol| Frontend::Address(ip.parse().unwrap(), protocol, 53);
        let (udp, sctp) = (Protocol::Udp, Protocol::Sctp);
        let node_port = Frontend::NodePort(udp, 30053);
        let frontends: Vec<_> = told.iter().map(|port| (port.family, port.frontends.clone())).collect();
        let expected = [
            (Family::V4, vec![at("10.96.0.1", udp), at("203.0.113.1", udp), node_port]),
            (Family::V6, vec![at("fd00::1", udp), at("2001:db8::7", udp), node_port]),
            (Family::V4, vec![at("10.96.0.1", sctp), at("203.0.113.1", sctp)]),
            (Family::V6, vec![at("fd00::1", sctp), at("2001:db8::7", sctp)]),
        ];
        assert_eq!(frontends, expected);
        let words = |port: &PortFlows| port.endpoints.iter().map(|e| e.to_string()).collect::<Vec<_>>();
        let serving: Vec<_> = told.iter().map(words).collect();
        let none = Vec::<String>::new();
        let ready = ["10.244.0.1:5353", "10.244.0.2:5353", "10.244.0.3:5353"].map(str::to_owned).to_vec();
        assert_eq!(serving, [ready, none.clone(), none.clone(), none]);
    }

    #[test]
    fn a_service_that_is_gone_has_nothing() {
        assert_eq!(port_flows(&config(), None), []);
        assert_eq!(port_flows(&config(), Some(&ServiceEntry { service: None, ..entry() })), []);
    }

    #[test]
    fn node_ports_answer_where_the_rules_say() {
        let node = Node { internal_ips: vec!["192.0.2.10".parse().unwrap()], ..Node::default() };
        let snapshot = Snapshot { node: Some(node), ..Snapshot::default() };
        let primary = NodePortScope::On(BTreeSet::from(["192.0.2.10".parse().unwrap()]));
        assert_eq!(scope(&config(), &snapshot), PerFamily { v4: primary, v6: NodePortScope::Local });
        let all = Config { node_port_addresses: NodePortAddresses::All, ..config() };
        assert_eq!(scope(&all, &snapshot), PerFamily::default());
    }
}
