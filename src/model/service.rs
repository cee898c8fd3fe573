//! A Service as the rules need it.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use super::{ObjectName, Protocol};

/// The type of a Service. ExternalName never gets here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKind {
    /// `type: ClusterIP`.
    #[default]
    ClusterIp,
    /// `type: NodePort`.
    NodePort,
    /// `type: LoadBalancer`.
    LoadBalancer,
}

/// `internalTrafficPolicy` or `externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrafficPolicy {
    /// Any endpoint.
    #[default]
    Cluster,
    /// Only endpoints on this node.
    Local,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePort {
    /// The name; empty when unnamed.
    pub name: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port on cluster, external and load-balancer addresses (host order, never 0).
    pub port: u16,
    /// The node port (host order), if one is allocated.
    pub node_port: Option<u16>,
}

/// A Service that has at least one cluster IP. Addresses are validated; lists keep the API's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ObjectName,
    /// `metadata.creationTimestamp`: of two services that claim one frontend the older wins.
    pub created: Option<Timestamp>,
    /// Its type.
    pub kind: ServiceKind,
    /// `spec.clusterIPs`, at most one a family.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip` with `ipMode` absent or `VIP`.
    pub load_balancer_ips: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// `spec.internalTrafficPolicy`: rules traffic to the cluster IPs.
    pub internal_policy: TrafficPolicy,
    /// `spec.externalTrafficPolicy`: rules externalIPs, load-balancer IPs and node ports.
    pub external_policy: TrafficPolicy,
    /// `sessionAffinity: ClientIP` with its timeout in seconds.
    pub affinity: Option<u32>,
    /// `spec.loadBalancerSourceRanges`, guarding the load-balancer IPs.
    pub source_ranges: Vec<IpNet>,
    /// `spec.healthCheckNodePort`, if one is allocated.
    pub health_check_node_port: Option<u16>,
}

impl Service {
    /// A ClusterIP service without ports: a start for literals in tests and builders.
    pub fn named(namespace: &str, name: &str) -> Service {
        Service {
            name: ObjectName::new(namespace, name),
            created: None,
            kind: ServiceKind::ClusterIp,
            cluster_ips: Vec::new(),
            external_ips: Vec::new(),
            load_balancer_ips: Vec::new(),
            ports: Vec::new(),
            internal_policy: TrafficPolicy::Cluster,
            external_policy: TrafficPolicy::Cluster,
            affinity: None,
            source_ranges: Vec::new(),
            health_check_node_port: None,
        }
    }

    /// Gives back the room its lists do not need: for those who keep many.
    pub fn shrink_to_fit(&mut self) {
        for ips in [&mut self.cluster_ips, &mut self.external_ips, &mut self.load_balancer_ips] {
            ips.shrink_to_fit();
        }
        self.ports.shrink_to_fit();
        self.source_ranges.shrink_to_fit();
    }
}
