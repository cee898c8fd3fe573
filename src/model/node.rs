//! The own Node and the cluster's ServiceCIDRs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// A taint of the Node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taint {
    /// The key.
    pub key: String,
    /// The value; empty when absent.
    pub value: String,
    /// The effect, as the API spells it.
    pub effect: String,
}

/// What the rules and health need of the own Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name: trimmed and in lower case.
    pub name: String,
    /// `status.addresses` of type InternalIP, in the API's order.
    pub internal_ips: Vec<IpAddr>,
    /// `status.addresses` of type ExternalIP, in the API's order.
    pub external_ips: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
}

/// One ServiceCIDR object (`networking.k8s.io/v1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCidr {
    /// Its name.
    pub name: String,
    /// `spec.cidrs`.
    pub cidrs: Vec<IpNet>,
}
