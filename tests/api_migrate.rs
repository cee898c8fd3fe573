//! Rung 6: `migrate verify` and `cleanup --kube-proxy` against a real kube-proxy beside a real API server. Runs where KUBE_PROXY_BIN names
//! the binary and FERROPROXY_TEST_KUBECONFIG the API server; else it says so.

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::kube_proxy::has_iptables;
use support::lab::{Lab, NODE, Place, pod};
use support::netns;
use support::relay::relay;
use support::scene::{BINARY, CLUSTER_CIDR};

/// Objects of one namespace and one Node, removed at the end.
struct Cluster {
    kubeconfig: PathBuf,
    id: String,
}

impl Cluster {
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

    /// A Service and slices for the first `pods` pods: the even ones on this node.
    fn service(&self, name: &str, spec: Value, pods: usize) {
        let metadata = json!({"name": name, "namespace": self.id});
        self.apply(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}));
        for (family, kind) in ["IPv4", "IPv6"].into_iter().enumerate() {
            let node = |index: usize| if index.is_multiple_of(2) { self.id.clone() } else { "elsewhere".to_owned() };
            let endpoints: Vec<Value> =
                (0..pods).map(|i| json!({"addresses": [pod(i)[family]], "nodeName": node(i)})).collect();
            self.apply(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
                "metadata": {"name": format!("{name}-{}", kind.to_lowercase()), "namespace": self.id,
                             "labels": {"kubernetes.io/service-name": name}},
                "ports": [{"name": "t", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
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
            let _ = Command::new("kubectl").arg("--kubeconfig").arg(&self.kubeconfig).args(args).output();
        };
        delete(&["delete", "service,endpointslice", "--all", "-n", &self.id, "--wait=false"]);
        delete(&["delete", "namespace", &self.id, "--wait=false"]);
        delete(&["delete", "node", &self.id, "--wait=false"]);
    }
}

/// Services of every kind that rules tell apart.
fn cluster(kubeconfig: PathBuf) -> Cluster {
    let cluster = Cluster { kubeconfig, id: format!("ferroproxy-migrate-{}", std::process::id()) };
    cluster.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": cluster.id}}));
    cluster.apply(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": cluster.id}}));
    let addresses = NODE.map(|ip| json!({"type": "InternalIP", "address": ip}));
    let patch = json!({"status": {"addresses": addresses}}).to_string();
    cluster.kubectl(&["patch", "node", &cluster.id, "--subresource=status", "--type=merge", "-p", &patch], "");
    let spec = |more: Value| {
        let mut spec = json!({"ipFamilyPolicy": "RequireDualStack", "type": "NodePort", "ports": [{"name": "t", "port": 80, "targetPort": 8080}]});
        spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        spec
    };
    cluster.service("plain", spec(json!({"externalIPs": ["203.0.113.80", "2001:db8:1::80"]})), 3);
    cluster.service("local", spec(json!({"externalTrafficPolicy": "Local"})), 3);
    cluster.service("inside", spec(json!({"type": "ClusterIP", "internalTrafficPolicy": "Local"})), 2);
    cluster.service("single", spec(json!({})), 1);
    cluster.service("idle", spec(json!({})), 0);
    cluster.service("sticky", spec(json!({"sessionAffinity": "ClientIP"})), 3);
    cluster.service("stuck", spec(json!({"sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local"})), 2);
    let ranges = json!(["198.51.100.0/24", "10.244.0.0/16", "2001:db8:9::/48"]);
    cluster.service("guarded", spec(json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ranges})), 2);
    let status =
        json!({"status": {"loadBalancer": {"ingress": [{"ip": "198.18.0.7"}, {"ip": "2001:db8:2::7"}]}}}).to_string();
    cluster.kubectl(
        &["patch", "service", "guarded", "-n", &cluster.id, "--subresource=status", "--type=merge", "-p", &status],
        "",
    );
    cluster
}

/// A kube-proxy on the lab's node; killed when dropped.
struct KubeProxy(Child);

impl KubeProxy {
    fn start(binary: &Path, lab: &Lab, cluster: &Cluster, mode: &str) -> KubeProxy {
        let mut command = Command::new(binary);
        command.arg(format!("--kubeconfig={}", cluster.kubeconfig.display()));
        command.args([&format!("--proxy-mode={mode}"), &format!("--hostname-override={}", cluster.id)]);
        command.args([
            &format!("--cluster-cidr={CLUSTER_CIDR}"),
            "--nodeport-addresses=primary",
            "--iptables-localhost-nodeports=false",
        ]);
        command.args(["--conntrack-max-per-core=0", "--conntrack-min=0"]);
        command.args(["--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        KubeProxy(lab.space(Place::Node).run(|| command.spawn()).expect("entered").expect("kube-proxy starts"))
    }

    fn stop(mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended");
    }
}

impl Drop for KubeProxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until both decide alike: kube-proxy takes a moment.
fn verified(lab: &Lab, cluster: &Cluster, modes: (&str, &str)) {
    let kubeconfig = cluster.kubeconfig.to_string_lossy().into_owned();
    let source = ["--kubeconfig", &kubeconfig, "--hostname-override", &cluster.id, "--cluster-cidr", CLUSTER_CIDR];
    let ours = ["migrate", "verify", "--proxy-mode", modes.1, "--nodeport-addresses", "primary"];
    let args = [&ours[..], &source].concat();
    let end = Instant::now() + Duration::from_secs(60);
    let text = loop {
        let output = lab.run(BINARY, &args).expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() == Some(0) {
            break text;
        }
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(Instant::now() < end, "{modes:?}: never the same:\n{text}\n{error}");
        std::thread::sleep(Duration::from_millis(200));
    };
    // Of what the modes do not have in common each family has two examples.
    let same = if modes.0 == modes.1 { "the same: " } else { "the same, apart from what the modes differ in (4): " };
    assert!(text.lines().last().is_some_and(|line| line.starts_with(same)), "{modes:?}: {text}");
}

fn verify_and_clean(binary: &Path, lab: &Lab, cluster: &Cluster, mode: &str) {
    let proxy = KubeProxy::start(binary, lab, cluster, mode);
    for ours in ["nftables", "iptables"] {
        verified(lab, cluster, (mode, ours));
    }
    let clean = |args: &[&str]| lab.run(BINARY, args).expect("it runs").status.code();
    assert_eq!(clean(&["cleanup", "--kube-proxy"]), Some(2), "{mode}: not while it runs");
    proxy.stop();
    assert_eq!(clean(&["cleanup", "--kube-proxy"]), Some(0), "{mode}");
    let left = lab.run(BINARY, &["cleanup", "--kube-proxy", "--dry-run"]).expect("it runs");
    assert_eq!(String::from_utf8_lossy(&left.stdout), "nothing of kube-proxy's to clean up\n", "{mode}");
}

#[test]
fn a_real_kube_proxy_is_verified_and_cleaned_up_after() {
    if !netns::is_possible() {
        return;
    }
    let (binary, kubeconfig) = (std::env::var_os("KUBE_PROXY_BIN"), std::env::var_os("FERROPROXY_TEST_KUBECONFIG"));
    let (Some(binary), Some(kubeconfig)) = (binary, kubeconfig) else {
        eprintln!("\n*** NOT RUN: needs KUBE_PROXY_BIN and FERROPROXY_TEST_KUBECONFIG ***\n");
        return;
    };
    let cluster = cluster(kubeconfig.into());
    let lab = Lab::new(1).expect("the lab stands");
    if let Some(server) = cluster.server().filter(|server| server.ip().is_loopback()) {
        relay(lab.space(Place::Node), server).expect("a relay");
    }
    let binary = PathBuf::from(binary);
    verify_and_clean(&binary, &lab, &cluster, "nftables");
    if has_iptables() {
        verify_and_clean(&binary, &lab, &cluster, "iptables");
    }
}
