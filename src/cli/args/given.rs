//! Which flags were given, which of them count beside a configuration file, and kube-proxy's flags that mean nothing here.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command};

use super::SettingArgs;

/// kube-proxy's flags that are accepted, so that its command lines work, and change nothing.
pub(crate) const NO_EFFECT: &[&str] = &[
    "boot-id-file",
    "config-sync-period",
    "ipvs-exclude-cidrs",
    "ipvs-min-sync-period",
    "ipvs-scheduler",
    "ipvs-strict-arp",
    "ipvs-sync-period",
    "ipvs-tcp-timeout",
    "ipvs-tcpfin-timeout",
    "ipvs-udp-timeout",
    "kube-api-burst",
    "kube-api-content-type",
    "kube-api-qps",
    "log-flush-frequency",
    "log-json-info-buffer-size",
    "log-json-split-stream",
    "log-text-info-buffer-size",
    "log-text-split-stream",
    "machine-id-file",
    "profiling",
    "show-hidden-metrics-for-version",
    "vmodule",
];

/// Fields of the configuration and the flags that set them, for error messages.
const FLAG_OF_FIELD: &[(&str, &str)] = &[
    ("nftables.masqueradeBit", "--masquerade-bit"),
    ("iptables.masqueradeBit", "--masquerade-bit"),
    ("iptables.syncPeriod", "--sync-period"),
    ("iptables.minSyncPeriod", "--min-sync-period"),
    ("nftables.syncPeriod", "--sync-period"),
    ("nftables.minSyncPeriod", "--min-sync-period"),
    ("clusterCIDR", "--cluster-cidr"),
    ("detectLocalMode", "--detect-local-mode"),
    ("detectLocal.bridgeInterface", "--pod-bridge-interface"),
    ("detectLocal.interfaceNamePrefix", "--pod-interface-name-prefix"),
    ("nodePortAddresses", "--nodeport-addresses"),
    ("bindAddress", "--bind-address"),
    ("healthzBindAddress", "--healthz-bind-address"),
    ("metricsBindAddress", "--metrics-bind-address"),
    ("oomScoreAdj", "--oom-score-adj"),
    ("featureGates", "--feature-gates"),
    ("mode", "--proxy-mode"),
    ("conntrack.maxPerCore", "--conntrack-max-per-core"),
    ("conntrack.min", "--conntrack-min"),
    ("conntrack.tcpEstablishedTimeout", "--conntrack-tcp-timeout-established"),
    ("conntrack.tcpCloseWaitTimeout", "--conntrack-tcp-timeout-close-wait"),
    ("conntrack.udpTimeout", "--conntrack-udp-timeout"),
    ("conntrack.udpStreamTimeout", "--conntrack-udp-timeout-stream"),
];

/// The flag that sets a field (an index like `[2]` apart), if there is one.
pub(crate) fn flag_of_field(field: &str) -> Option<&'static str> {
    let root = field.split('[').next().unwrap_or(field);
    FLAG_OF_FIELD.iter().find(|(name, _)| *name == root).map(|(_, flag)| *flag)
}

/// Whether a flag does not count beside `--config`: the file covers it. `--proxy-mode` overrides some modes of a file.
pub(crate) fn is_said_by_a_file(flag: &str) -> bool {
    let settings = SettingArgs::augment_args(Command::new("settings"));
    let mut covered = settings.get_arguments().filter_map(Arg::get_long).filter(|flag| *flag != "proxy-mode");
    flag == "kubeconfig" || covered.any(|covered| covered == flag)
}

/// Whether a flag is one of kube-proxy's that change nothing.
pub(crate) fn has_no_effect(flag: &str) -> bool {
    NO_EFFECT.contains(&flag)
}

/// Puts `run` where kube-proxy has no subcommand: before a first argument that is a flag, help and version apart. kube-proxy's `--version` may
/// have a value.
pub(super) fn with_run(mut argv: Vec<OsString>) -> Vec<OsString> {
    let first = argv.get(1).map(|first| first.to_string_lossy().into_owned());
    if first.as_deref().is_some_and(|first| ["--version=true", "--version=raw"].contains(&first)) {
        argv[1] = "--version".into();
    } else if let Some(first) = first
        && first.starts_with('-')
        && !["-h", "--help", "-V", "--version"].contains(&first.as_str())
    {
        argv.insert(1, "run".into());
    }
    argv
}

/// Lets the subcommands that take a configuration accept [`NO_EFFECT`], hidden from help.
pub(super) fn accept_kube_proxy_flags(command: Command) -> Command {
    let command = each(command, &["run", "render", "diff", "explain"]);
    command.mut_subcommand("migrate", |migrate| each(migrate, &["check", "verify"]))
}

fn each(command: Command, names: &[&str]) -> Command {
    names.iter().fold(command, |command, name| {
        command.mut_subcommand(*name, |sub| {
            NO_EFFECT.iter().fold(sub, |sub, flag| sub.arg(Arg::new(*flag).long(*flag).hide(true).num_args(0..=1)))
        })
    })
}

/// The matches of the subcommand, or of its own subcommand.
pub(super) fn innermost(matches: &ArgMatches) -> Option<&ArgMatches> {
    let (_, matches) = matches.subcommand()?;
    Some(innermost(matches).unwrap_or(matches))
}

/// Long names of the flags given on the command line, sorted.
pub(super) fn names(matches: &ArgMatches) -> Vec<String> {
    let mut names: Vec<String> = matches
        .ids()
        .map(|id| id.as_str())
        .filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine))
        // Ids of groups are Rust type names, in upper case.
        .filter(|id| !id.starts_with(char::is_uppercase))
        .map(|id| id.replace('_', "-"))
        .collect();
    names.sort();
    names
}
