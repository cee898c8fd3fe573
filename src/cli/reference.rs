//! `docs/configuration.md`, written from the configuration's own structure and the flags' own help, and held against the file.
//!
//! `UPDATE_GOLDEN=1 cargo test --lib reference` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::{Arg, CommandFactory};
use serde_json::Value;

use super::args::{Cli, NO_EFFECT, flag_of_field};
use super::config::{self, KubeProxyConfiguration, Logging, fill, is_without_effect};

const FILE: &str = "docs/configuration.md";

const HEAD: &str = "\
<!-- Written by `UPDATE_GOLDEN=1 cargo test --lib reference`; a test holds it against the program. -->

# Configuration reference

`ferroproxy run --config FILE` reads the file kube-proxy reads: a `KubeProxyConfiguration` of `kubeproxy.config.k8s.io/v1alpha1`. Without a file the flags
say the same. `/configz` shows what is in force.

## The file

Durations are Go's: `30s`, `1h30m`, `500ms`. A key that is absent or `null` has the default; so has an empty text, and 0 where 0 would make no sense.
Unknown keys are named in a warning; with `--strict` they are an error. Every mistake is named with its key, all at once.
Of the sections `nftables` and `iptables` that of the mode counts.

| key | default | flag | what it says |
|---|---|---|---|
";

/// Keys without a flag of their own.
const MEANINGS: &[(&str, &str)] = &[
    ("apiVersion", "The version of the file; no other is read"),
    ("kind", "The kind of the file; no other is read"),
    ("hostnameOverride", "This node's name. Without it: the environment's NODE_NAME, the host name"),
    ("clientConnection.kubeconfig", "The kubeconfig for the Kubernetes API; without it, the environment of a pod"),
    (
        "clientConnection.contentType",
        "How objects come from the API server: application/vnd.kubernetes.protobuf, or application/json",
    ),
    ("bindAddressHardFail", "Exit if an address cannot be bound, instead of trying again"),
    ("logging.format", "The form of log lines: text or json"),
    ("logging.verbosity", "How much to log: 0-1 info, 2-4 debug, 5 and more trace"),
    ("conntrack.tcpBeLiberal", "Do not mark TCP packets outside the window as invalid"),
];

/// Flags whose names do not follow from [`flag_of_field`], which serves error messages.
const FLAGS: &[(&str, &str)] = &[
    ("hostnameOverride", "--hostname-override"),
    ("clientConnection.kubeconfig", "--kubeconfig"),
    ("healthzBindAddress", "--healthz-bind-address"),
    ("metricsBindAddress", "--metrics-bind-address"),
    ("bindAddressHardFail", "--bind-address-hard-fail"),
    ("nftables.masqueradeAll", "--masquerade-all"),
    ("iptables.masqueradeAll", "--masquerade-all"),
    ("iptables.localhostNodePorts", "--iptables-localhost-nodeports"),
    ("conntrack.tcpBeLiberal", "--conntrack-tcp-be-liberal"),
    ("logging.format", "--logging-format"),
    ("logging.verbosity", "-v"),
];

/// Every key with its default, in the order of their paths.
fn keys() -> BTreeMap<String, Value> {
    let mut config = KubeProxyConfiguration {
        feature_gates: Some(BTreeMap::new()),
        windows_run_as_service: Some(false),
        logging: Some(Logging { vmodule: Some(Vec::new()), options: Some(Value::Null), ..Logging::default() }),
        mode: Some("nftables".to_owned()),
        ..KubeProxyConfiguration::default()
    };
    fill(&mut config);
    config::keys(&config)
}

fn named<'a>(table: &[(&str, &'a str)], key: &str) -> Option<&'a str> {
    table.iter().find(|(name, _)| *name == key).map(|(_, says)| *says)
}

fn row(key: &str, default: &Value, flags: &BTreeMap<String, String>) -> String {
    let flag = named(FLAGS, key).or_else(|| flag_of_field(key)).unwrap_or_default();
    let says = match (named(MEANINGS, key), flags.get(flag)) {
        (Some(says), _) => says.to_owned(),
        (None, Some(help)) => help.split(" [default").next().unwrap_or_default().to_owned(),
        (None, None) if is_without_effect(key) => "no effect".to_owned(),
        (None, None) => panic!("{key}: say in MEANINGS what it means"),
    };
    let default = match default {
        Value::Null => String::new(),
        Value::String(text) if text.is_empty() => String::new(),
        Value::Array(list) if list.is_empty() => String::new(),
        Value::Object(_) => String::new(),
        other => format!("`{}`", other.to_string().trim_matches('"')),
    };
    let flag = if flag.is_empty() { String::new() } else { format!("`{flag}`") };
    format!("| `{key}` | {default} | {flag} | {} |\n", escaped(&says))
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// How a flag is written: its long name, else its short one.
fn spelled(arg: &Arg) -> String {
    match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) if long.len() == 1 => format!("-{short}"),
        (_, Some(long)) => format!("--{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, None) => String::new(),
    }
}

/// The flags of a subcommand that help shows, with their help.
fn flags(of: &str) -> Vec<(String, String, String)> {
    let command = Cli::command();
    let sub = command.get_subcommands().find(|sub| sub.get_name() == of).expect("the subcommand exists");
    let shown = sub.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "help");
    let told = |arg: &Arg| {
        let values: Vec<_> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
        let takes = if arg.get_action().takes_values() { values.join(" ") } else { String::new() };
        (spelled(arg), takes, arg.get_help().map(ToString::to_string).unwrap_or_default())
    };
    shown.map(told).collect()
}

fn reference() -> String {
    let mut text = HEAD.to_owned();
    let run = flags("run");
    let help: BTreeMap<String, String> = run.iter().map(|(flag, _, help)| (flag.clone(), help.clone())).collect();
    keys().iter().for_each(|(key, default)| text += &row(key, default, &help));
    text += "\n## Commands\n\n| command | what it does |\n|---|---|\n";
    for sub in Cli::command().get_subcommands() {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "| `ferroproxy {}` | {} |", sub.get_name(), escaped(&about));
    }
    text += "\n## Flags of `run`\n\nFlags without a subcommand are `run`'s. The other commands that read a configuration share those about it.\n\n";
    text += "| flag | takes | what it says |\n|---|---|---|\n";
    for (flag, takes, help) in &run {
        let takes = if takes.is_empty() { String::new() } else { format!("`{}`", escaped(takes)) };
        let _ = writeln!(text, "| `{flag}` | {takes} | {} |", escaped(help));
    }
    text += "\nkube-proxy's other flags are accepted, named in a warning, and change nothing: ";
    text += &NO_EFFECT.iter().map(|flag| format!("`--{flag}`")).collect::<Vec<_>>().join(", ");
    text + ".\n"
}

#[test]
fn the_configuration_reference_is_what_the_program_reads() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let now = reference();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &now).expect("written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = now.lines().zip(written.lines()).find(|(now, written)| now != written);
    assert!(now == written, "{FILE} is not what the program reads (UPDATE_GOLDEN=1 rewrites it): {differs:?}");
}
