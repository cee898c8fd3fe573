//! The hallway: the words every room shares.
//!
//! Plain data, ordered, comparable and printable. Nothing here touches a socket, a clock or Kubernetes' own types;
//! [`crate::source`] turns API objects into these words once, at the front door.

mod config;
mod drift;
mod event;
mod figures;
mod health_checks;
mod name;
mod net;
mod node;
mod rejection;
mod report;
mod service;
mod slice;

pub use config::{
    AdminSocket, ApiConfig, Config, ConntrackConfig, Encoding, LocalDetector, LogConfig, LogFormat, ModeReason,
    NodePortAddresses, ProxyMode, SourceConfig,
};
pub use drift::{Drift, DriftKind};
pub use event::{Change, Event};
pub use figures::IptablesFigures;
pub use health_checks::{HealthChecks, ServiceHealth};
pub use name::{ObjectName, ServicePortName};
pub use net::{EndpointAddr, Family, PerFamily, Protocol};
pub use node::{Node, ServiceCidr, Taint};
pub use rejection::{ObjectKind, Rejection};
pub use report::{Connections, FamilyOutcome, HintsUnused, MapFill, NoLocalEndpoints, Stage, SyncKind, SyncReport};
pub use service::{Service, ServiceKind, ServicePort, TrafficPolicy};
pub use slice::{Conditions, EndpointSlice, Hints, SliceEndpoint, SlicePort};
