//! What is read, so that kube-proxy's files are understood, and changes nothing here.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{KubeProxyConfiguration, fill};

/// Sections (with a dot at the end) and keys without effect.
const WITHOUT_EFFECT: &[&str] = &[
    "clientConnection.",
    "logging.",
    "enableProfiling",
    "showHiddenMetricsForVersion",
    "ipvs.",
    "winkernel.",
    "configSyncPeriod",
    "portRange",
    "windowsRunAsService",
];
/// Keys of those sections that have one.
const WITH_EFFECT: &[&str] =
    &["clientConnection.kubeconfig", "clientConnection.contentType", "logging.format", "logging.verbosity"];

/// Whether a key (`ipvs.scheduler`) changes nothing.
pub(crate) fn is_without_effect(key: &str) -> bool {
    let is_meant = |entry: &&str| key == *entry || (entry.ends_with('.') && key.starts_with(*entry));
    WITHOUT_EFFECT.iter().any(is_meant) && !WITH_EFFECT.contains(&key)
}

/// Every key with its value, in the order of their paths.
pub(crate) fn keys(config: &KubeProxyConfiguration) -> BTreeMap<String, Value> {
    let mut keys = BTreeMap::new();
    if let Ok(value) = serde_json::to_value(config) {
        flatten("", &value, &mut keys);
    }
    keys
}

fn flatten(path: &str, value: &Value, keys: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            map.iter().for_each(|(key, value)| flatten(&below(key), value, keys));
        }
        other => {
            keys.insert(path.to_owned(), other.clone());
        }
    }
}

/// A sentence for each key that somebody has set to something and that changes nothing.
pub(crate) fn unused(file: &KubeProxyConfiguration) -> Vec<String> {
    let mut defaults = KubeProxyConfiguration::default();
    fill(&mut defaults);
    let defaults = keys(&defaults);
    let is_set = |key: &String, value: &Value| says_something(value) && defaults.get(key) != Some(value);
    let set = keys(file).into_iter().filter(|(key, value)| is_without_effect(key) && is_set(key, value));
    set.map(|(key, _)| format!("{key} has no effect in ferroproxy")).collect()
}

/// kubeadm writes every key, most of them empty.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !["", "0", "0s"].contains(&text.as_str()),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(true) => true,
    }
}
