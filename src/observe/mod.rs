//! What can be seen of a running ferroproxy: metrics, health, and the HTTP servers that show them.
//!
//! The agent tells an [`Observer`] what happened; nothing here decides anything. Time is an argument everywhere but in the
//! HTTP handlers.

mod admin;
mod health;
mod http;
mod metrics;
mod observer;
mod process;
mod service_health;
mod status;

pub use health::{FamilyHealth, Health, HealthStatus, Moment};
pub use http::{BindError, Servers};
pub use metrics::Metrics;
pub use observer::Observer;
pub use status::{DriftStatus, LastSync, Latency, MapStatus, Status};
