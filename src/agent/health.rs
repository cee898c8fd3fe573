//! The health check servers wanted, kept in step with the Services.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::settings::node_ports;
use crate::compile::settings::NodePorts;
use crate::model::{Config, Family, HealthChecks};
use crate::policy::service_health;
use crate::state::{Changes, Snapshot};

/// What was told of the health check servers, and what is to be told.
#[derive(Debug, Default)]
pub(super) struct HealthPorts {
    told: HealthChecks,
    wanted: HealthChecks,
}

impl HealthPorts {
    /// Takes in what changed; costs what changed.
    pub(super) fn update(&mut self, config: &Config, snapshot: &Snapshot, families: &[Family], changes: &Changes) {
        for name in &changes.services {
            match snapshot.services.get(name).and_then(|entry| service_health(entry, &config.node_name)) {
                Some(health) => self.wanted.services.insert(name.clone(), health),
                None => self.wanted.services.remove(name),
            };
        }
        self.wanted.addresses = families.iter().flat_map(|family| addresses(config, snapshot, *family)).collect();
    }

    /// What is to be told before the rules change, if anything: what goes, goes first.
    pub(super) fn before(&mut self) -> Option<HealthChecks> {
        self.tell(self.told.while_becoming(&self.wanted))
    }

    /// What is to be told once they have changed, if anything.
    pub(super) fn after(&mut self) -> Option<HealthChecks> {
        self.tell(self.wanted.clone())
    }

    fn tell(&mut self, checks: HealthChecks) -> Option<HealthChecks> {
        (checks != self.told).then(|| {
            self.told = checks;
            self.told.clone()
        })
    }
}

/// Where node ports of a family answer; everywhere is the unspecified address.
fn addresses(config: &Config, snapshot: &Snapshot, family: Family) -> BTreeSet<IpAddr> {
    match (node_ports(config, snapshot, family), family) {
        (NodePorts::On(addresses), _) => addresses,
        (NodePorts::All, Family::V4) => [Ipv4Addr::UNSPECIFIED.into()].into(),
        (NodePorts::All, Family::V6) => [Ipv6Addr::UNSPECIFIED.into()].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Change, Event, Node, Service, ServiceKind, ServicePort, SourceConfig, TrafficPolicy};
    use crate::state::State;

    fn service(port: u16) -> Service {
        let name = "".into();
        Service {
            kind: ServiceKind::LoadBalancer,
            external_policy: TrafficPolicy::Local,
            health_check_node_port: Some(port),
            cluster_ips: vec![[10, 96, 0, 1].into()],
            ports: vec![ServicePort { name, protocol: crate::model::Protocol::Tcp, port: 80, node_port: None }],
            ..Service::named("default", "web")
        }
    }

    fn turn(ports: &mut HealthPorts, state: &mut State, event: Event) -> (Option<HealthChecks>, Option<HealthChecks>) {
        state.apply(event);
        let changes = state.take_changes();
        let config = Config::new(SourceConfig::Manifests("/m".into()), "n");
        ports.update(&config, state.snapshot(), &Family::ALL, &changes);
        (ports.before(), ports.after())
    }

    fn told(checks: Option<HealthChecks>) -> Vec<u16> {
        checks.expect("told").services.values().map(|health| health.port).collect()
    }

    #[test]
    fn a_moved_port_is_closed_before_the_rules_change_and_opened_after() {
        let (mut ports, mut state) = (HealthPorts::default(), State::new());
        let (before, after) = turn(&mut ports, &mut state, Event::Service(Change::Upsert(service(30500))));
        assert_eq!((before, told(after)), (None, vec![30500]));
        let (before, after) = turn(&mut ports, &mut state, Event::Service(Change::Upsert(service(30600))));
        assert_eq!((told(before), told(after)), (vec![], vec![30600]));
        let (before, after) = turn(&mut ports, &mut state, Event::Service(Change::Delete(service(1).name)));
        assert_eq!((told(before), after), (vec![], None));
    }

    #[test]
    fn nothing_is_told_when_nothing_changed_and_the_addresses_are_those_of_node_ports() {
        let (mut ports, mut state) = (HealthPorts::default(), State::new());
        let node = Node { name: "n".into(), internal_ips: vec![[192, 0, 2, 10].into()], ..Node::default() };
        let (_, after) = turn(&mut ports, &mut state, Event::Node(Change::Upsert(node.clone())));
        let expected: BTreeSet<IpAddr> = [[192, 0, 2, 10].into(), Ipv6Addr::UNSPECIFIED.into()].into();
        assert_eq!(after.expect("told").addresses, expected);
        assert_eq!(turn(&mut ports, &mut state, Event::Node(Change::Upsert(node))), (None, None));
    }
}
