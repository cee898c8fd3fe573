//! The binary against a real API server, when `FERROPROXY_TEST_KUBECONFIG` names one (any address, also this machine's loopback). The test
//! makes a namespace, a Node and Services of its own and removes them. Real packets go to lab pods that the EndpointSlices name.

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::lab::{AT_ONCE, Lab, NODE, PATIENCE, Place, Proxy, Refusal, pod};
use support::netns;
use support::relay::relay;
use support::scene::{BINARY, CLUSTER_CIDR};

struct Cluster {
    kubeconfig: PathBuf,
    id: String,
}

impl Cluster {
    fn new() -> Option<Cluster> {
        let Some(kubeconfig) = std::env::var_os("FERROPROXY_TEST_KUBECONFIG") else {
            eprintln!("\n*** NOT RUN: FERROPROXY_TEST_KUBECONFIG names no API server ***\n");
            return None;
        };
        let cluster = Cluster { kubeconfig: kubeconfig.into(), id: format!("ferroproxy-test-{}", std::process::id()) };
        cluster.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": cluster.id}}));
        cluster.apply(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": cluster.id}}));
        let addresses = NODE.map(|ip| json!({"type": "InternalIP", "address": ip}));
        let patch = json!({"status": {"addresses": addresses}}).to_string();
        cluster.kubectl(&["patch", "node", &cluster.id, "--subresource=status", "--type=merge", "-p", &patch], "");
        Some(cluster)
    }

    fn kubectl(&self, args: &[&str], input: &str) -> String {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args);
        let output = support::daemon::feed(&mut command, input);
        assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn apply(&self, object: Value) {
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &object.to_string());
    }

    fn service(&self, spec: Value) -> Vec<String> {
        let metadata = json!({"name": "web", "namespace": self.id});
        self.apply(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}));
        let ips = self.kubectl(&["get", "service", "web", "-n", &self.id, "-o", "jsonpath={.spec.clusterIPs[*]}"], "");
        ips.split_whitespace().map(str::to_owned).collect()
    }

    fn slices(&self, pods: &[usize]) {
        for (family, kind) in ["IPv4", "IPv6"].into_iter().enumerate() {
            let endpoints: Vec<Value> =
                pods.iter().map(|i| json!({"addresses": [pod(*i)[family]], "nodeName": self.id})).collect();
            let labels = json!({"kubernetes.io/service-name": "web"});
            let name = format!("web-{}", kind.to_lowercase());
            self.apply(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
                "metadata": {"name": name, "namespace": self.id, "labels": labels},
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
            }));
        }
    }

    fn server(&self) -> Option<SocketAddr> {
        let url = self.kubectl(&["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"], "");
        url.split("//").nth(1)?.trim_end_matches('/').parse().ok()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let delete = |args: &[&str]| {
            let mut command = Command::new("kubectl");
            let _ = command.arg("--kubeconfig").arg(&self.kubeconfig).args(args).output();
        };
        delete(&["delete", "service,endpointslice", "--all", "-n", &self.id, "--wait=false"]);
        delete(&["delete", "namespace", &self.id, "--wait=false"]);
        delete(&["delete", "node", &self.id, "--wait=false"]);
    }
}

fn answered(lab: &Lab, from: Place, to: &str, times: usize) -> BTreeSet<String> {
    (0..times).filter_map(|_| lab.tcp(from, to, PATIENCE).ok()).map(|answer| answer.name).collect()
}

fn wait(proxy: &Proxy, what: &str, mut is_so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !is_so() {
        assert!(std::time::Instant::now() < end, "waited in vain for {what}\n{}", proxy.log());
    }
}

#[test]
fn objects_of_a_real_cluster_take_effect_for_pods_node_and_outside_in_both_families() {
    if !netns::is_possible() {
        return;
    }
    let Some(cluster) = Cluster::new() else { return };
    let mut lab = Lab::new(4).expect("the lab stands");
    lab.serve_tcp(8080).expect("servers listen");
    if let Some(server) = cluster.server().filter(|server| server.ip().is_loopback()) {
        relay(lab.space(Place::Node), server).expect("a relay");
    }
    let spec = |kind: &str| {
        json!({
            "type": kind, "ipFamilyPolicy": "RequireDualStack", "externalIPs": ["203.0.113.80", "2001:db8:1::80"],
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        })
    };
    let ips = cluster.service(spec("ClusterIP"));
    cluster.slices(&[0, 1, 2]);
    let kubeconfig = cluster.kubeconfig.to_string_lossy().into_owned();
    let args = ["run", "--kubeconfig", &kubeconfig, "--hostname-override", &cluster.id, "--cluster-cidr", CLUSTER_CIDR];
    let mut proxy = Proxy::spawn(&lab, Path::new(BINARY), &args).expect("it starts");
    proxy.wait_ready(&lab).expect("healthy");

    let mut fronts: Vec<String> = ips.iter().map(|ip| front(ip)).collect();
    fronts.extend([front("203.0.113.80"), front("2001:db8:1::80")]);
    let everyone = [Place::Pod(3), Place::Node, Place::Outside];
    for to in &fronts {
        for from in everyone {
            assert_eq!(answered(&lab, from, to, 40).len(), 3, "{from:?} -> {to}");
        }
    }
    cluster.slices(&[1]);
    for to in &fronts {
        wait(&proxy, "pod1 alone", || answered(&lab, Place::Pod(3), to, 12) == ["pod1".to_owned()].into());
    }
    cluster.slices(&[]);
    for to in &fronts {
        for from in everyone {
            wait(&proxy, "a refusal", || lab.tcp(from, to, AT_ONCE) == Err(Refusal::Refused));
        }
    }
    cluster.slices(&[2]);
    cluster.service(spec("NodePort"));
    let node_port =
        cluster.kubectl(&["get", "service", "web", "-n", &cluster.id, "-o", "jsonpath={.spec.ports[0].nodePort}"], "");
    for ip in NODE {
        let to = SocketAddr::new(ip, node_port.parse().expect("a port")).to_string();
        wait(&proxy, "the node port", || answered(&lab, Place::Outside, &to, 3) == ["pod2".to_owned()].into());
    }
    assert!(proxy.stop().expect("it ends").success());
}

fn front(ip: &str) -> String {
    SocketAddr::new(ip.parse().expect("an address"), 80).to_string()
}
