//! `KubeProxyConfiguration` (`kubeproxy.config.k8s.io/v1alpha1`): read, defaulted, checked, lowered to [`crate::model::Config`]'s words.
//!
//! `types` is the file as written; `parse` reads it and names what it does not know; `defaults` fills the rest as
//! kube-proxy does; `lower` turns it into the model's words and collects every mistake with the field's name.

mod address;
mod defaults;
mod duration;
mod error;
mod lower;
mod parse;
mod types;
mod unused;

pub use error::{ConfigError, FieldError};

pub(crate) use address::default_port;
pub(crate) use defaults::{HEALTHZ_PORT, METRICS_PORT, OFF, fill};
pub(crate) use duration::GoDuration;
pub(crate) use lower::{Lowered, lower, sections_without_effect};
pub(crate) use parse::parse;
#[cfg(test)]
pub(crate) use types::Logging;
pub(crate) use types::{ClientConnection, Conntrack, DetectLocal, Iptables, KubeProxyConfiguration, Nftables};
pub(crate) use unused::unused;
#[cfg(test)]
pub(crate) use unused::{is_without_effect, keys};

/// The group and version of the file.
pub(crate) const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
/// The kind of the file.
pub(crate) const KIND: &str = "KubeProxyConfiguration";
/// The key under which `/configz` serves it.
pub(crate) const GROUP: &str = "kubeproxy.config.k8s.io";
