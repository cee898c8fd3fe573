//! What should be in force, from what is known: routes of services, and a compiler that holds them all.

use std::collections::BTreeMap;

use super::settings::settings;
use crate::compile::Compiler;
use crate::compile::seed::Seed;
use crate::model::{Config, Family, ObjectName, Rejection};
use crate::policy::{PortRoutes, Viewpoint, route};
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
    compile(config, snapshot, families, seed, routes(config, snapshot, snapshot.services.keys()))
}

pub(super) fn compile(
    config: &Config,
    snapshot: &Snapshot,
    families: &[Family],
    seed: Seed,
    routes: Routes,
) -> (Compiler, Vec<Rejection>) {
    let mut compiler = Compiler::new(settings(config, snapshot, families), seed);
    let rejections = compiler.update(routes);
    compiler.forget_seed();
    (compiler, rejections)
}
