//! The Kubernetes objects under `manifests/`: read, rendered, and checked against their types.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A path below `manifests/`.
pub fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(below)
}

/// The objects of a YAML text.
pub fn objects(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").filter(|part| part.lines().any(|l| !l.is_empty() && !l.starts_with('#')));
    documents.map(|part| serde_saphyr::from_str(part).unwrap_or_else(|e| panic!("{e}\n{part}"))).collect()
}

/// The objects of a file below `manifests/`.
pub fn file(below: &str) -> Vec<Value> {
    objects(&fs::read_to_string(path(below)).unwrap_or_else(|e| panic!("{below}: {e}")))
}

/// What `kubectl kustomize` makes of an overlay with a component of ours.
pub fn with_component(overlay: &str, component: &str) -> Option<Vec<Value>> {
    let dir = tempfile::TempDir::new().expect("a directory");
    // Bases are named from where the file is.
    let up = "../".repeat(dir.path().components().count() - 1);
    let from_here = |directory: &str| format!("{up}{}", path(directory).to_string_lossy().trim_start_matches('/'));
    let text = format!("resources: [{}]\ncomponents: [{}]\n", from_here(overlay), from_here(component));
    std::fs::write(dir.path().join("kustomization.yaml"), text).expect("written");
    kustomize(&dir.path().to_string_lossy())
}

/// What `kubectl kustomize` makes of a directory below `manifests/`; nothing, and a loud word, without kubectl.
pub fn kustomize(below: &str) -> Option<Vec<Value>> {
    let directory = path(below);
    let text = program("kubectl", &["kustomize", &directory.to_string_lossy()])?;
    Some(objects(&text))
}

/// What a program prints; nothing, and a loud word, where it is not installed. It must succeed.
pub fn program(name: &str, args: &[&str]) -> Option<String> {
    let output = match Command::new(name).args(args).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("\n*** NOT RUN: this check needs `{name}`, which does not start: {error} ***\n");
            return None;
        }
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {error}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Checks an object against its type; a field the type has not got is a mistake.
pub fn check(object: &Value) {
    match (word(object, "/apiVersion"), word(object, "/kind")) {
        ("apps/v1", "DaemonSet") => drop(typed::<DaemonSet>(object)),
        ("v1", "ConfigMap") => drop(typed::<ConfigMap>(object)),
        ("v1", "ServiceAccount") => drop(typed::<ServiceAccount>(object)),
        ("v1", "Pod") => drop(typed::<Pod>(object)),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => drop(typed::<ClusterRole>(object)),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => drop(typed::<ClusterRoleBinding>(object)),
        ("monitoring.coreos.com/v1", "PodMonitor") => drop(typed::<PodMonitor>(object)),
        (version, kind) => panic!("no type is known for {version} {kind}"),
    }
}

/// The object as its type; panics with the paths of unknown fields.
pub fn typed<T: DeserializeOwned>(object: &Value) -> T {
    let mut unknown = Vec::new();
    let result = serde_ignored::deserialize(object, |path| unknown.push(path.to_string()));
    let name = word(object, "/metadata/name");
    assert_eq!(unknown, Vec::<String>::new(), "unknown fields in {name}");
    result.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The one object of a kind.
pub fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    match (found.next(), found.next()) {
        (Some(object), None) => object,
        _ => panic!("not exactly one {kind}"),
    }
}

/// The text at a pointer; empty if there is none.
pub fn word<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The texts of a list.
pub fn words(list: &Value) -> Vec<&str> {
    list.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// The parts of the Prometheus operator's PodMonitor that we use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodMonitor {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "metadata")]
    _metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    #[serde(rename = "spec")]
    _spec: PodMonitorSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodMonitorSpec {
    #[serde(rename = "selector")]
    _selector: k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
    #[serde(rename = "podMetricsEndpoints")]
    _endpoints: Vec<PodMetricsEndpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodMetricsEndpoint {
    #[serde(rename = "port")]
    _port: String,
    #[serde(rename = "path")]
    _path: String,
    #[serde(rename = "interval")]
    _interval: String,
    #[serde(rename = "relabelings")]
    _relabelings: Vec<Relabeling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Relabeling {
    #[serde(rename = "sourceLabels")]
    _source_labels: Vec<String>,
    #[serde(rename = "targetLabel")]
    _target_label: String,
}
