//! The arguments that make a configuration, whatever it is for.

use std::path::PathBuf;

use clap::Args;

use super::SettingArgs;

/// What `run`, `render`, `diff` and `explain` share: everything that makes a [`crate::model::Config`].
#[derive(Debug, Default, Args)]
pub struct ConfigArgs {
    /// Where objects come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Settings that a configuration file covers.
    #[command(flatten)]
    pub settings: Box<SettingArgs>,
    /// Count the new connections to each service port, for at most MAX of them (1000 unless said); the rest is counted together. nftables mode only
    #[arg(long, help_heading = "Rules", value_name = "MAX", num_args = 0..=1, require_equals = true, default_missing_value = "1000")]
    pub count_connections: Option<usize>,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
    /// Long names of all flags given on the command line, kube-proxy's flags without effect included.
    #[arg(skip)]
    pub given: Vec<String>,
}

/// Where objects come from.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Source")]
pub struct SourceArgs {
    /// Read Services, EndpointSlices, Nodes and ServiceCIDRs from the YAML and JSON files of this directory, and watch it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "master"])]
    pub manifests: Option<PathBuf>,
    /// A KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1). With it --kubeconfig and the settings below do not count, but
    /// for --proxy-mode, which overrides a mode that is not nftables
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The kubeconfig for the Kubernetes API; without it, the environment of a pod. With --config: clientConnection.kubeconfig
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The API server's URL; overrides the kubeconfig's
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,
    /// This node's name. Without it: the file's hostnameOverride, the environment's NODE_NAME, the host name
    #[arg(long, value_name = "NAME")]
    pub hostname_override: Option<String>,
    /// Unknown keys in the configuration file are an error instead of a warning
    #[arg(long)]
    pub strict: bool,
}

/// Logging.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// How much to log: 0-1 info, 2-4 debug, 5 and more trace
    #[arg(short = 'v', long = "v", value_name = "LEVEL")]
    pub v: Option<u8>,
    /// The form of log lines: text or json
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"])]
    pub logging_format: Option<String>,
}
