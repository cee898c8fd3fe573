//! Rung 5: who is local to the cluster, and what is masqueraded, seen by the server that is reached.

mod support;

use std::net::IpAddr;
use std::path::Path;

use support::lab::{OUTSIDE, PATIENCE, Place, Proxy, pod};
use support::netns;
use support::scene::{BINARY, CLUSTER_CIDR, NODE_NAME, PORTS, Scene, node, service, slices};

const FRONT: [&str; 2] = ["10.96.0.1:80", "[fd00:10:96::1]:80"];
/// Pod 0 serves; these only ask.
const PODS: [usize; 2] = [1, 2];

fn scene(args: &[&str]) -> Scene {
    Scene::with_args(3, &[("web", service(1, PORTS)), ("slices", slices(1, &[0]))], args)
}

fn seen(scene: &Scene, from: Place, family: usize) -> IpAddr {
    scene.lab.tcp(from, FRONT[family], PATIENCE).unwrap_or_else(|e| panic!("{from:?} {}: {e}", FRONT[family])).client
}

/// Pods keep their address; who is outside the cluster does not.
fn expect(scene: &Scene, local: [bool; 2], outside_is_local: bool, what: &str) {
    for family in [0, 1] {
        for (index, is_local) in PODS.into_iter().zip(local) {
            let kept = seen(scene, Place::Pod(index), family) == pod(index)[family];
            assert_eq!(kept, is_local, "{what}: pod{index} over {}", FRONT[family]);
        }
        let kept = seen(scene, Place::Outside, family) == OUTSIDE[family];
        assert_eq!(kept, outside_is_local, "{what}: from outside over {}", FRONT[family]);
    }
}

#[test]
fn by_cluster_cidr_the_pods_are_local_and_masquerade_all_spares_nobody() {
    if !netns::is_possible() {
        return;
    }
    expect(&scene(&["--cluster-cidr", CLUSTER_CIDR]), [true, true], false, "ClusterCIDR");
    expect(&scene(&["--cluster-cidr", CLUSTER_CIDR, "--masquerade-all"]), [false, false], false, "masqueradeAll");
}

#[test]
fn by_interface_those_who_come_in_by_it_are_local() {
    if !netns::is_possible() {
        return;
    }
    // The lab's pods come in by pod0, pod1 and so on.
    let prefix = ["--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix"];
    expect(&scene(&[&prefix[..], &["pod"]].concat()), [true, true], false, "the pods' prefix");
    expect(&scene(&[&prefix[..], &["eth"]].concat()), [false, false], true, "the outside's prefix");
    let bridge = ["--detect-local-mode", "BridgeInterface", "--pod-bridge-interface", "pod1"];
    expect(&scene(&bridge), [true, false], false, "one interface, not its prefix");
}

#[test]
fn without_a_detector_cluster_ips_are_never_masqueraded() {
    if !netns::is_possible() {
        return;
    }
    // The way back to the client outside leads over the node, so the answer arrives.
    expect(&scene(&[]), [true, true], true, "no detector");
}

#[test]
fn by_node_cidr_nothing_is_written_before_the_node_has_its_networks() {
    if !netns::is_possible() {
        return;
    }
    let manifests = [("web", service(1, PORTS)), ("slices", slices(1, &[0]))];
    let mut scene = Scene::laid(3, &manifests, &[]);
    let dir = scene.dir.path().to_string_lossy().into_owned();
    let mut args =
        vec!["run", "--manifests", &dir, "--hostname-override", NODE_NAME, "--detect-local-mode", "NodeCIDR"];
    args.extend(["--healthz-bind-address", "127.0.0.1:10256"]);
    scene.proxy = Some(Proxy::spawn(&scene.lab, Path::new(BINARY), &args).expect("it starts"));
    let pending = |scene: &Scene, count: usize| {
        let metric = format!("kubeproxy_sync_proxy_rules_service_changes_pending {count}\n");
        scene.lab.http_get("127.0.0.1:10249", "/metrics").is_ok_and(|(_, text)| text.contains(&metric))
    };
    scene.wait_for("the first Service to wait", |scene| pending(scene, 1));
    scene.write("more", &service(2, PORTS));
    scene.wait_for("the second to wait with it", |scene| pending(scene, 2));
    assert_eq!(scene.lab.nft_ruleset().expect("listed"), "", "nothing is written");
    assert_eq!(scene.lab.http_get("127.0.0.1:10256", "/healthz").expect("an answer").0, 503);
    // pod2 is of another node.
    scene.write(
        "node",
        &node().replace("status:", "spec: {podCIDRs: [10.244.0.10/31, 'fd00:10:244::10/127']}\nstatus:"),
    );
    scene.wait_for("/healthz to answer 200", |scene| {
        scene.lab.http_get("127.0.0.1:10256", "/healthz").is_ok_and(|(status, _)| status == 200)
    });
    expect(&scene, [true, false], false, "NodeCIDR");
}

#[test]
fn another_bit_is_used_when_told_and_other_bits_of_the_mark_survive() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(&["--cluster-cidr", CLUSTER_CIDR, "--masquerade-bit", "20"]);
    // Someone else's mark on all that comes in, ours included where it would be by default; counted when it leaves.
    let other = "table inet other {\n counter kept { }\n counter lost { }\n chain pre { type filter hook prerouting priority -300; ip daddr 10.96.0.1 meta mark set 0x5001\n }\n \
                 chain post { type filter hook postrouting priority 300; tcp dport 8080 meta mark 0x5001 counter name kept\n \
                 tcp dport 8080 meta mark != 0x5001 counter name lost\n }\n}\n";
    scene.lab.nft(other).expect("loaded");
    assert_eq!(seen(&scene, Place::Pod(1), 0), pod(1)[0], "bit 14 is nobody's: a pod is not masqueraded for it");
    assert_ne!(seen(&scene, Place::Outside, 0), OUTSIDE[0]);
    let counted = |name| {
        let output = scene.lab.run("nft", &["list", "counter", "inet", "other", name]).expect("it runs");
        !String::from_utf8_lossy(&output.stdout).contains("packets 0 ")
    };
    assert!(counted("kept"), "the bits of others stay");
    assert!(!counted("lost"), "and ours is cleared");
}
