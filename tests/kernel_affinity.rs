//! Rung 5: session affinity with real packets: a client keeps its endpoint, and only those move whose endpoint went.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};

use support::lab::client::ask_udp;
use support::lab::{NODE, PATIENCE, Place};
use support::netns;
use support::scene::{NODE_NAME, PORTS, Scene, service, slices};

/// Pods 0 to 2 serve; pod 3 only asks.
const PODS: usize = 4;
const CLIENT: Place = Place::Pod(3);
const CLIENTS: u16 = 40;
const FRONT: [&str; 2] = ["10.96.0.1:80", "[fd00:10:96::1]:80"];

fn sticky(more: &str) -> String {
    service(1, &format!("{PORTS}\nsessionAffinity: ClientIP\n{more}"))
}

fn scene(more: &str, pods: &[usize]) -> Scene {
    Scene::new(PODS, &[("web", sticky(more)), ("slices", slices(1, pods))])
}

/// The name of the pod that answers a TCP connection.
fn name(scene: &Scene, from: Place, to: &str) -> String {
    scene.lab.tcp(from, to, PATIENCE).unwrap_or_else(|e| panic!("{from:?} -> {to}: {e}")).name
}

fn names(scene: &Scene, from: Place, to: &str, times: usize) -> BTreeSet<String> {
    (0..times).map(|_| name(scene, from, to)).collect()
}

/// Clients outside, each with an address of its own in both families.
fn crowd(scene: &Scene) -> [Vec<IpAddr>; 2] {
    let v4 = (0..CLIENTS).map(|n| format!("192.0.2.{}", 110 + n).parse().expect("an address")).collect::<Vec<IpAddr>>();
    let v6 = (0..CLIENTS).map(|n| format!("2001:db8::{:x}", 0x1000 + n).parse().expect("an address"));
    let v6: Vec<IpAddr> = v6.collect();
    let lines: String = v4.iter().map(|ip| format!("addr add {ip}/32 dev eth0\n")).collect();
    let more: String = v6.iter().map(|ip| format!("addr add {ip}/128 dev eth0 nodad\n")).collect();
    scene.lab.space(Place::Outside).ip(&(lines + &more)).expect("addresses");
    [v4, v6]
}

/// Which pod answers each client: a fresh flow each.
fn answers(scene: &Scene, clients: &[IpAddr], to: &str) -> BTreeMap<IpAddr, String> {
    let to: SocketAddr = to.parse().expect("an address");
    let ask = |client: &IpAddr| {
        let socket = UdpSocket::bind((*client, 0)).expect("bound");
        socket.connect(to).expect("connected");
        let answer = ask_udp(&socket, PATIENCE).unwrap_or_else(|e| panic!("{client} -> {to}: {e}"));
        (*client, answer.name)
    };
    scene.lab.space(Place::Outside).run(|| clients.iter().map(ask).collect()).expect("a namespace")
}

fn used(answers: &BTreeMap<IpAddr, String>) -> BTreeSet<String> {
    answers.values().cloned().collect()
}

fn all(pods: &[usize]) -> BTreeSet<String> {
    pods.iter().map(|pod| format!("pod{pod}")).collect()
}

#[test]
fn a_client_keeps_its_endpoint_across_all_frontends_of_the_port() {
    if !netns::is_possible() {
        return;
    }
    let more = "type: LoadBalancer\nexternalIPs: [203.0.113.80, '2001:db8:1::80']\n";
    let ports = "ports: [{name: t, port: 80, protocol: TCP, nodePort: 30080}]\nsessionAffinity: ClientIP\n";
    let status = "status: {loadBalancer: {ingress: [{ip: 198.51.100.7}, {ip: '2001:db8:2::7'}]}}\n";
    let web = service(1, &format!("{more}{ports}")) + status;
    let scene = Scene::new(PODS, &[("web", web), ("slices", slices(1, &[0, 1, 2]))]);
    let node_ports = [format!("{}:30080", NODE[0]), format!("[{}]:30080", NODE[1])];
    let fronts = [
        vec![FRONT[0], "203.0.113.80:80", "198.51.100.7:80", &node_ports[0]],
        vec![FRONT[1], "[2001:db8:1::80]:80", "[2001:db8:2::7]:80", &node_ports[1]],
    ];
    for fronts in fronts {
        for from in [CLIENT, Place::Outside] {
            let met: BTreeSet<_> = fronts.iter().flat_map(|to| names(&scene, from, to, 8)).collect();
            assert_eq!(met.len(), 1, "{from:?} {fronts:?}: {met:?}");
        }
        // The node's own source address follows the route, so each frontend may see another client.
        for to in fronts {
            assert_eq!(names(&scene, Place::Node, to, 8).len(), 1, "the node, {to}");
        }
    }
}

#[test]
fn only_the_clients_of_a_removed_endpoint_move() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene("", &[0, 1, 2]);
    let crowd = crowd(&scene);
    for (clients, front) in crowd.iter().zip(FRONT) {
        let first = answers(&scene, clients, front);
        assert_eq!(used(&first), all(&[0, 1, 2]), "forty clients meet every endpoint");
        assert_eq!(answers(&scene, clients, front), first, "{front}");

        scene.write("slices", &slices(1, &[0, 2]));
        scene.settle();
        let second = answers(&scene, clients, front);
        let moved: Vec<_> = first.iter().filter(|(client, pod)| second[*client] != **pod).collect();
        assert!(moved.iter().all(|(_, pod)| *pod == "pod1"), "{moved:?}");
        assert_eq!(used(&second), all(&[0, 2]));
        assert_eq!(answers(&scene, clients, front), second, "who moved stays where it is");

        scene.write("slices", &slices(1, &[0, 1, 2]));
        scene.settle();
        assert_eq!(answers(&scene, clients, front), second, "a newcomer takes nobody's clients");
    }
}

#[test]
fn a_restart_and_the_changes_of_others_move_nobody() {
    if !netns::is_possible() {
        return;
    }
    let mut scene = scene("", &[0, 1, 2]);
    let crowd = crowd(&scene);
    let before: Vec<_> = crowd.iter().zip(FRONT).map(|(clients, front)| answers(&scene, clients, front)).collect();
    let check = |scene: &Scene, when: &str| {
        for ((clients, front), before) in crowd.iter().zip(FRONT).zip(&before) {
            assert_eq!(answers(scene, clients, front), *before, "{front} {when}");
        }
    };
    scene.stop();
    check(&scene, "while there is no ferroproxy");
    scene.start();
    check(&scene, "after a restart");
    scene.write("other", &(service(2, &format!("{PORTS}\nsessionAffinity: ClientIP")) + "---\n" + &slices(2, &[1])));
    scene.settle();
    check(&scene, "when another sticky service came");
    // More elements than the maps' first capacity: they are made anew.
    let many: String =
        (3..=250).map(|n| service(n, &format!("{PORTS}\nsessionAffinity: ClientIP")) + "---\n").collect();
    let endpoints: String = (3..=250).map(|n| slices(n, &[0, 1, 2]) + "---\n").collect();
    scene.write("many", &(many + &endpoints));
    scene.settle();
    assert!(scene.lab.nft_ruleset().expect("a ruleset").contains("size 2048"), "the maps have grown");
    check(&scene, "when the maps had grown");
    scene.remove("many");
    scene.remove("other");
    scene.settle();
    check(&scene, "when the others had gone");
}

#[test]
fn affinity_can_be_switched_on_and_off() {
    if !netns::is_possible() {
        return;
    }
    let scene = Scene::new(PODS, &[("web", service(1, PORTS)), ("slices", slices(1, &[0, 1, 2]))]);
    for front in FRONT {
        assert_eq!(names(&scene, CLIENT, front, 60), all(&[0, 1, 2]), "{front}");
    }
    scene.write("web", &sticky(""));
    scene.settle();
    for front in FRONT {
        assert_eq!(names(&scene, CLIENT, front, 30).len(), 1, "{front}");
    }
    scene.write("web", &service(1, PORTS));
    scene.settle();
    for front in FRONT {
        assert_eq!(names(&scene, CLIENT, front, 60), all(&[0, 1, 2]), "{front}");
    }
    let ruleset = scene.lab.nft_ruleset().expect("a ruleset");
    assert!(!ruleset.contains("affinity") && !ruleset.contains("sticky"), "nothing of it is left:\n{ruleset}");
}

#[test]
fn who_stays_away_for_longer_than_the_timeout_is_forgotten() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene("sessionAffinityConfig: {clientIP: {timeoutSeconds: 1}}", &[0, 1, 2]);
    let crowd = crowd(&scene);
    for ((clients, front), family) in crowd.iter().zip(FRONT).zip(["ip", "ip6"]) {
        let first = answers(&scene, clients, front);
        scene.wait_for("the clients to be forgotten", |scene| {
            let map = scene.lab.run("nft", &["list", "map", family, "ferroproxy", "affinity"]).expect("nft runs");
            !String::from_utf8_lossy(&map.stdout).contains("elements")
        });
        // Forty clients that draw again all draw as before once in 3^40 times.
        assert_ne!(answers(&scene, clients, front), first, "{front}");
    }
}

#[test]
fn an_endpoint_outside_the_policys_pool_is_not_used() {
    if !netns::is_possible() {
        return;
    }
    let more = "type: NodePort\nports: [{name: u, port: 80, protocol: UDP, nodePort: 30080}]\n\
                externalTrafficPolicy: Local\nsessionAffinity: ClientIP\n";
    let pod2 = |line: &str| line.contains("10.244.0.12") || line.contains("::12'");
    let elsewhere = slices(1, &[0, 1, 2])
        .lines()
        .map(|line| if pod2(line) { line.replace(NODE_NAME, "node-b") } else { line.to_owned() } + "\n")
        .collect::<String>();
    let scene = Scene::new(PODS, &[("web", service(1, more)), ("slices", elsewhere)]);
    let crowd = crowd(&scene);
    let node_ports = [format!("{}:30080", NODE[0]), format!("[{}]:30080", NODE[1])];
    for ((clients, front), node_port) in crowd.iter().zip(FRONT).zip(node_ports) {
        let inside = answers(&scene, clients, front);
        assert_eq!(used(&inside), all(&[0, 1, 2]));
        let outside = answers(&scene, clients, &node_port);
        for (client, pod) in &inside {
            match pod.as_str() {
                "pod2" => assert_ne!(outside[client], "pod2", "{client}: the policy is Local"),
                _ => assert_eq!(outside[client], *pod, "{client}"),
            }
        }
        assert_eq!(answers(&scene, clients, front), outside, "who had to move stays there, on every frontend");
    }
}
