//! Rung 5: real packets through a real kernel, from pods, the node and outside, to what ferroproxy programmed.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use support::lab::{AT_ONCE, Answer, NODE, Outcome, PATIENCE, Place, Refusal, pod};
use support::netns;
use support::scene::{PORTS, Scene, service, slices};

/// Pods 0 to 2 serve; pod 3 only asks.
const PODS: usize = 4;
const CLIENT: Place = Place::Pod(3);
const FRONT: [&str; 2] = ["10.96.0.1:80", "[fd00:10:96::1]:80"];

fn scene(more: &str, pods: &[usize]) -> Scene {
    Scene::new(PODS, &[("web", service(1, more)), ("slices", slices(1, pods))])
}

fn ask(scene: &Scene, from: Place, to: &str) -> Answer {
    scene.lab.tcp(from, to, PATIENCE).unwrap_or_else(|e| panic!("{from:?} -> {to}: {e}"))
}

fn names(scene: &Scene, from: Place, to: &str, times: usize) -> BTreeSet<String> {
    (0..times).map(|_| ask(scene, from, to).name).collect()
}

fn all(pods: &[usize]) -> BTreeSet<String> {
    pods.iter().map(|pod| format!("pod{pod}")).collect()
}

#[test]
fn a_cluster_ip_reaches_every_endpoint_from_everywhere_over_both_families() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(PORTS, &[0, 1, 2]);
    for (family, front) in FRONT.into_iter().enumerate() {
        for from in [CLIENT, Place::Node, Place::Outside] {
            assert_eq!(names(&scene, from, front, 60), all(&[0, 1, 2]), "{from:?} {front}");
            let udp = scene.lab.udp(from, front, PATIENCE);
            assert!(udp.is_ok(), "{from:?} {front} over UDP: {udp:?}");
        }
        // A pod keeps its address; who is outside the cluster is masqueraded: the answer has to come back this way.
        assert_eq!(ask(&scene, CLIENT, front).client, pod(3)[family]);
        let seen = ask(&scene, Place::Outside, front).client;
        assert_ne!(seen, support::lab::OUTSIDE[family], "masqueraded");
    }
}

#[test]
fn endpoints_are_picked_uniformly() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(PORTS, &[0, 1, 2]);
    let tally = scene.lab.tcp_many(CLIENT, FRONT[0], 900, PATIENCE);
    assert_eq!(tally.failed(), 0);
    for (name, count) in &tally.answers {
        // 300 expected, standard deviation 14: eight of them is no chance.
        assert!((185..=415).contains(count), "{name} answered {count} of 900");
    }
    assert_eq!(tally.answers.len(), 3);
}

#[test]
fn node_ports_external_ips_and_load_balancer_ips_answer_and_are_masqueraded() {
    if !netns::is_possible() {
        return;
    }
    let more = "type: LoadBalancer\nexternalIPs: [203.0.113.80, '2001:db8:1::80']\n\
                ports: [{name: t, port: 80, nodePort: 30080}]\n";
    let status = "status: {loadBalancer: {ingress: [{ip: 198.51.100.7}, {ip: '2001:db8:2::7'}, {ip: 198.51.100.8, ipMode: Proxy}]}}\n";
    let web = service(1, more) + status;
    let scene = Scene::new(PODS, &[("web", web), ("slices", slices(1, &[0, 1]))]);
    let node_ports = [format!("{}:30080", NODE[0]), format!("[{}]:30080", NODE[1])];
    let fronts = [
        [node_ports[0].as_str(), node_ports[1].as_str()],
        ["203.0.113.80:80", "[2001:db8:1::80]:80"],
        ["198.51.100.7:80", "[2001:db8:2::7]:80"],
    ];
    for front in fronts {
        for (family, front) in front.into_iter().enumerate() {
            for from in [CLIENT, Place::Node, Place::Outside] {
                let answer = ask(&scene, from, front);
                assert!(all(&[0, 1]).contains(&answer.name), "{from:?} {front}: {answer:?}");
            }
            assert_ne!(ask(&scene, Place::Outside, front).client, support::lab::OUTSIDE[family]);
        }
    }
    // In proxy mode the address is the load balancer's business; loopback never answers node ports.
    assert!(scene.lab.tcp(Place::Outside, "198.51.100.8:80", AT_ONCE).is_err());
    assert_eq!(scene.lab.tcp(Place::Node, "127.0.0.1:30080", AT_ONCE), Err(Refusal::Refused));
}

#[test]
fn source_ranges_guard_load_balancer_ips_before_any_other_verdict() {
    if !netns::is_possible() {
        return;
    }
    let ranges = "type: LoadBalancer\nports: [{name: t, port: 80, nodePort: 30080}]\nexternalIPs: [203.0.113.80]\n\
                  loadBalancerSourceRanges: [10.244.0.0/16, 10.244.0.0/24, 'fd00:10:244::/64']\n";
    let status = "status: {loadBalancer: {ingress: [{ip: 198.51.100.7}, {ip: '2001:db8:2::7'}]}}\n";
    let scene = Scene::new(PODS, &[("web", service(1, ranges) + status), ("slices", slices(1, &[0, 1]))]);
    for front in ["198.51.100.7:80", "[2001:db8:2::7]:80"] {
        assert!(scene.lab.tcp(CLIENT, front, PATIENCE).is_ok(), "{front}");
        for from in [Place::Node, Place::Outside] {
            assert_eq!(scene.lab.tcp(from, front, AT_ONCE), Err(Refusal::TimedOut), "{from:?} {front}");
        }
    }
    // Other frontends of the service are open, and without endpoints the guard still comes first.
    assert!(scene.lab.tcp(Place::Outside, "203.0.113.80:80", PATIENCE).is_ok());
    assert!(scene.lab.tcp(Place::Outside, &format!("{}:30080", NODE[0]), PATIENCE).is_ok());
    scene.write("slices", &slices(1, &[]));
    scene.settle();
    assert_eq!(scene.lab.tcp(CLIENT, "198.51.100.7:80", AT_ONCE), Err(Refusal::Refused));
    assert_eq!(scene.lab.tcp(Place::Outside, "198.51.100.7:80", AT_ONCE), Err(Refusal::TimedOut));
    // The node's own address in a range lets the node in.
    scene.write("web", &(service(1, &ranges.replace("10.244.0.0/24", "192.0.2.0/24")) + status));
    scene.write("slices", &slices(1, &[0]));
    scene.settle();
    assert!(scene.lab.tcp(Place::Node, "198.51.100.7:80", PATIENCE).is_ok());
}

#[test]
fn without_endpoints_connections_are_refused_at_once() {
    if !netns::is_possible() {
        return;
    }
    let more = "type: NodePort\nports: [{name: t, port: 80, protocol: TCP, nodePort: 30080}, {name: u, port: 80, protocol: UDP}]";
    let scene = scene(more, &[]);
    let refused: Outcome = Err(Refusal::Refused);
    for front in FRONT {
        for from in [CLIENT, Place::Node, Place::Outside] {
            assert_eq!(scene.lab.tcp(from, front, AT_ONCE), refused, "{from:?} {front}");
            assert_eq!(scene.lab.udp(from, front, AT_ONCE), refused, "{from:?} {front} over UDP");
        }
    }
    assert_eq!(scene.lab.tcp(Place::Outside, &format!("{}:30080", NODE[0]), AT_ONCE), refused);
}

#[test]
fn other_ports_are_refused_and_unallocated_addresses_are_silent() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(PORTS, &[0]);
    for (wrong, unallocated) in [("10.96.0.1:81", "10.96.0.99:80"), ("[fd00:10:96::1]:81", "[fd00:10:96::99]:80")] {
        for from in [CLIENT, Place::Node, Place::Outside] {
            assert_eq!(scene.lab.tcp(from, wrong, AT_ONCE), Err(Refusal::Refused), "{from:?} {wrong}");
            assert_eq!(scene.lab.udp(from, wrong, AT_ONCE), Err(Refusal::Refused), "{from:?} {wrong} over UDP");
            assert_eq!(scene.lab.tcp(from, unallocated, AT_ONCE), Err(Refusal::TimedOut), "{from:?} {unallocated}");
        }
    }
}

#[test]
fn a_cluster_ip_bound_on_the_node_and_another_agents_dnat_are_left_alone() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(PORTS, &[0]);
    // A node-local DNS cache binds a cluster IP and answers a port that is no frontend.
    let ip = scene.lab.run("ip", &["address", "add", "10.96.0.1/32", "dev", "lo"]).expect("ip runs");
    assert!(ip.status.success());
    assert_eq!(
        scene.lab.tcp(CLIENT, "10.96.0.1:5353", AT_ONCE),
        Err(Refusal::Refused),
        "by the node itself: nobody listens"
    );
    // Another agent's own DNAT of an address in the service range, registered after ours at the same priority.
    let other = "table ip other { chain pre { type nat hook prerouting priority -100; ip daddr 10.96.0.50 tcp dport 80 dnat to 10.244.0.11:8080\n }\n }\n";
    scene.lab.nft(other).expect("loaded");
    assert_eq!(ask(&scene, CLIENT, "10.96.0.50:80").name, "pod1");
}

#[test]
fn an_endpoint_reaches_itself_through_its_service() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(PORTS, &[0]);
    for front in FRONT {
        let answer = ask(&scene, Place::Pod(0), front);
        assert_eq!(answer.name, "pod0");
        assert!(!pod(0).contains(&answer.client), "masqueraded, else it would answer itself directly");
    }
}

#[test]
fn no_connection_fails_while_a_service_is_scaled() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(PORTS, &[0, 1, 2]);
    let pace = Duration::from_millis(1);
    let clients: Vec<_> = [CLIENT, Place::Node, Place::Outside]
        .map(|from| scene.lab.keep_asking(from, FRONT[0], pace, PATIENCE).expect("a client"))
        .into();
    for pods in [&[0, 1][..], &[0], &[2], &[0, 1, 2], &[1], &[1, 2, 0], &[0]] {
        scene.write("slices", &slices(1, pods));
        scene.settle();
        for client in &clients {
            client.wait_for_more(20, PATIENCE).expect("connections go on");
        }
    }
    for client in clients {
        let tally = client.stop().expect("it ends");
        assert_eq!(tally.failed(), 0, "{tally:?}");
        assert!(tally.attempts() > 100);
    }
    assert_eq!(names(&scene, CLIENT, FRONT[0], 20), all(&[0]));
}

#[test]
fn established_connections_outlive_a_restart_that_writes_nothing() {
    if !netns::is_possible() {
        return;
    }
    let mut scene = scene(PORTS, &[0, 1, 2]);
    // History gives slots an order of their own; a restart adopts it.
    scene.write("slices", &slices(1, &[2, 1]));
    scene.settle();
    scene.write("slices", &slices(1, &[2, 1, 0]));
    scene.settle();
    let before = scene.lab.nft_ruleset().expect("listed");
    let mut connection = scene.lab.connect(CLIENT, FRONT[0], PATIENCE).expect("connected");
    scene.stop();
    assert_eq!(scene.lab.nft_ruleset().expect("listed"), before, "the rules stay in place");
    assert!(connection.ask().is_ok());
    scene.start();
    assert_eq!(scene.lab.nft_ruleset().expect("listed"), before, "handles and all: nothing was written");
    assert!(connection.ask().is_ok());
    assert_eq!(scene.metric("ferroproxy_commit_operations_total"), 0.0);
}

#[test]
fn maps_grow_past_their_capacity_without_a_failed_connection() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(PORTS, &[0, 1, 2]);
    let mut established = scene.lab.connect(CLIENT, FRONT[0], PATIENCE).expect("connected");
    let client = scene.lab.keep_asking(CLIENT, FRONT[0], Duration::from_millis(1), PATIENCE).expect("a client");
    let many: Vec<String> = (0..1500)
        .map(|n| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: m{n}}}\nspec: {{clusterIP: 10.96.{}.{}, ports: [{{port: 80}}]}}\n",
                10 + n / 250,
                1 + n % 250
            )
        })
        .collect();
    scene.write("many", &many.join("---\n"));
    scene.settle();
    client.wait_for_more(50, PATIENCE).expect("connections go on");
    assert!(scene.lab.nft_ruleset().expect("listed").contains("size 2048"));
    scene.remove("many");
    scene.settle();
    let tally = client.stop().expect("it ends");
    assert_eq!(tally.failed(), 0, "{tally:?}");
    assert!(established.ask().is_ok());
}

#[test]
fn the_listing_of_nft_reloads_to_the_same_rules() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(PORTS, &[0, 1, 2]);
    let listed = scene.lab.nft_ruleset().expect("listed");
    assert!(listed.contains("comment \"default/web-1:t\" : goto KUBE-INT-SVC-3"), "{listed}");
    scene.lab.nft(&format!("flush ruleset\n{listed}")).expect("it reloads");
    assert_eq!(scene.diff(), (Some(0), String::new()));
    assert_eq!(names(&scene, CLIENT, FRONT[0], 40), all(&[0, 1, 2]));
}

#[test]
fn diff_and_cleanup_do_what_they_say() {
    if !netns::is_possible() {
        return;
    }
    let mut scene = scene(PORTS, &[0, 1, 2]);
    assert_eq!(scene.diff(), (Some(0), String::new()));
    scene.stop();
    scene.write("slices", &slices(1, &[0, 1]));
    let before = scene.lab.nft_ruleset().expect("listed");
    let (code, text) = scene.diff();
    assert_eq!(code, Some(1));
    assert!(text.contains("-  10.96.0.1 . tcp . 80 . 2 : 10.244.0.12 . 8080"), "{text}");
    assert_eq!(scene.lab.nft_ruleset().expect("listed"), before, "diff changes nothing");
    let (code, text) = scene.ferroproxy(&["cleanup"]);
    assert_eq!((code, text.as_str()), (Some(0), "removed table ip ferroproxy\nremoved table ip6 ferroproxy\n"));
    assert_eq!(scene.lab.nft_ruleset().expect("listed"), "");
    assert_eq!(scene.ferroproxy(&["cleanup"]), (Some(0), "nothing to clean up\n".to_owned()));
}
