//! A real API server by `kubectl`: one namespace and one Node of the test's own, removed at the end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::daemon::feed;
use super::lab::{Lab, NODE, Place, pod};
use super::relay::relay;

/// Names the kubeconfig of the API server to test against.
const VARIABLE: &str = "FERROPROXY_TEST_KUBECONFIG";

/// A namespace and a Node of the same name.
pub struct Cluster {
    kubeconfig: PathBuf,
    id: String,
}

impl Cluster {
    /// In the cluster that the environment names; nothing, and a loud word, where it names none. `test` tells its objects from others'.
    pub fn new(test: &str) -> Option<Cluster> {
        let Some(kubeconfig) = std::env::var_os(VARIABLE) else {
            eprintln!("\n*** NOT RUN: {VARIABLE} names no API server ***\n");
            return None;
        };
        let cluster =
            Cluster { kubeconfig: kubeconfig.into(), id: format!("ferroproxy-{test}-{}", std::process::id()) };
        cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": cluster.id}}));
        cluster.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": cluster.id}}));
        let addresses = NODE.map(|ip| json!({"type": "InternalIP", "address": ip}));
        cluster.status(&["node", &cluster.id], &json!({"addresses": addresses}));
        Some(cluster)
    }

    /// The namespace's and the Node's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The file that names the API server.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs kubectl, which must succeed; what it prints.
    pub fn kubectl(&self, args: &[&str], input: &str) -> String {
        let output = feed(&mut self.command(args), input);
        assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A field of an object in the namespace, as a JSONPath.
    pub fn field(&self, object: &[&str], path: &str) -> String {
        let path = format!("jsonpath={{{path}}}");
        self.kubectl(&[&["get", "-n", &self.id, "-o", &path], object].concat(), "")
    }

    /// Replaces an object's status.
    pub fn status(&self, object: &[&str], status: &Value) {
        let patch = json!({ "status": status }).to_string();
        let args = ["patch", "-n", &self.id, "--subresource=status", "--type=merge", "-p", &patch];
        self.kubectl(&[&args, object].concat(), "");
    }

    /// Makes a Service, or makes it so.
    pub fn service(&self, name: &str, spec: &Value) {
        let metadata = json!({"name": name, "namespace": self.id});
        self.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}));
    }

    /// A Service's slices, one a family: lab pods, each with the node it is said to be on.
    pub fn slices(&self, service: &str, port: &str, pods: &[(usize, &str)]) {
        for (family, kind) in ["IPv4", "IPv6"].into_iter().enumerate() {
            let endpoint =
                |(index, node): &(usize, &str)| json!({"addresses": [pod(*index)[family]], "nodeName": node});
            self.apply(&json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
                "metadata": {"name": format!("{service}-{}", kind.to_lowercase()), "namespace": self.id,
                             "labels": {"kubernetes.io/service-name": service}},
                "ports": [{"name": port, "port": 8080, "protocol": "TCP"}],
                "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
            }));
        }
    }

    /// Makes an API server on this machine's loopback reachable from the lab's node.
    pub fn reach_from(&self, lab: &Lab) {
        let url = self.kubectl(&["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"], "");
        let server: Option<SocketAddr> =
            url.split("//").nth(1).and_then(|host| host.trim_end_matches('/').parse().ok());
        if let Some(server) = server.filter(|server| server.ip().is_loopback()) {
            relay(lab.space(Place::Node), server).expect("a relay");
        }
    }

    fn apply(&self, object: &Value) {
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &object.to_string());
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let delete = |args: &[&str]| {
            let _ = self.command(&[&["delete", "--wait=false"], args].concat()).output();
        };
        delete(&["service,endpointslice", "--all", "-n", &self.id]);
        delete(&["namespace", &self.id]);
        delete(&["node", &self.id]);
    }
}
