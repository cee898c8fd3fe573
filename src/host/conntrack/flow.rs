//! What the reconciler is told of services, and what it reads of the conntrack table.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::{EndpointAddr, Family, Protocol};

/// Where a flow may have been sent to reach a service, within one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Frontend {
    /// A cluster IP, external IP or load-balancer IP, with protocol and port (host order).
    Address(IpAddr, Protocol, u16),
    /// A node port (host order), on every address that answers node ports.
    NodePort(Protocol, u16),
}

impl Frontend {
    /// Protocol and port: what every flow to it has in common.
    pub(super) fn port(self) -> (Protocol, u16) {
        match self {
            Frontend::Address(_, protocol, port) | Frontend::NodePort(protocol, port) => (protocol, port),
        }
    }
}

/// One port of a service in one family: its frontends and who may still answer flows to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFlows {
    /// The family.
    pub family: Family,
    /// Its frontends.
    pub frontends: Vec<Frontend>,
    /// The endpoints whose flows stay: those serving, whatever policy, topology or termination say of new flows, and those ready.
    pub endpoints: BTreeSet<EndpointAddr>,
}

/// Where node ports of a family answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePortScope {
    /// On every local address but loopback.
    #[default]
    Local,
    /// On these addresses.
    On(BTreeSet<IpAddr>),
}

/// A conntrack entry of UDP or SCTP in the default zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// The protocol.
    pub(super) protocol: Protocol,
    /// Who sent the first packet.
    pub(super) source: EndpointAddr,
    /// Where it was sent, before any translation.
    pub(super) destination: EndpointAddr,
    /// Who answers it: the endpoint, if the flow was handled.
    pub(super) reply_source: EndpointAddr,
    /// The kernel's id of the entry: a new entry with the same addresses has another.
    pub(super) id: u32,
}
