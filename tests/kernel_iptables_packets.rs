//! Rung 5: real packets through the classical chains, by both variants of iptables.

#[path = "support/agreement.rs"]
mod agreement;
mod support;
#[path = "support/walking.rs"]
#[allow(dead_code)]
mod walking;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use agreement::{PODS, assert_agreement, manifests_of_all};
use support::lab::{AT_ONCE, NODE, PATIENCE, Place, Refusal, pod};
use support::netns;
use support::scene::{CLUSTER_CIDR, Scene, service, slices};

const MODE: [&str; 6] =
    ["--proxy-mode", "iptables", "--iptables-min-sync-period", "1ms", "--cluster-cidr", CLUSTER_CIDR];

/// A scene in iptables mode on a node whose kubelet has hinted at a variant.
fn scene(variant: &str, manifests: &[(&str, String)]) -> Scene {
    let mut scene = Scene::laid(PODS, manifests, &MODE);
    hint(&scene, variant);
    scene.start();
    scene
}

fn hint(scene: &Scene, variant: &str) {
    let made = scene.lab.run(&format!("iptables-{variant}"), &["-t", "mangle", "-N", "KUBE-IPTABLES-HINT"]);
    let made = made.expect("iptables is installed (scripts/setup.sh installs it)");
    assert!(made.status.success(), "iptables-{variant} does not work here: {made:?}");
}

/// What `iptables-VARIANT-save -t TABLE` prints on the node.
fn saved(scene: &Scene, variant: &str, table: &str) -> String {
    let output = scene.lab.run(&format!("iptables-{variant}-save"), &["-t", table]).expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn all_fates(variant: &str) {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(variant, &manifests_of_all());
    assert!(saved(&scene, variant, "nat").contains(":KUBE-SERVICES"), "it took the variant of the hint");
    assert_agreement(&scene);
    assert_eq!(scene.metric("ferroproxy_mode{mode=\"iptables\",reason=\"asked\"}"), 1.0);
    assert!(scene.metric("kubeproxy_sync_proxy_rules_iptables_total{ip_family=\"IPv6\",table=\"nat\"}") > 20.0);
}

#[test]
fn every_frontend_policy_and_sender_meets_the_same_fate_by_nft() {
    all_fates("nft");
}

#[test]
fn every_frontend_policy_and_sender_meets_the_same_fate_by_legacy() {
    all_fates("legacy");
}

/// The pod that answers, and the address of the client that it saw.
fn ask(scene: &Scene, from: Place, to: &str) -> (String, String) {
    let answer = scene.lab.tcp(from, to, PATIENCE).unwrap_or_else(|error| panic!("{from:?} -> {to}: {error}"));
    (answer.name, answer.client.to_string())
}

#[test]
fn a_client_keeps_its_endpoint_on_every_frontend() {
    if !netns::is_possible() {
        return;
    }
    for variant in ["nft", "legacy"] {
        let more = "type: NodePort\nsessionAffinity: ClientIP\nports: [{name: t, port: 80, nodePort: 30080}]\n";
        let scene = scene(variant, &[("web", service(1, more)), ("slices", slices(1, &[0, 1, 2]))]);
        for fronts in
            [["10.96.0.1:80", &format!("{}:30080", NODE[0])], ["[fd00:10:96::1]:80", &format!("[{}]:30080", NODE[1])]]
        {
            let from = Place::Pod(3);
            let servers: BTreeSet<String> =
                (0..16).flat_map(|_| fronts.map(|front| ask(&scene, from, front).0)).collect();
            assert_eq!(servers.len(), 1, "{variant}: {servers:?}");
        }
    }
}

#[test]
fn source_ranges_guard_load_balancer_ips_before_any_other_verdict() {
    if !netns::is_possible() {
        return;
    }
    let ranges = "type: LoadBalancer\nports: [{name: t, port: 80, nodePort: 30080}]\nexternalIPs: [203.0.113.80]\n\
                  loadBalancerSourceRanges: [10.244.0.0/16, 10.244.0.0/24, 'fd00:10:244::/64']\n";
    let status = "status: {loadBalancer: {ingress: [{ip: 198.51.100.7}, {ip: '2001:db8:2::7'}]}}\n";
    for variant in ["nft", "legacy"] {
        let web = service(1, ranges) + status;
        let scene = scene(variant, &[("web", web), ("slices", slices(1, &[0, 1]))]);
        for front in ["198.51.100.7:80", "[2001:db8:2::7]:80"] {
            ask(&scene, Place::Pod(3), front);
            for from in [Place::Node, Place::Outside] {
                assert_eq!(scene.lab.tcp(from, front, AT_ONCE), Err(Refusal::TimedOut), "{variant} {from:?} {front}");
            }
        }
        ask(&scene, Place::Outside, "203.0.113.80:80");
        ask(&scene, Place::Outside, &format!("{}:30080", NODE[0]));
        scene.write("slices", &slices(1, &[]));
        scene.settle();
        assert_eq!(scene.lab.tcp(Place::Pod(3), "198.51.100.7:80", AT_ONCE), Err(Refusal::Refused), "{variant}");
        assert_eq!(scene.lab.tcp(Place::Outside, "198.51.100.7:80", AT_ONCE), Err(Refusal::TimedOut), "{variant}");
    }
}

#[test]
fn node_ports_answer_on_loopback_unless_that_is_switched_off() {
    if !netns::is_possible() {
        return;
    }
    let web = service(1, "type: NodePort\nports: [{name: t, port: 80, nodePort: 30080}]\n");
    let manifests = [("web", web), ("slices", slices(1, &[0]))];
    let open = scene("nft", &manifests);
    open.wait_for("a node port on loopback", |scene| scene.lab.tcp(Place::Node, "127.0.0.1:30080", AT_ONCE).is_ok());
    assert_eq!(ask(&open, Place::Node, "127.0.0.1:30080").0, "pod0");
    // Loopback addresses are routed now; the rule against strangers stands.
    assert!(saved(&open, "nft", "filter").contains("-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8"));
    drop(open);

    let mut closed = Scene::laid(PODS, &manifests, &[&MODE[..], &["--iptables-localhost-nodeports=false"]].concat());
    closed.start();
    assert_eq!(ask(&closed, Place::Node, &format!("{}:30080", NODE[0])).0, "pod0");
    assert_eq!(closed.lab.tcp(Place::Node, "127.0.0.1:30080", AT_ONCE), Err(Refusal::Refused));
}

#[test]
fn an_unallocated_cluster_ip_is_left_alone() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene("nft", &[("web", service(1, "ports: [{name: t, port: 80}]\n")), ("slices", slices(1, &[0]))]);
    let rules = saved(&scene, "nft", "nat") + &saved(&scene, "nft", "filter");
    assert!(!rules.contains("10.96.0.0/16"), "{rules}");
}

#[test]
fn what_others_flush_is_repaired_within_moments() {
    if !netns::is_possible() {
        return;
    }
    for variant in ["nft", "legacy"] {
        let web = service(1, "ports: [{name: t, port: 80}]\n");
        let scene = scene(variant, &[("web", web), ("slices", slices(1, &[0]))]);
        for args in [["-t", "nat", "-F"], ["-t", "nat", "-X"], ["-t", "mangle", "-X"]] {
            assert!(scene.lab.run(&format!("iptables-{variant}"), &args).expect("it runs").status.success());
        }
        scene.settle();
        assert_eq!(ask(&scene, Place::Pod(3), "10.96.0.1:80"), ("pod0".to_owned(), pod(3)[0].to_string()));
    }
}

#[test]
fn a_node_passes_from_one_mode_to_the_other_and_back_and_no_connection_fails() {
    if !netns::is_possible() {
        return;
    }
    let web = service(1, "ports: [{name: t, port: 80}]\n");
    let mut scene = scene("nft", &[("web", web), ("slices", slices(1, &[0, 1, 2]))]);
    let pace = Duration::from_millis(2);
    let steady = scene.lab.keep_asking(Place::Pod(3), "10.96.0.1:80", pace, PATIENCE).expect("asks");
    let (tables, chains) = ("table ip ferroproxy", "FERROPROXY-HINT");
    for (mode, here, gone) in [("nftables", tables, chains), ("iptables", chains, tables)] {
        scene.stop();
        scene.restart_with(&["--proxy-mode", mode, "--cluster-cidr", CLUSTER_CIDR]);
        let ruleset = |scene: &Scene| {
            String::from_utf8_lossy(&scene.lab.run("nft", &["list", "ruleset"]).expect("nft").stdout).into_owned()
        };
        scene.wait_for("the other mode's rules to go", |scene| !ruleset(scene).contains(gone));
        assert!(ruleset(&scene).contains(here), "{mode}");
        steady.wait_for_more(50, PATIENCE).expect("it goes on asking");
    }
    let tally = steady.stop().expect("it stops");
    assert_eq!(tally.failed(), 0, "{tally:?}");
}

#[test]
fn a_service_that_gains_and_loses_its_endpoints_leaves_no_client_without_an_answer() {
    if !netns::is_possible() {
        return;
    }
    for variant in ["nft", "legacy"] {
        let web = |n| service(n, "ports: [{name: t, port: 80}]\n");
        // While one has endpoints the other has none, but at the beginning, so that either is refused alone and both change at once.
        let scene = scene(variant, &[("web", web(1) + "\n---\n" + &web(2)), ("slices", slices(1, &[]))]);
        let (pace, fronts) = (Duration::from_millis(1), ["10.96.0.1:80", "[fd00:10:96::1]:80", "10.96.0.2:80"]);
        let ask = |from| fronts.map(|front| scene.lab.keep_asking(from, front, pace, AT_ONCE).expect("asks"));
        let clients: Vec<_> = [Place::Pod(3), Place::Node].into_iter().flat_map(ask).collect();
        for round in 0..12 {
            let (one, other) = [(2, 0), (0, 2), (0, 0)][round % 3];
            scene.write("slices", &(slices(1, &[0, 1][..one]) + "---\n" + &slices(2, &[0, 1][..other])));
            scene.settle();
        }
        for client in clients {
            let tally = client.stop().expect("it stops");
            let refused = tally.failures.get(&Refusal::Refused).copied().unwrap_or_default();
            assert!(tally.answered() > 0 && refused > 0, "{variant}: {tally}");
            assert_eq!(tally.failed(), refused, "{variant}: somebody waited in vain: {tally}");
        }
    }
}

/// Whether a connection from outside to a port of the node's address is accepted.
fn is_open(scene: &Scene, ip: IpAddr, port: u16) -> bool {
    let connect = || TcpStream::connect_timeout(&SocketAddr::new(ip, port), AT_ONCE).is_ok();
    scene.lab.space(Place::Outside).run(connect).expect("entered")
}

#[test]
fn health_check_ports_are_open_where_everything_else_to_the_node_is_dropped() {
    if !netns::is_possible() {
        return;
    }
    let more = "type: LoadBalancer\nexternalTrafficPolicy: Local\nhealthCheckNodePort: 31000\nports: [{name: t, port: 80, nodePort: 30080}]\n";
    for variant in ["nft", "legacy"] {
        let scene = scene(variant, &[("web", service(1, more)), ("slices", slices(1, &[0]))]);
        let _other =
            scene.lab.space(Place::Node).run(|| TcpListener::bind("[::]:31001")).expect("entered").expect("listens");
        for ip in NODE {
            scene.wait_for("the health check port", |scene| is_open(scene, ip, 31000));
            assert!(is_open(&scene, ip, 31001), "{variant}");
        }
        // A node that lets nobody in but itself, and neighbours find out where it is.
        for (program, icmp) in [("iptables", "icmp"), ("ip6tables", "ipv6-icmp")] {
            let rules =
                [&["-A", "INPUT", "-i", "lo", "-j", "ACCEPT"][..], &["-A", "INPUT", "-p", icmp, "-j", "ACCEPT"]];
            for args in rules.into_iter().chain([&["-P", "INPUT", "DROP"][..]]) {
                let output = scene.lab.run(&format!("{program}-{variant}"), args).expect("it runs");
                assert!(output.status.success(), "{output:?}");
            }
        }
        for ip in NODE {
            assert!(!is_open(&scene, ip, 31001), "{variant}: {ip} lets nobody in");
            assert!(is_open(&scene, ip, 31000), "{variant}: but to the health check");
        }
        // The rule goes with the Service.
        scene.write("web", &service(1, "type: NodePort\nports: [{name: t, port: 80, nodePort: 30080}]\n"));
        scene.settle();
        assert!(!saved(&scene, variant, "filter").contains("31000"), "{variant}");
    }
}
