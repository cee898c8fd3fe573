//! What the `healthCheckNodePort` of a Service says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::{Family, PerFamily, ServiceHealth, ServiceKind, ServicePort, TrafficPolicy};
use crate::state::ServiceEntry;

/// The health check of a Service, as seen from a node; `None` if it has none.
///
/// Only a load balancer that spares the nodes without endpoints asks: type LoadBalancer with `externalTrafficPolicy: Local`.
pub fn service_health(entry: &ServiceEntry, node: &str) -> Option<ServiceHealth> {
    let service = entry.service.as_ref()?;
    let asked = service.kind == ServiceKind::LoadBalancer && service.external_policy == TrafficPolicy::Local;
    let port = service.health_check_node_port.filter(|_| asked && !service.ports.is_empty())?;
    let has = |family| service.cluster_ips.iter().any(|ip| Family::of(*ip) == family);
    let count = |family| has(family).then(|| local_ready(entry, family, node).len());
    Some(ServiceHealth { port, local_endpoints: PerFamily::from_fn(count) })
}

/// The addresses of ready endpoints on the node, over all ports of the slices. Of an endpoint that stands twice the one that counts for
/// packets counts here.
fn local_ready(entry: &ServiceEntry, family: Family, node: &str) -> BTreeSet<IpAddr> {
    let ports: BTreeSet<_> = entry.slices.values().flat_map(|slice| &slice.ports).collect();
    let names: BTreeSet<_> = ports.into_iter().map(|port| (&port.name, port.protocol, port.port)).collect();
    let endpoints = names.into_iter().flat_map(|(name, protocol, port)| {
        let port = ServicePort { name: name.clone(), protocol, port, node_port: None };
        entry.endpoints(&port, family, node)
    });
    endpoints.filter(|endpoint| endpoint.local && endpoint.conditions.ready).map(|endpoint| endpoint.addr.ip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Conditions, EndpointSlice, ObjectName, Protocol, Service, SliceEndpoint, SlicePort};

    const READY: Conditions = Conditions { ready: true, serving: true, terminating: false };
    const LEAVING: Conditions = Conditions { ready: false, serving: true, terminating: true };

    fn service() -> Service {
        let port = ServicePort { name: "web".into(), protocol: Protocol::Tcp, port: 80, node_port: None };
        Service {
            kind: ServiceKind::LoadBalancer,
            external_policy: TrafficPolicy::Local,
            health_check_node_port: Some(30500),
            cluster_ips: vec![[10, 96, 0, 1].into()],
            ports: vec![port],
            ..Service::named("default", "web")
        }
    }

    /// A slice with two ports and endpoints (last octet, conditions, node).
    fn slice(name: &str, endpoints: &[(u8, Conditions, &str)]) -> EndpointSlice {
        let port = |name: &str, port| SlicePort { name: name.into(), protocol: Protocol::Tcp, port };
        let endpoint = |(n, conditions, node): &(u8, Conditions, &str)| SliceEndpoint {
            address: [10, 244, 0, *n].into(),
            conditions: *conditions,
            node: Some((*node).into()),
            hints: None,
        };
        EndpointSlice {
            name: ObjectName::new("default", name),
            service: ObjectName::new("default", "web"),
            family: Family::V4,
            ports: vec![port("web", 8080), port("metrics", 9090)],
            endpoints: endpoints.iter().map(endpoint).collect(),
            triggered: None,
        }
    }

    fn entry(service: Service, slices: Vec<EndpointSlice>) -> ServiceEntry {
        let slices = slices.into_iter().map(|slice| (slice.name.name.clone(), slice)).collect();
        ServiceEntry { service: Some(service), slices }
    }

    fn count(slices: Vec<EndpointSlice>) -> Option<usize> {
        service_health(&entry(service(), slices), "here").expect("it has one").local_endpoints.v4
    }

    #[test]
    fn ready_endpoints_on_this_node_count_once_whatever_their_ports() {
        let some = slice("a", &[(1, READY, "here"), (2, READY, "there"), (3, LEAVING, "here")]);
        assert_eq!(count(vec![some]), Some(1));
        assert_eq!(
            count(vec![slice("a", &[(1, READY, "here")]), slice("b", &[(1, READY, "here"), (2, READY, "here")])]),
            Some(2)
        );
        assert_eq!(count(vec![]), Some(0));
    }

    #[test]
    fn only_the_families_of_the_service_have_a_server() {
        let health = service_health(&entry(service(), vec![]), "here").expect("it has one");
        assert_eq!((health.port, health.local_endpoints), (30500, PerFamily { v4: Some(0), v6: None }));
    }

    #[test]
    fn only_load_balancers_under_the_local_policy_are_asked() {
        let has = |service| service_health(&entry(service, vec![]), "here").is_some();
        assert!(has(service()));
        assert!(!has(Service { kind: ServiceKind::NodePort, ..service() }));
        assert!(!has(Service { external_policy: TrafficPolicy::Cluster, ..service() }));
        assert!(!has(Service { health_check_node_port: None, ..service() }));
        assert!(!has(Service { ports: Vec::new(), ..service() }));
        assert_eq!(service_health(&ServiceEntry::default(), "here"), None, "slices alone are no Service");
    }
}
