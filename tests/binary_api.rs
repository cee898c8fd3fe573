//! Rung 6: the binary against an API server over HTTP that misbehaves on demand.

mod support;

use serde_json::{Value, json};
use support::daemon::{Daemon, ferroproxy, namespace};
use support::fake_api::{Disturbance, FakeApi, Fault, Resource, Verb};
use support::netns::{self, Netns};
use tempfile::TempDir;

const ALWAYS: usize = 1_000_000;

fn service(name: &str, ip: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    })
}

fn slice(service: &str, ips: &[&str]) -> Value {
    let endpoints: Vec<Value> = ips.iter().map(|ip| json!({"addresses": [ip]})).collect();
    json!({
        "metadata": {"namespace": "shop", "name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 8080}],
    })
}

/// A namespace with an API server on its loopback.
struct Cluster {
    fake: FakeApi,
    dir: TempDir,
    netns: Netns,
}

impl Cluster {
    fn new() -> Option<Cluster> {
        if !netns::is_possible() {
            return None;
        }
        let netns = namespace("api");
        let fake = netns.enter(FakeApi::start);
        fake.put_node(json!({
            "metadata": {"name": "node-a"},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]},
        }));
        fake.put_service(service("web", "10.96.0.1"));
        fake.put_slice(slice("web", &["10.1.0.1", "10.1.0.2"]));
        Some(Cluster { fake, dir: TempDir::new().unwrap(), netns })
    }

    fn kubeconfig(&self) -> String {
        self.fake.write_kubeconfig(self.dir.path()).to_string_lossy().into_owned()
    }

    fn run(&self) -> Daemon<'_> {
        Daemon::start(&self.netns, &["run", "--kubeconfig", &self.kubeconfig(), "--hostname-override", "node-a"])
    }

    fn diff(&self) -> Option<i32> {
        ferroproxy(&self.netns, &["diff", "--kubeconfig", &self.kubeconfig(), "--hostname-override", "node-a"]).code
    }

    /// Waits until the rules are those of the cluster now.
    fn settle(&self, daemon: &Daemon<'_>) {
        daemon.wait_for("the rules of the cluster", || self.diff() == Some(0));
    }

    fn rules(&self) -> String {
        self.netns.nft_list()
    }
}

#[test]
fn objects_of_the_api_take_effect_and_leave_with_it() {
    let Some(cluster) = Cluster::new() else { return };
    let daemon = cluster.run();
    daemon.wait_ready();
    assert!(cluster.rules().contains("10.96.0.1 . tcp . 80 . 1 : 10.1.0.2 . 8080"));
    cluster.fake.put_slice(slice("web", &["10.1.0.1", "10.1.0.3"]));
    daemon.wait_for("the new endpoint", || cluster.rules().contains(". 1 : 10.1.0.3 . 8080"));
    assert!(!cluster.rules().contains("10.1.0.2"), "it left with the same transaction");
    cluster.fake.delete(Resource::Services, "shop/web");
    daemon.wait_for("the service to go", || !cluster.rules().contains("10.96.0.1"));
    let before = cluster.rules();
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(cluster.rules(), before, "the rules stay in place");
}

#[test]
fn nothing_is_written_before_both_lists_are_complete() {
    let Some(cluster) = Cluster::new() else { return };
    cluster.fake.fault(Resource::Slices, Verb::List, Fault::Status(500), ALWAYS);
    cluster.fake.fault(Resource::Slices, Verb::Watch, Fault::Status(500), ALWAYS);
    let daemon = cluster.run();
    cluster.fake.wait_watching(Resource::Services, 1);
    daemon.wait_log("EndpointSlice");
    assert_eq!(cluster.rules(), "");
    assert_eq!(daemon.get(10256, "/healthz").0, 503);
    assert_eq!(daemon.get(10256, "/livez").0, 200, "a restart would not help");
    cluster.fake.clear_faults();
    daemon.wait_ready();
    assert!(cluster.rules().contains("10.1.0.1"));
}

#[test]
fn cut_connections_expired_versions_and_doubles_end_in_the_right_rules() {
    let Some(cluster) = Cluster::new() else { return };
    let daemon = cluster.run();
    daemon.wait_ready();
    for (round, as_http) in [true, false].into_iter().enumerate() {
        // What happens while nobody watches is learned from the next list.
        cluster.fake.disturb(Resource::Services, Disturbance::Drop);
        cluster.fake.disturb(Resource::Slices, Disturbance::Drop);
        cluster.fake.delete(Resource::Services, "shop/web");
        cluster.fake.put_service(service("next", &format!("10.96.0.{}", 10 + round)));
        cluster.fake.put_slice(slice("next", &["10.1.0.7"]));
        cluster.fake.compact(as_http);
        cluster.settle(&daemon);
        assert!(cluster.rules().contains(&format!("10.96.0.{}", 10 + round)));
        cluster.fake.put_service(service("web", "10.96.0.1"));
        cluster.settle(&daemon);
    }
    let restarts = daemon.get(10249, "/metrics").1;
    let line = restarts.lines().find(|l| l.starts_with("ferroproxy_watch_restarts_total{kind=\"Service\"}")).unwrap();
    assert!(!line.ends_with(" 0"), "{line}");
}

#[test]
fn a_missing_permission_is_named() {
    let Some(cluster) = Cluster::new() else { return };
    cluster.fake.fault(Resource::Services, Verb::List, Fault::Status(403), ALWAYS);
    cluster.fake.fault(Resource::Services, Verb::Watch, Fault::Status(403), ALWAYS);
    let daemon = cluster.run();
    daemon.wait_for("the permission to be named", || {
        daemon.log().contains(r#"missing permission: verb \"list\" on resource \"services\""#)
    });
    assert_eq!(cluster.rules(), "");
}

#[test]
fn service_cidrs_are_no_gate() {
    let Some(cluster) = Cluster::new() else { return };
    cluster.fake.fault(Resource::ServiceCidrs, Verb::List, Fault::Status(404), ALWAYS);
    cluster.fake.fault(Resource::ServiceCidrs, Verb::Watch, Fault::Status(404), ALWAYS);
    let daemon = cluster.run();
    daemon.wait_ready();
    assert!(cluster.rules().contains("10.96.0.1"));
}

#[test]
fn a_bad_object_costs_only_itself_and_is_counted() {
    let Some(cluster) = Cluster::new() else { return };
    // Protobuf has no room for a field of a wrong type.
    cluster.fake.speak_only_json();
    let mut bad = service("bad", "10.96.0.66");
    bad["spec"]["ports"][0]["port"] = json!("eighty");
    cluster.fake.put_service(bad);
    let daemon = cluster.run();
    daemon.wait_ready();
    assert!(cluster.rules().contains("10.96.0.1") && !cluster.rules().contains("10.96.0.66"));
    assert!(daemon.log().contains("shop/bad") && daemon.log().contains("port"), "{}", daemon.log());
    assert!(daemon.get(10249, "/metrics").1.contains("ferroproxy_rejected_objects_total{kind=\"Service\"} 1"));
}

#[test]
fn the_addresses_kube_proxy_serves_are_served() {
    let Some(cluster) = Cluster::new() else { return };
    let daemon = cluster.run();
    daemon.wait_ready();
    assert_eq!(daemon.get(10249, "/proxyMode"), (200, "nftables".to_owned()));
    let configz: Value = serde_json::from_str(&daemon.get(10249, "/configz").1).unwrap();
    assert_eq!(configz["kubeproxy.config.k8s.io"]["mode"], "nftables");
    let health: Value = serde_json::from_str(&daemon.get(10256, "/healthz").1).unwrap();
    assert_eq!(health["status"]["IPv6"]["healthy"], true);
    let metrics = daemon.get(10249, "/metrics").1;
    for name in ["kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1", "ferroproxy_services 1"] {
        assert!(metrics.contains(name), "{name} in\n{metrics}");
    }
}

#[test]
fn a_node_that_is_to_be_deleted_is_not_eligible() {
    let Some(cluster) = Cluster::new() else { return };
    let daemon = cluster.run();
    daemon.wait_ready();
    cluster.fake.put_node(json!({
        "metadata": {"name": "node-a"},
        "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]},
    }));
    daemon.wait_for("503", || daemon.get(10256, "/healthz").0 == 503);
    assert_eq!(daemon.get(10256, "/livez").0, 200);
}
