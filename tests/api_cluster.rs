//! The binary against a real API server, when `FERROPROXY_TEST_KUBECONFIG` names one (any address, also this machine's loopback). The test
//! makes a namespace, a Node and Services of its own and removes them. Real packets go to lab pods that the EndpointSlices name.

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use support::cluster::Cluster;
use support::lab::{AT_ONCE, Lab, NODE, PATIENCE, Place, Proxy, Refusal};
use support::netns;
use support::scene::{BINARY, CLUSTER_CIDR};

/// The Service of this test, each of its pods on this node.
const WEB: &str = "web";

fn slices(cluster: &Cluster, pods: &[usize]) {
    let pods: Vec<(usize, &str)> = pods.iter().map(|index| (*index, cluster.id())).collect();
    cluster.slices(WEB, "http", &pods);
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
    let Some(cluster) = Cluster::new("test") else { return };
    let mut lab = Lab::new(4).expect("the lab stands");
    lab.serve_tcp(8080).expect("servers listen");
    cluster.reach_from(&lab);
    let spec = |kind: &str| {
        json!({
            "type": kind, "ipFamilyPolicy": "RequireDualStack", "externalIPs": ["203.0.113.80", "2001:db8:1::80"],
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        })
    };
    cluster.service(WEB, &spec("ClusterIP"));
    let ips = cluster.field(&["service", WEB], ".spec.clusterIPs[*]");
    slices(&cluster, &[0, 1, 2]);
    let kubeconfig = cluster.kubeconfig().to_string_lossy().into_owned();
    let args =
        ["run", "--kubeconfig", &kubeconfig, "--hostname-override", cluster.id(), "--cluster-cidr", CLUSTER_CIDR];
    let mut proxy = Proxy::spawn(&lab, Path::new(BINARY), &args).expect("it starts");
    proxy.wait_ready(&lab).expect("healthy");

    let mut fronts: Vec<String> = ips.split_whitespace().map(front).collect();
    fronts.extend([front("203.0.113.80"), front("2001:db8:1::80")]);
    let everyone = [Place::Pod(3), Place::Node, Place::Outside];
    for to in &fronts {
        for from in everyone {
            assert_eq!(answered(&lab, from, to, 40).len(), 3, "{from:?} -> {to}");
        }
    }
    slices(&cluster, &[1]);
    for to in &fronts {
        wait(&proxy, "pod1 alone", || answered(&lab, Place::Pod(3), to, 12) == ["pod1".to_owned()].into());
    }
    slices(&cluster, &[]);
    for to in &fronts {
        for from in everyone {
            wait(&proxy, "a refusal", || lab.tcp(from, to, AT_ONCE) == Err(Refusal::Refused));
        }
    }
    slices(&cluster, &[2]);
    cluster.service(WEB, &spec("NodePort"));
    let node_port = cluster.field(&["service", WEB], ".spec.ports[0].nodePort");
    for ip in NODE {
        let to = SocketAddr::new(ip, node_port.parse().expect("a port")).to_string();
        wait(&proxy, "the node port", || answered(&lab, Place::Outside, &to, 3) == ["pod2".to_owned()].into());
    }
    assert!(proxy.stop().expect("it ends").success());
}

fn front(ip: &str) -> String {
    SocketAddr::new(ip.parse().expect("an address"), 80).to_string()
}
