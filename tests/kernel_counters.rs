//! Rung 5: what the kernel counts by itself: new connections to service ports, and clients remembered.

mod support;

use support::lab::{AT_ONCE, NODE, PATIENCE, Place};
use support::netns;
use support::scene::{CLUSTER_CIDR, Scene, service, slices};

const PODS: usize = 3;
const CLIENT: Place = Place::Pod(2);
const PORTS: &str = "type: NodePort\nports: [{name: t, port: 80, protocol: TCP, nodePort: 30080}, {name: u, port: 80, protocol: UDP}]\n";

fn counted(most: &str) -> Scene {
    let args = ["--cluster-cidr", CLUSTER_CIDR, most];
    let other = service(2, "ports: [{name: t, port: 80}]") + "---\n" + &slices(2, &[0]);
    Scene::with_args(PODS, &[("web", service(1, PORTS)), ("slices", slices(1, &[0, 1])), ("other", other)], &args)
}

fn series(family: &str, service: &str, port: &str) -> String {
    format!(
        "ferroproxy_service_new_connections_total{{ip_family=\"{family}\",namespace=\"default\",port=\"{port}\",service=\"{service}\"}}"
    )
}

fn ask(scene: &Scene, from: Place, to: &str, times: usize) {
    let tally = scene.lab.tcp_many(from, to, times, PATIENCE);
    assert_eq!(tally.failed(), 0, "{to}");
}

/// Waits until a series has this value: the kernel's counters are read now and then.
fn becomes(scene: &Scene, series: &str, wanted: f64) {
    scene.wait_for(&format!("{series} to become {wanted}"), |scene| {
        let text = scene.proxy.as_ref().expect("a proxy").metrics(&scene.lab).expect("metrics");
        text.lines().any(|line| line.strip_prefix(series).is_some_and(|value| value.trim().parse() == Ok(wanted)))
    });
}

#[test]
fn new_connections_are_counted_by_service_port_whatever_frontend_they_came_by() {
    if !netns::is_possible() {
        return;
    }
    let scene = counted("--count-connections");
    ask(&scene, CLIENT, "10.96.0.1:80", 7);
    ask(&scene, Place::Outside, &format!("{}:30080", NODE[0]), 5);
    ask(&scene, Place::Node, "[fd00:10:96::1]:80", 3);
    ask(&scene, CLIENT, "10.96.0.2:80", 2);
    becomes(&scene, &series("IPv4", "web-1", "t"), 12.0);
    becomes(&scene, &series("IPv6", "web-1", "t"), 3.0);
    becomes(&scene, &series("IPv4", "web-2", "t"), 2.0);
    becomes(&scene, &series("IPv4", "web-1", "u"), 0.0);
    // Packets of a connection do not count, and a change of endpoints loses nothing.
    let mut connection = scene.lab.connect(CLIENT, "10.96.0.1:80", PATIENCE).expect("connected");
    scene.write("slices", &slices(1, &[0]));
    scene.settle();
    for _ in 0..5 {
        connection.ask().expect("an answer");
    }
    ask(&scene, CLIENT, "10.96.0.1:80", 4);
    becomes(&scene, &series("IPv4", "web-1", "t"), 17.0);
    // Who is refused has tried.
    scene.write("slices", &slices(1, &[]));
    scene.settle();
    assert!(scene.lab.tcp(CLIENT, "10.96.0.1:80", AT_ONCE).is_err());
    becomes(&scene, &series("IPv4", "web-1", "t"), 18.0);
}

#[test]
fn beyond_the_limit_service_ports_are_counted_together() {
    if !netns::is_possible() {
        return;
    }
    let scene = counted("--count-connections=1");
    ask(&scene, CLIENT, "10.96.0.1:80", 2);
    ask(&scene, CLIENT, "10.96.0.2:80", 3);
    let other =
        "ferroproxy_service_new_connections_total{ip_family=\"IPv4\",namespace=\"\",port=\"other\",service=\"\"}";
    becomes(&scene, other, 3.0);
    becomes(&scene, &series("IPv4", "web-1", "t"), 2.0);
}

#[test]
fn clients_remembered_are_counted() {
    if !netns::is_possible() {
        return;
    }
    let sticky = service(1, &format!("{PORTS}sessionAffinity: ClientIP"));
    let scene = Scene::new(PODS, &[("web", sticky), ("slices", slices(1, &[0, 1]))]);
    for from in [CLIENT, Place::Pod(1), Place::Outside] {
        ask(&scene, from, "10.96.0.1:80", 4);
    }
    let map = |what: &str| format!("ferroproxy_map_{what}{{ip_family=\"IPv4\",map=\"affinity\"}}");
    becomes(&scene, &map("capacity"), 262_144.0);
    becomes(&scene, &map("elements"), 3.0);
}
