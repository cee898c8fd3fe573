//! Rung 5: clients that keep their UDP port, and what becomes of their flows when a service changes.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use ferroproxy::host::{Announcement, Conntrack, Frontend, PortFlows};
use ferroproxy::model::{Family, ObjectName, Protocol};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use support::lab::{AT_ONCE, NODE, OUTSIDE, PATIENCE, Place, Refusal, UdpFlow, pod};
use support::netns;
use support::scene::{CLUSTER_CIDR, Scene, service, slices};

/// Pods 0 to 2 serve; pod 3 only asks.
const PODS: usize = 4;
const CLIENT: Place = Place::Pod(3);

/// Every kind of frontend, in both families.
const PORTS: &str = "type: LoadBalancer\n\
    ports: [{name: t, port: 80, protocol: TCP, nodePort: 30080}, {name: u, port: 80, protocol: UDP, nodePort: 30080}]\n";
const STATUS: &str = "status: {loadBalancer: {ingress: [{ip: 198.51.100.7}, {ip: '2001:db8:2::7'}]}}\n";

fn web() -> String {
    service(1, PORTS) + STATUS
}

/// Where to ask, and from where.
fn frontends() -> Vec<(Place, String)> {
    let cluster = ["10.96.0.1:80", "[fd00:10:96::1]:80"].map(|to| (CLIENT, to.to_owned()));
    let balancer = ["198.51.100.7:80", "[2001:db8:2::7]:80"].map(|to| (Place::Outside, to.to_owned()));
    let node = [format!("{}:30080", NODE[0]), format!("[{}]:30080", NODE[1])].map(|to| (Place::Outside, to));
    cluster.into_iter().chain(balancer).chain(node).collect()
}

fn scene(pods: &[usize]) -> Scene {
    Scene::new(PODS, &[("web", web()), ("slices", slices(1, pods))])
}

/// A flow to each frontend, each answered by that pod.
fn flows(scene: &Scene, expected: &str) -> Vec<(String, UdpFlow)> {
    let open = |(from, to): (Place, String)| (to.clone(), scene.lab.udp_flow(from, &to).expect("a socket"));
    let flows: Vec<_> = frontends().into_iter().map(open).collect();
    for (to, flow) in &flows {
        assert_eq!(flow.ask(PATIENCE).unwrap_or_else(|e| panic!("{to}: {e}")).name, expected, "{to}");
    }
    flows
}

/// Waits until every flow fares like that: a change's look at the table follows its sync.
fn all_become(scene: &Scene, flows: &[(String, UdpFlow)], expected: Result<&str, Refusal>) {
    for (to, flow) in flows {
        scene.wait_for(&format!("{to} to become {expected:?}"), |_| {
            let outcome = flow.ask(AT_ONCE).map(|answer| answer.name);
            outcome.as_ref().map(String::as_str).map_err(Clone::clone) == expected
        });
    }
}

/// The conntrack entries of the node with this text in them, without what changes by itself: what counts down, who holds them.
fn entries(scene: &Scene, family: &str, text: &str) -> Vec<String> {
    let output = scene.lab.run("conntrack", &["-L", "-f", family, "-o", "id"]).expect("conntrack runs");
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_steady = |word: &&str| word.parse::<u64>().is_err() && !word.starts_with("use=");
    let steady = |line: &str| line.split_whitespace().filter(is_steady).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = listed.lines().filter(|line| line.contains(text)).map(steady).collect();
    lines.sort();
    lines
}

#[test]
fn a_client_that_keeps_its_port_follows_a_replaced_endpoint() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(&[0]);
    let flows = flows(&scene, "pod0");
    scene.write("slices", &slices(1, &[1]));
    all_become(&scene, &flows, Ok("pod1"));
    let deleted = scene.metric("kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"}");
    assert!(deleted >= 3.0, "{deleted}");
}

#[test]
fn a_client_that_keeps_its_port_is_refused_when_the_last_endpoint_goes_and_served_when_one_comes() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(&[0]);
    let flows = flows(&scene, "pod0");
    scene.write("slices", &slices(1, &[]));
    all_become(&scene, &flows, Err(Refusal::Refused));
    scene.write("slices", &slices(1, &[2]));
    all_become(&scene, &flows, Ok("pod2"));
}

#[test]
fn flows_that_were_there_before_the_rules_are_served_once_there_are_rules() {
    if !netns::is_possible() {
        return;
    }
    let mut scene = scene(&[]);
    scene.stop();
    assert_eq!(scene.ferroproxy(&["cleanup"]).0, Some(0));
    // Somebody else's rule keeps conntrack on, and a route leads nowhere: nothing translates these.
    let on = "table inet other { chain pass { type filter hook forward priority 0; ct state new accept\n }\n }\n";
    scene.lab.nft(on).expect("loaded");
    let nowhere = "link add sink type veth peer name drain\nlink set drain up\nlink set sink arp off up\nroute add 10.96.0.0/16 dev sink\nroute add 198.51.100.7 dev sink\n\
                   route add fd00:10:96::/112 dev sink\nroute add 2001:db8:2::7 dev sink\n";
    scene.lab.space(Place::Node).ip(nowhere).expect("routes");
    let open = |(from, to): (Place, String)| (to.clone(), scene.lab.udp_flow(from, &to).expect("a socket"));
    let flows: Vec<_> = frontends().into_iter().map(open).collect();
    for (to, flow) in &flows {
        assert!(flow.ask(AT_ONCE).is_err(), "{to}");
    }
    for (family, to) in [("ipv4", "dst=10.96.0.1 "), ("ipv6", "dst=fd00:10:96::1 "), ("ipv4", "dst=198.51.100.7 ")] {
        assert_eq!(entries(&scene, family, to).len(), 1, "{to}");
    }
    scene.start();
    scene.write("slices", &slices(1, &[1]));
    all_become(&scene, &flows, Ok("pod1"));
}

#[test]
fn a_deleted_services_flows_end() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(&[0]);
    let flows = flows(&scene, "pod0");
    scene.remove("web");
    scene.settle();
    let nobody = |scene: &Scene| {
        let to_pod = |family, at: usize| entries(scene, family, &format!("src={} ", pod(0)[at]));
        let udp = |line: &String| line.starts_with("udp");
        !to_pod("ipv4", 0).iter().any(udp) && !to_pod("ipv6", 1).iter().any(udp)
    };
    scene.wait_for("every flow to be gone", nobody);
    for (to, flow) in &flows {
        assert!(flow.ask(AT_ONCE).is_err(), "{to}");
    }
    // It comes back: served again, by whoever serves now.
    scene.write("web", &web());
    scene.write("slices", &slices(1, &[1]));
    all_become(&scene, &flows, Ok("pod1"));
}

#[test]
fn a_client_that_keeps_its_port_follows_a_changed_target_port() {
    if !netns::is_possible() {
        return;
    }
    let mut scene = scene(&[0]);
    scene.lab.serve_udp(8081).expect("it listens");
    let flows = flows(&scene, "pod0");
    scene.write("slices", &slices(1, &[0]).replace("port: 8080, protocol: UDP", "port: 8081, protocol: UDP"));
    scene.settle();
    scene.wait_for("no flow to the old port", |scene| {
        let old = |family| entries(scene, family, "sport=8080").into_iter().any(|line| line.starts_with("udp"));
        !old("ipv4") && !old("ipv6")
    });
    all_become(&scene, &flows, Ok("pod0"));
    assert!(!entries(&scene, "ipv4", "sport=8081").is_empty());
}

#[test]
fn what_is_not_stale_is_left_alone() {
    if !netns::is_possible() {
        return;
    }
    let config = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: nftables\nclusterCIDR: {CLUSTER_CIDR}\n\
         healthzBindAddress: 127.0.0.1:10256\nnodePortAddresses: [0.0.0.0/0, '::/0']\n"
    );
    fs::write(config.path(), text).expect("written");
    let args = ["--config", &config.path().to_string_lossy()];
    let other = service(2, &PORTS.replace("30080", "30081")).replace("198.51.100.7", "198.51.100.8");
    let manifests = [("web", web()), ("slices", slices(1, &[0])), ("other", other), ("others", slices(2, &[2]))];
    let scene = Scene::with_args(PODS, &manifests, &args);
    let flows = flows(&scene, "pod0");
    let mut tcp = scene.lab.connect(CLIENT, "10.96.0.1:80", PATIENCE).expect("connected");
    let healthy = ["10.96.0.2:80", "[fd00:10:96::2]:80"].map(|to| scene.lab.udp_flow(CLIENT, to).expect("a socket"));
    // Passing through the node to a port that is a node port here, straight to a pod, and straight from a pod that leaves.
    let passing = format!("{}:30080", OUTSIDE[0]);
    let passing = [scene.lab.udp_flow(CLIENT, &passing), scene.lab.udp_flow(Place::Outside, "10.244.0.10:8080")];
    for flow in healthy.iter().chain(passing.iter().flatten()) {
        let _ = flow.ask(AT_ONCE);
    }
    let untouched = |scene: &Scene| {
        let of = |family, text: &str| entries(scene, family, text);
        let all = [
            of("ipv4", "tcp "),
            of("ipv4", "dst=10.96.0.2 "),
            of("ipv6", "dst=fd00:10:96::2 "),
            of("ipv4", &format!("dst={} sport", OUTSIDE[0]))
                .into_iter()
                .filter(|line| line.contains("dport=30080"))
                .collect(),
            of("ipv4", "dst=10.244.0.10 ").into_iter().filter(|line| line.contains("dport=8080")).collect(),
        ];
        let kept = |line: &String| !line.contains("127.0.0.1");
        all.map(|lines| lines.into_iter().filter(kept).collect::<Vec<_>>())
    };
    let before = untouched(&scene);
    assert!(before.iter().all(|lines| !lines.is_empty()), "{before:#?}");
    scene.write("slices", &slices(1, &[1]));
    all_become(&scene, &flows, Ok("pod1"));
    scene.remove("web");
    scene.wait_for("the flows to be gone", |scene| {
        entries(scene, "ipv4", "dst=10.96.0.1 ").iter().all(|l| l.starts_with("tcp"))
    });
    // A listing is no snapshot: while others are deleted it may show an entry twice or pass one over. What is gone stays gone.
    scene.wait_for("all of the others, ids and all", |scene| untouched(scene) == before);
    assert_eq!(tcp.ask().map(|answer| answer.name), Ok("pod0".to_owned()));
    for flow in &healthy {
        assert_eq!(flow.ask(PATIENCE).map(|answer| answer.name), Ok("pod2".to_owned()));
    }
}

#[test]
fn a_restart_loses_no_flow_but_those_that_went_stale_meanwhile() {
    if !netns::is_possible() {
        return;
    }
    let mut scene = scene(&[0]);
    let flows = flows(&scene, "pod0");
    let udp = |scene: &Scene| {
        let of = |family| entries(scene, family, "udp ").into_iter().filter(|line| line.contains("sport=8080"));
        of("ipv4").chain(of("ipv6")).collect::<Vec<_>>()
    };
    let before = udp(&scene);
    assert_eq!(before.len(), flows.len());
    scene.stop();
    scene.start();
    let looks = "kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv4\"}";
    scene.wait_for("the first look", |scene| scene.metric(looks) >= 1.0);
    let looks = looks.replace("IPv4", "IPv6");
    scene.wait_for("the first look", |scene| scene.metric(&looks) >= 1.0);
    assert_eq!(udp(&scene), before, "ids and all");
    all_become(&scene, &flows, Ok("pod0"));
    scene.stop();
    scene.write("slices", &slices(1, &[1]));
    scene.start();
    all_become(&scene, &flows, Ok("pod1"));
}

/// Writes an entry into the node's conntrack table: from a client's port to a cluster IP's port 80, answered by a pod.
fn insert(scene: &Scene, protocol: &str, [from, to]: [&str; 2], answers: &str, more: &[&str]) {
    let client = pod(3)[0].to_string();
    let there = ["-s", &client, "-d", to, "--sport", from, "--dport", "80"];
    let back = ["-r", answers, "-q", &client, "--reply-port-src", "8080", "--reply-port-dst", from];
    let args = [&["-I", "-p", protocol, "-t", "600"], &there[..], &back[..], more].concat();
    let output = scene.lab.run("conntrack", &args).expect("conntrack runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn sctp_is_reconciled_too_and_other_zones_are_not() {
    if !netns::is_possible() {
        return;
    }
    let sctp =
        |port: u16| slices(1, &[0, 1]).replace("port: 8080, protocol: UDP", &format!("port: {port}, protocol: SCTP"));
    let web = service(1, "ports: [{name: t, port: 80, protocol: TCP}, {name: u, port: 80, protocol: SCTP}]\n");
    let scene = Scene::new(PODS, &[("web", web), ("slices", sctp(8080))]);
    let state = ["--state", "ESTABLISHED", "--orig-vtag", "1", "--reply-vtag", "2"];
    let [stale, healthy] = [pod(0)[0].to_string(), pod(1)[0].to_string()];
    insert(&scene, "sctp", ["4000", "10.96.0.1"], &stale, &state);
    insert(&scene, "sctp", ["4001", "10.96.0.9"], &stale, &state);
    insert(&scene, "sctp", ["4000", "10.96.0.1"], &stale, &[&state[..], &["-w", "5"]].concat());
    insert(&scene, "tcp", ["4000", "10.96.0.1"], &stale, &["--state", "ESTABLISHED"]);
    let ours = |scene: &Scene| entries(scene, "ipv4", "sport=400");
    assert_eq!(ours(&scene).len(), 4);
    let gone = |scene: &Scene| {
        !ours(scene)
            .iter()
            .any(|line| line.contains("sctp") && line.contains("dst=10.96.0.1 ") && !line.contains("zone"))
    };
    scene.write("slices", &sctp(8080).replace(&stale, "10.244.0.99"));
    scene.wait_for("the association to be gone", gone);
    assert_eq!(ours(&scene).len(), 3);
    insert(&scene, "sctp", ["4000", "10.96.0.1"], &healthy, &state);
    scene.write("slices", &sctp(8080).replace(&stale, "10.244.0.98"));
    let looks = "kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv4\"}";
    scene.wait_for("another look", |scene| scene.metric(looks) >= 3.0);
    assert_eq!(ours(&scene).len(), 4, "the healthy one stays");
    scene.write("slices", &sctp(8081));
    scene.wait_for("the association to the old port to be gone", gone);
    assert_eq!(ours(&scene).len(), 3);
}

#[test]
fn many_stale_flows_go_in_bounded_memory_and_the_others_stay() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(&[0, 1]);
    let send = || {
        for port in 10_000..50_000u16 {
            let socket = UdpSocket::bind(("0.0.0.0", port)).expect("a free port");
            socket.send_to(b"?\n", "10.96.0.1:80").expect("sent");
        }
    };
    scene.lab.space(CLIENT).run(send).expect("the client runs");
    // Told apart by who answers: the reply's source.
    let to = |at: usize| {
        entries(&scene, "ipv4", &format!("src={} ", pod(at)[0])).into_iter().filter(|l| l.starts_with("udp")).collect()
    };
    let [stale, healthy]: [Vec<String>; 2] = [to(0), to(1)];
    assert_eq!(stale.len() + healthy.len(), 40_000);
    let most = || {
        let id = scene.proxy.as_ref().expect("a proxy").id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")
    };
    let before = most();
    scene.write("slices", &slices(1, &[1]));
    let deleted = "kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"}";
    scene.wait_for("the flows to be gone", |scene| scene.metric(deleted) >= stale.len() as f64);
    assert_eq!(to(0), Vec::<String>::new());
    assert_eq!(to(1), healthy);
    // 20,000 flows kept would be 2 MB.
    assert!(most() - before < 1500, "grew from {before} kB to {} kB", most());
}

#[test]
fn without_the_capability_the_reconciler_ends_and_nobody_waits_for_it() {
    if !netns::is_possible() {
        return;
    }
    let space = netns::Netns::new("flows");
    space.enter(|| {
        let mut sets = capabilities(None).expect("capabilities");
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).expect("dropped in this thread, and in those it starts");
        let conntrack = Conntrack::start(|_, _, _| panic!("it cannot have looked")).expect("a thread");
        let port = PortFlows {
            family: Family::V4,
            frontends: vec![Frontend::NodePort(Protocol::Udp, 30053)],
            endpoints: BTreeSet::new(),
        };
        let services = vec![(ObjectName::new("default", "dns"), vec![port])];
        conntrack.announce(Announcement { services: services.clone(), scope: None });
        conntrack.settle(Family::V4);
        let end = Instant::now() + PATIENCE;
        while conntrack.is_on() {
            assert!(Instant::now() < end, "it goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
        conntrack.announce(Announcement { services, scope: None });
        conntrack.settle(Family::V4);
    });
}
