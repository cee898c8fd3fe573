//! `ferroproxy run --write-config-to FILE`: the configuration in force, for people who come from flags.

use std::path::Path;

use anyhow::Context;

use super::OK;
use super::config::GROUP;
use crate::model::Config;

/// Writes a `KubeProxyConfiguration`. `named` is what the flag says of the node's name: one that was found out does not go into a file for many.
pub(super) fn write(config: &Config, named: Option<&str>, file: &Path) -> anyhow::Result<u8> {
    let mut told = config.configz.get(GROUP).cloned().unwrap_or_default();
    told["hostnameOverride"] = named.unwrap_or_default().into();
    let text = serde_saphyr::to_string(&told).context("cannot write the configuration as YAML")?;
    std::fs::write(file, text).with_context(|| format!("cannot write the configuration to {}", file.display()))?;
    Ok(OK)
}
