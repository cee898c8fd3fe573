//! An EndpointSlice as the rules need it.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Family, ObjectName, Protocol};

/// One port of a slice. Ports without a number never get here; an absent name is the empty one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlicePort {
    /// The name, matched against the Service port's name.
    pub name: Arc<str>,
    /// The protocol, matched against the Service port's protocol.
    pub protocol: Protocol,
    /// The number on the endpoints of this slice (host order, never 0).
    pub port: u16,
}

/// An endpoint's conditions, with the API's defaults for absent ones already filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conditions {
    /// Takes new connections; absent means true.
    pub ready: bool,
    /// Would take connections, were it not terminating; absent means true.
    pub serving: bool,
    /// Is shutting down; absent means false.
    pub terminating: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Conditions { ready: true, serving: true, terminating: false }
    }
}

/// `hints` of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hints {
    /// Names of `forZones`.
    pub zones: Vec<Arc<str>>,
    /// Names of `forNodes`.
    pub nodes: Vec<Arc<str>>,
}

/// One endpoint of a slice: its first address and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// `addresses[0]`, of the slice's family.
    pub address: IpAddr,
    /// Its conditions.
    pub conditions: Conditions,
    /// `nodeName`. The same name shares one allocation.
    pub node: Option<Arc<str>>,
    /// Topology hints; `None` when there are none.
    pub hints: Option<Box<Hints>>,
}

/// An EndpointSlice with the label `kubernetes.io/service-name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Its own name; the Service lives in the same namespace.
    pub name: ObjectName,
    /// The Service it belongs to.
    pub service: ObjectName,
    /// `addressType`. FQDN slices never get here.
    pub family: Family,
    /// Its ports.
    pub ports: Vec<SlicePort>,
    /// Its endpoints.
    pub endpoints: Vec<SliceEndpoint>,
    /// The annotation `endpoints.kubernetes.io/last-change-trigger-time`.
    pub triggered: Option<Timestamp>,
}
