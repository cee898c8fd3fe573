//! A service port as the chains need it.

use std::collections::BTreeSet;

use super::names::PortNames;
use crate::compile::claims::{Claimant, Frontend};
use crate::compile::emission::Placed;
use crate::model::EndpointAddr;
use crate::policy::{Pool, PortRoutes, Route};

/// A service port with what it owns and how its chains are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    /// Its routes.
    pub(super) routes: PortRoutes,
    /// The frontends it owns.
    pub(super) owned: BTreeSet<Frontend>,
    /// The Service's health check port, if it has one.
    pub(super) health_check: Option<u16>,
    /// Its chains.
    pub(super) names: PortNames,
}

impl Port {
    /// A port that owns nothing yet.
    pub(super) fn new(routes: PortRoutes, health_check: Option<u16>) -> Port {
        let names = PortNames::of(&routes.name.to_string(), routes.protocol);
        Port { routes, owned: BTreeSet::new(), health_check, names }
    }

    /// Every frontend it claims.
    pub(super) fn claims(&self) -> BTreeSet<(Frontend, Claimant)> {
        let claimant = Claimant::new(self.routes.created, self.routes.name.clone());
        Placed::frontends(&self.routes).into_iter().map(|frontend| (frontend, claimant.clone())).collect()
    }

    /// Whether there is any endpoint a packet may reach.
    pub(super) fn has_endpoints(&self) -> bool {
        self.routes.internal != Route::Reject
    }

    /// Whether it has a chain for external traffic: also where only the short-circuits of the Local policy lead anywhere.
    pub(super) fn has_external_chain(&self) -> bool {
        self.has_endpoints() && self.routes.is_external()
    }

    /// Whether source ranges guard a frontend: by address and port, whatever else the address is to the Service.
    pub(super) fn guards(&self, frontend: &Frontend) -> bool {
        self.routes.is_guarded() && frontend.ip.is_some_and(|ip| self.routes.load_balancer_ips.contains(&ip))
    }

    /// Whether a frontend is the cluster IP.
    pub(super) fn is_internal(&self, frontend: &Frontend) -> bool {
        frontend.ip == Some(self.routes.cluster_ip)
    }

    /// The chain of a pool.
    pub(super) fn chain_of(&self, pool: Pool) -> &str {
        match pool {
            Pool::Cluster => self.names.svc.as_str(),
            Pool::Local => self.names.svl.as_str(),
        }
    }

    /// The endpoints of both pools, each once.
    pub(super) fn endpoints(&self) -> BTreeSet<EndpointAddr> {
        self.routes.cluster.iter().chain(&self.routes.local).copied().collect()
    }
}
