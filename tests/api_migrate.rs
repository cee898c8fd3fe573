//! Rung 6: `migrate verify` and `cleanup --kube-proxy` against a real kube-proxy beside a real API server. Runs where KUBE_PROXY_BIN names
//! the binary and FERROPROXY_TEST_KUBECONFIG the API server; else it says so.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::cluster::Cluster;
use support::kube_proxy::has_iptables;
use support::lab::Lab;
use support::netns;
use support::real_kube_proxy::{KubeProxy, binary};
use support::scene::{BINARY, CLUSTER_CIDR};

/// A Service and slices for the first `pods` pods: the even ones on this node.
fn service(cluster: &Cluster, name: &str, spec: &Value, pods: usize) {
    cluster.service(name, spec);
    let node = |index: usize| if index.is_multiple_of(2) { cluster.id() } else { "elsewhere" };
    let pods: Vec<(usize, &str)> = (0..pods).map(|index| (index, node(index))).collect();
    cluster.slices(name, "t", &pods);
}

/// Services of every kind that rules tell apart.
fn fill(cluster: &Cluster) {
    let spec = |more: Value| {
        let mut spec = json!({"ipFamilyPolicy": "RequireDualStack", "type": "NodePort", "ports": [{"name": "t", "port": 80, "targetPort": 8080}]});
        spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        spec
    };
    service(cluster, "plain", &spec(json!({"externalIPs": ["203.0.113.80", "2001:db8:1::80"]})), 3);
    service(cluster, "local", &spec(json!({"externalTrafficPolicy": "Local"})), 3);
    service(cluster, "inside", &spec(json!({"type": "ClusterIP", "internalTrafficPolicy": "Local"})), 2);
    service(cluster, "single", &spec(json!({})), 1);
    service(cluster, "idle", &spec(json!({})), 0);
    service(cluster, "sticky", &spec(json!({"sessionAffinity": "ClientIP"})), 3);
    service(cluster, "stuck", &spec(json!({"sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local"})), 2);
    let ranges = json!(["198.51.100.0/24", "10.244.0.0/16", "2001:db8:9::/48"]);
    service(cluster, "guarded", &spec(json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ranges})), 2);
    let ingress = json!([{"ip": "198.18.0.7"}, {"ip": "2001:db8:2::7"}]);
    cluster.status(&["service", "guarded"], &json!({"loadBalancer": {"ingress": ingress}}));
}

/// Asks until both decide alike: kube-proxy takes a moment.
fn verified(lab: &Lab, cluster: &Cluster, modes: (&str, &str)) {
    let kubeconfig = cluster.kubeconfig().to_string_lossy().into_owned();
    let source = ["--kubeconfig", &kubeconfig, "--hostname-override", cluster.id(), "--cluster-cidr", CLUSTER_CIDR];
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
    let Some(binary) = binary() else { return };
    let Some(cluster) = Cluster::new("migrate") else { return };
    fill(&cluster);
    let lab = Lab::new(1).expect("the lab stands");
    cluster.reach_from(&lab);
    verify_and_clean(&binary, &lab, &cluster, "nftables");
    if has_iptables() {
        verify_and_clean(&binary, &lab, &cluster, "iptables");
    }
}
