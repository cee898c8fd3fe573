//! The story as a value; `--output json` prints it as it is.

use std::net::IpAddr;

use serde::Serialize;

/// Everything that is told of a packet.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Story {
    pub(super) packet: Asked,
    /// What it hits; `None` when that is no frontend of a Service.
    pub(super) frontend: Option<Hit>,
    /// The service port's endpoints, used or not.
    pub(super) endpoints: Vec<Candidate>,
    /// How topology hints were used, or why not; `None` where they do not matter.
    pub(super) hints: Option<String>,
    pub(super) source: Option<Source>,
    /// What it met, rule by rule, with the lowest random slot drawn.
    pub(super) path: Vec<String>,
    pub(super) verdict: Verdict,
    pub(super) why: String,
    pub(super) destinations: Vec<Destination>,
}

/// The packet.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Asked {
    pub(super) from: IpAddr,
    /// Who that is.
    pub(super) sender: &'static str,
    pub(super) to: String,
    pub(super) protocol: String,
}

/// The frontend it hits.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Hit {
    /// `namespace/name:port`.
    pub(super) service: String,
    pub(super) kind: &'static str,
    /// The traffic policy that rules it, with its field's name.
    pub(super) policy: String,
    /// Set when the source is let past policy Local to all endpoints.
    #[serde(rename = "shortCircuit", skip_serializing_if = "Option::is_none")]
    pub(super) short_circuit: Option<&'static str>,
    /// Set when clients keep their endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) affinity: Option<String>,
}

/// One endpoint.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Candidate {
    pub(super) address: String,
    pub(super) node: Option<String>,
    pub(super) slice: String,
    pub(super) used: bool,
    pub(super) why: String,
}

/// What becomes of the source address.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Source {
    pub(super) masqueraded: bool,
    pub(super) why: String,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    Delivered,
    LeftAlone,
    Refused,
    Dropped,
}

/// Where it may go.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Destination {
    pub(super) address: String,
    /// Of 1.
    pub(super) share: f64,
    pub(super) masqueraded: bool,
}
