//! Rung 5: node ports answer on the addresses that are really on the node's interfaces.

mod support;

use support::lab::{AT_ONCE, NODE, PATIENCE, Place};
use support::netns;
use support::scene::{CLUSTER_CIDR, Scene, service, slices};

const NODE_PORT: &str = "type: NodePort\nports: [{name: t, port: 80, nodePort: 30080}]";
/// What the node has: 192.0.2.10 and 2001:db8::10; what it may get: 198.51.100.1 and 2001:db8:9::1.
const CIDRS: &str = "198.51.100.0/24,127.0.0.0/8,2001:db8:9::/64,::1/128";
const LATER: [&str; 2] = ["198.51.100.1:30080", "[2001:db8:9::1]:30080"];

fn scene(cidrs: &str) -> Scene {
    let manifests = [("web", service(1, NODE_PORT)), ("slices", slices(1, &[0]))];
    Scene::with_args(2, &manifests, &["--cluster-cidr", CLUSTER_CIDR, "--nodeport-addresses", cidrs])
}

fn answers(scene: &Scene, from: Place, to: &str) -> bool {
    scene.lab.tcp(from, to, AT_ONCE).is_ok()
}

fn ip(scene: &Scene, lines: &str) {
    scene.lab.space(Place::Node).ip(lines).expect("ip does it");
}

#[test]
fn an_address_that_comes_answers_node_ports_and_one_that_goes_stops() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene(CIDRS);
    let own = NODE.map(|ip| std::net::SocketAddr::new(ip, 30080).to_string());
    for to in own.iter().map(String::as_str).chain(LATER) {
        assert!(!answers(&scene, Place::Outside, to), "{to} was not chosen, or is not there");
    }
    for _ in 0..2 {
        ip(&scene, "addr add 198.51.100.1/24 dev eth0\naddr add 2001:db8:9::1/64 dev eth0 nodad");
        for to in LATER {
            scene.wait_for(to, |scene| answers(scene, Place::Outside, to));
            assert!(scene.lab.tcp(Place::Pod(1), to, PATIENCE).is_ok(), "{to} from a pod");
        }
        assert_eq!(scene.diff(), (Some(0), String::new()), "diff asks the kernel for the addresses too");
        ip(&scene, "addr del 198.51.100.1/24 dev eth0\naddr del 2001:db8:9::1/64 dev eth0");
        scene.wait_for("the rules to forget the addresses", |scene| {
            let rules = scene.lab.nft_ruleset().expect("listed");
            !rules.contains("198.51.100.1") && !rules.contains("2001:db8:9::1")
        });
        for to in LATER {
            assert!(!answers(&scene, Place::Outside, to), "{to} is gone");
        }
    }
    assert!(own.iter().all(|to| !answers(&scene, Place::Outside, to)), "none of them was ever chosen");
    for loopback in ["127.0.0.1:30080", "[::1]:30080"] {
        assert!(!answers(&scene, Place::Node, loopback), "{loopback} never answers");
    }
}

#[test]
fn a_family_nobody_spoke_of_is_open() {
    if !netns::is_possible() {
        return;
    }
    let scene = scene("192.0.2.0/24");
    ip(&scene, "addr add 198.51.100.1/24 dev eth0");
    for (to, wanted) in NODE
        .map(|ip| (std::net::SocketAddr::new(ip, 30080).to_string(), true))
        .into_iter()
        .chain([(LATER[0].to_owned(), false)])
    {
        assert_eq!(answers(&scene, Place::Outside, &to), wanted, "{to}");
    }
}
