//! Which endpoints a packet may reach: traffic policy, topology, terminating fallback. Pure.

mod choice;
mod health;
mod judge;
mod route;
mod topology;

pub use choice::{Choice, choose};
pub use health::service_health;
pub use judge::{Standing, judge};
pub use route::{Pool, PortRoutes, Route, Viewpoint, route};
pub use topology::{HintsIgnored, Topology};

#[cfg(test)]
mod tests;
