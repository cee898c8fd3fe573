//! What should be in force, from what is known: routes of services, and a compiler that holds them all.

use std::collections::BTreeMap;

use super::settings::{iptables_settings, settings};
use crate::compile::Compiler;
use crate::compile::iptables::{Contribution, IptablesCompiler};
use crate::compile::seed::Seed;
use crate::model::{Config, Family, ObjectName, Rejection};
use crate::policy::{PortRoutes, Viewpoint, route, service_health};
use crate::state::Snapshot;

/// The routes of services by name; none for a service that is gone.
pub(super) type Routes = BTreeMap<ObjectName, Vec<PortRoutes>>;

/// The routes of these services now.
pub(super) fn routes<'a>(config: &Config, snapshot: &Snapshot, names: impl Iterator<Item = &'a ObjectName>) -> Routes {
    let from = Viewpoint {
        node_name: &config.node_name,
        node: snapshot.node.as_ref(),
        external_ips: config.allow_external_ips(),
    };
    let of = |name: &ObjectName| snapshot.services.get(name).map(|entry| route(entry, from)).unwrap_or_default();
    names.map(|name| (name.clone(), of(name))).collect()
}

/// A compiler that holds everything, and the frontends that could not be had. The seed's slots and capacities are kept.
pub fn plan(config: &Config, snapshot: &Snapshot, families: &[Family], seed: Seed) -> (Compiler, Vec<Rejection>) {
    let mut compiler = Compiler::new(settings(config, snapshot, families), seed);
    let rejections = compiler.update(routes(config, snapshot, snapshot.services.keys()));
    compiler.forget_seed();
    (compiler, rejections)
}

/// The same in iptables mode.
pub fn plan_iptables(config: &Config, snapshot: &Snapshot, families: &[Family]) -> (IptablesCompiler, Vec<Rejection>) {
    let mut compiler = IptablesCompiler::new(iptables_settings(config, snapshot, families));
    let routes = routes(config, snapshot, snapshot.services.keys());
    let rejections = compiler.update(contributions(config, snapshot, routes));
    (compiler, rejections)
}

/// What services bring in iptables mode: their routes, and the health check ports to which connections are accepted.
pub(super) fn contributions(
    config: &Config,
    snapshot: &Snapshot,
    routes: Routes,
) -> BTreeMap<ObjectName, Contribution> {
    let of = |(name, routes): (ObjectName, Vec<PortRoutes>)| {
        let health = snapshot.services.get(&name).and_then(|entry| service_health(entry, &config.node_name));
        (name, Contribution { routes, health_check: health.map(|health| health.port) })
    };
    routes.into_iter().map(of).collect()
}
