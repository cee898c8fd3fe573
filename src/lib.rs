//! ferroproxy replaces kube-proxy on a Linux node: it watches Services and EndpointSlices and programs netfilter so that a
//! connection to a service address reaches one of the service's endpoints.
//!
//! The rooms, and the one way data flows through them, are described in `ARCHITECTURE.md`.

pub mod agent;
pub mod apply;
pub mod cli;
pub mod compile;
pub mod host;
pub mod model;
mod netlink;
pub mod observe;
pub mod peer;
pub mod policy;
pub mod source;
pub mod state;
