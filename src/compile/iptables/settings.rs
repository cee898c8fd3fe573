//! What the classical chains depend on besides the services.

use crate::compile::settings::Settings as Common;
use crate::model::Family;

/// What both lowerings depend on, and what only this one does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What both depend on.
    pub common: Common,
    /// Whether IPv4 node ports answer on 127.0.0.0/8 too (`iptables.localhostNodePorts`). Needs `route_localnet`, and so a rule against
    /// strangers that speak to loopback addresses.
    pub localhost_node_ports: bool,
    /// Whether conntrack is liberal about TCP windows: then what it calls invalid may pass.
    pub tcp_be_liberal: bool,
}

impl Settings {
    /// Whether node ports of a family answer on loopback addresses. On `::1` they never can.
    pub fn answers_on_loopback(&self, family: Family) -> bool {
        self.localhost_node_ports && family == Family::V4
    }
}
