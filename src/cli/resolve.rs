//! Arguments, file and environment become one [`Config`].

mod from_flags;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::args::{ConfigArgs, flag_of_field, has_no_effect, is_said_by_a_file};
use super::config::{
    ConfigError, FieldError, GROUP, KubeProxyConfiguration, Lowered, fill, lower, parse, sections_without_effect,
    unused,
};
use crate::model::{AdminSocket, ApiConfig, Config, ConntrackConfig, Encoding, LocalDetector, ProxyMode, SourceConfig};

/// What a configuration depends on besides arguments and files.
pub trait Environment {
    /// A variable of the environment; an empty one counts as absent.
    fn var(&self, name: &str) -> Option<String>;
    /// The host's name.
    fn host_name(&self) -> io::Result<String>;
}

/// The process's own environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Environment for System {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn host_name(&self) -> io::Result<String> {
        fs::read_to_string("/proc/sys/kernel/hostname")
    }
}

/// Settles the configuration: file or flags, defaults, checks. The strings are warnings for the log, in order.
///
/// Reads the configuration file and looks whether the kubeconfig is there; nothing else is touched.
pub fn resolve(args: &ConfigArgs, env: &dyn Environment) -> Result<(Config, Vec<String>), ConfigError> {
    resolve_as(args, env, None)
}

/// The same with a mode that is decided elsewhere, whatever was asked for: its defaults and its section of the file hold.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_as(
    args: &ConfigArgs,
    env: &dyn Environment,
    decided: Option<ProxyMode>,
) -> Result<(Config, Vec<String>), ConfigError> {
    let mut warnings = Vec::new();
    let mut file = match &args.source.config {
        Some(path) => read(path, args.source.strict, &mut warnings)?,
        None => from_flags::configuration(args).map_err(|errors| by_flag(errors, args))?,
    };
    flags_without_effect(args, &mut warnings);
    override_logging(args, &mut file);
    file.mode = Some(file.mode.unwrap_or_default());
    let (mode, free) = match decided {
        Some(mode) => (mode, false),
        None => mode(&file, args, &mut warnings)?,
    };
    let node_name = node_name(args, &file, env)?;
    file.mode = Some(mode.name().to_owned());
    warnings.extend(sections_without_effect(&file));
    warnings.extend(unused(&file));
    file.hostname_override = Some(node_name.clone());
    fill(&mut file);
    at_once_by_flag(args, &mut file);
    let lowered = lower(&file).map_err(|errors| by_flag(errors, args))?;
    gates(&file, &mut warnings);
    detector(&lowered, &mut warnings);
    let source = source(args, &file, env)?;
    let config = build(source, node_name, mode, lowered, &file);
    Ok((Config { mode_is_free: free, count_connections: args.count_connections, ..config }, warnings))
}

/// A configuration as it is written, and what ferroproxy would make of it, without a source.
#[derive(Debug)]
pub struct Written {
    /// The file, or the flags as a file would say them.
    pub(crate) file: KubeProxyConfiguration,
    /// Keys nobody knows.
    pub(crate) unknown: Vec<String>,
    /// The mode ferroproxy would run in, or why it would not.
    pub(crate) mode: Result<ProxyMode, ConfigError>,
    /// Settings of the section of another mode, a sentence each.
    pub(crate) without_effect: Vec<String>,
    /// The values, or what is wrong with them.
    pub(crate) lowered: Result<Lowered, ConfigError>,
}

/// Reads the configuration for a look at it: what `run` would refuse is part of the answer.
///
/// # Errors
/// When the file cannot be read, or is no such configuration.
pub fn written(args: &ConfigArgs) -> Result<Written, ConfigError> {
    let mut unknown = Vec::new();
    let file = match &args.source.config {
        Some(path) => read(path, false, &mut unknown)?,
        None => from_flags::configuration(args).map_err(|errors| by_flag(errors, args))?,
    };
    let mut as_run = KubeProxyConfiguration { mode: Some(file.mode.clone().unwrap_or_default()), ..file.clone() };
    let mode = mode(&as_run, args, &mut Vec::new()).map(|(mode, _)| mode);
    as_run.mode = Some(mode.as_ref().copied().unwrap_or_default().name().to_owned());
    let without_effect = sections_without_effect(&as_run);
    fill(&mut as_run);
    at_once_by_flag(args, &mut as_run);
    let lowered = lower(&as_run).map_err(|errors| by_flag(errors, args));
    Ok(Written { file, unknown, mode, without_effect, lowered })
}

impl Written {
    /// What is wrong with the values, a line each.
    pub(crate) fn errors(&self) -> Vec<String> {
        match &self.lowered {
            Err(error) => vec![error.to_string()],
            Ok(_) => Vec::new(),
        }
    }

    /// Conntrack's part; the defaults when something is wrong.
    pub(crate) fn conntrack(&self) -> ConntrackConfig {
        self.lowered.as_ref().map(|lowered| lowered.conntrack.clone()).unwrap_or_default()
    }
}

fn build(
    source: SourceConfig,
    node_name: String,
    mode: ProxyMode,
    lowered: Lowered,
    file: &KubeProxyConfiguration,
) -> Config {
    Config {
        source,
        node_name,
        mode,
        mode_is_free: false,
        localhost_node_ports: lowered.localhost_node_ports,
        masquerade_bit: lowered.masquerade_bit,
        masquerade_all: lowered.masquerade_all,
        detector: lowered.detector,
        node_port_addresses: lowered.node_port_addresses,
        bind_address: lowered.bind_address,
        sync_period: lowered.sync_period,
        min_sync_period: lowered.min_sync_period,
        healthz_address: lowered.healthz_address,
        metrics_address: lowered.metrics_address,
        count_connections: None,
        own_tables: false,
        admin: Some(AdminSocket::default()),
        bind_hard_fail: file.bind_address_hard_fail.unwrap_or_default(),
        conntrack: lowered.conntrack,
        oom_score_adj: lowered.oom_score_adj,
        feature_gates: file.feature_gates.clone().unwrap_or_default(),
        log: lowered.log,
        configz: serde_json::json!({ GROUP: file }),
    }
}

fn read(path: &Path, strict: bool, warnings: &mut Vec<String>) -> Result<KubeProxyConfiguration, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
        what: "the configuration file",
        path: path.to_owned(),
        source,
    })?;
    let parsed = parse(&text).map_err(|message| ConfigError::Parse { path: path.to_owned(), message })?;
    if strict && !parsed.unknown.is_empty() {
        return Err(ConfigError::UnknownKeys { path: path.to_owned(), keys: parsed.unknown });
    }
    let unknown = parsed.unknown.iter().map(|key| format!("{}: {key}: unknown key, ignored", path.display()));
    warnings.extend(unknown);
    Ok(parsed.config)
}

/// Names the flag instead of the field where no file was read.
fn by_flag(errors: Vec<FieldError>, args: &ConfigArgs) -> ConfigError {
    let named = |error: FieldError| match flag_of_field(&error.field) {
        Some(flag) if args.source.config.is_none() => FieldError { field: flag.to_owned(), ..error },
        _ => error,
    };
    ConfigError::Invalid(errors.into_iter().map(named).collect())
}

fn flags_without_effect(args: &ConfigArgs, warnings: &mut Vec<String>) {
    for flag in &args.given {
        if has_no_effect(flag) {
            warnings.push(format!("--{flag} has no effect in ferroproxy"));
        } else if args.source.config.is_some() && is_said_by_a_file(flag) {
            warnings.push(format!("--{flag} is ignored, because --config is given"));
        }
    }
}

/// Logging flags win over the file.
fn override_logging(args: &ConfigArgs, file: &mut KubeProxyConfiguration) {
    let logging = file.logging.get_or_insert_default();
    if let Some(v) = args.log.v {
        logging.verbosity = Some(u32::from(v));
    }
    if let Some(format) = &args.log.logging_format {
        logging.format = Some(format.clone());
    }
}

/// The mode in force, and whether nobody chose it. `--proxy-mode` steps in for any mode of a file but nftables.
fn mode(
    file: &KubeProxyConfiguration,
    args: &ConfigArgs,
    warnings: &mut Vec<String>,
) -> Result<(ProxyMode, bool), ConfigError> {
    let written = file.mode.as_deref().unwrap_or_default();
    let flag = args.settings.proxy_mode.as_deref().filter(|_| args.source.config.is_some());
    let chosen = match (written, flag) {
        ("nftables", Some(other)) => {
            if other != "nftables" {
                warnings.push(format!("--proxy-mode={other} is ignored, because the configuration file says nftables"));
            }
            written
        }
        ("" | "iptables" | "ipvs", Some(flag)) => flag,
        _ => written,
    };
    let mode = known_mode(chosen, args)?;
    if mode == ProxyMode::Nftables && written != "nftables" && matches!(source_kind(args), Kind::Api) {
        legacy(written, flag.is_some(), file, warnings);
    }
    Ok((mode, chosen.is_empty()))
}

fn known_mode(mode: &str, args: &ConfigArgs) -> Result<ProxyMode, ConfigError> {
    let advice = match mode {
        "" | "nftables" => return Ok(ProxyMode::Nftables),
        "iptables" => return Ok(ProxyMode::Iptables),
        "ipvs" => {
            "does not exist in ferroproxy; use nftables (mode: nftables, or --proxy-mode=nftables beside this file) \
             or iptables"
        }
        other => {
            let reason = format!("{other:?} is no mode; ferroproxy knows nftables and iptables");
            return Err(by_flag(vec![FieldError { field: "mode".to_owned(), reason }], args));
        }
    };
    Err(ConfigError::Mode { mode: mode.to_owned(), advice })
}

/// What changes for someone who comes from another mode of kube-proxy.
fn legacy(written: &str, overridden: bool, file: &KubeProxyConfiguration, warnings: &mut Vec<String>) {
    match (written, overridden) {
        ("", true) => {}
        ("", false) => {
            warnings.push(
                "mode is not set: ferroproxy uses nftables where the kernel can, and kube-proxy would use iptables"
                    .to_owned(),
            );
        }
        (other, _) => warnings.push(format!("mode {other:?} is overridden by --proxy-mode: ferroproxy uses nftables")),
    }
    if file.node_port_addresses.as_ref().is_none_or(Vec::is_empty) {
        warnings.push(
            "nodePortAddresses is not set: in nftables mode node ports answer on the node's primary addresses only, \
             where kube-proxy's older modes open every local address ([0.0.0.0/0, ::/0] keeps that)"
                .to_owned(),
        );
    }
}

/// No least time between commits: in a file zero is the default of iptables mode, as a flag it is zero, as with kube-proxy.
fn at_once_by_flag(args: &ConfigArgs, file: &mut KubeProxyConfiguration) {
    let flag = args.settings.min_sync_period.as_deref().filter(|_| args.source.config.is_none());
    if let (Some(Ok(period)), Some(iptables)) = (flag.map(str::parse), &mut file.iptables) {
        iptables.min_sync_period = Some(period);
    }
}

/// Trimmed and in lower case, from the first that says one: flag, file, NODE_NAME, host name.
fn node_name(args: &ConfigArgs, file: &KubeProxyConfiguration, env: &dyn Environment) -> Result<String, ConfigError> {
    let flag = args.source.hostname_override.as_deref().filter(|name| !name.is_empty());
    let written = flag.or(file.hostname_override.as_deref().filter(|name| !name.is_empty())).map(str::to_owned);
    let name = match written.or_else(|| env.var("NODE_NAME")) {
        Some(name) => name,
        None => env.host_name().map_err(|error| ConfigError::NodeName(error.to_string()))?,
    };
    let name = name.trim().to_lowercase();
    if name.is_empty() {
        return Err(ConfigError::NodeName("the name given is blank".to_owned()));
    }
    Ok(name)
}

fn gates(file: &KubeProxyConfiguration, warnings: &mut Vec<String>) {
    let none = BTreeMap::new();
    let gates = file.feature_gates.as_ref().unwrap_or(&none);
    let unknown = gates.keys().filter(|gate| *gate != "AllowServiceExternalIPs");
    warnings.extend(unknown.map(|gate| format!("featureGates.{gate} has no effect in ferroproxy")));
}

fn detector(lowered: &Lowered, warnings: &mut Vec<String>) {
    if lowered.detector == LocalDetector::None {
        warnings.push(
            "clusterCIDR is not set, so local traffic cannot be told: \
             ClusterIP traffic from outside the cluster is not masqueraded (detectLocalMode: ClusterCIDR)"
                .to_owned(),
        );
    }
}

/// Which kind of source the arguments ask for.
enum Kind {
    Manifests,
    Api,
}

fn source_kind(args: &ConfigArgs) -> Kind {
    if args.source.manifests.is_some() { Kind::Manifests } else { Kind::Api }
}

fn source(
    args: &ConfigArgs,
    file: &KubeProxyConfiguration,
    env: &dyn Environment,
) -> Result<SourceConfig, ConfigError> {
    if let Some(dir) = &args.source.manifests {
        return Ok(SourceConfig::Manifests(dir.clone()));
    }
    let client = file.client_connection.clone().unwrap_or_default();
    let kubeconfig = client.kubeconfig.filter(|path| !path.is_empty()).map(PathBuf::from);
    let encoding = client.content_type.as_deref().and_then(Encoding::of).unwrap_or_default();
    let master = args.source.master.clone().filter(|url| !url.is_empty());
    match &kubeconfig {
        Some(path) => {
            fs::metadata(path).map_err(|source| ConfigError::Read {
                what: "the kubeconfig",
                path: path.clone(),
                source,
            })?;
        }
        None if master.is_none() && env.var("KUBERNETES_SERVICE_HOST").is_none() => return Err(ConfigError::NoSource),
        None => {}
    }
    Ok(SourceConfig::Api(ApiConfig { kubeconfig, master, encoding }))
}
