//! Rung 5: `diff` and `run --dry-run` in iptables mode, beside a real kernel.

mod support;

use std::path::Path;

use support::kube_proxy::{Style, has_iptables, restore, saved};
use support::lab::Proxy;
use support::netns;
use support::scene::{BINARY, CLUSTER_CIDR, NODE_NAME, PORTS, Scene, service, slices};

const STYLE: Style = Style::IptablesNft;
const MODE: [&str; 4] = ["--proxy-mode", "iptables", "--cluster-cidr", CLUSTER_CIDR];

/// Manifests, and nothing in the kernel but what kubelet leaves.
fn laid() -> Option<Scene> {
    if !netns::is_possible() || !has_iptables() {
        return None;
    }
    let scene = Scene::laid(2, &[("web", service(1, PORTS)), ("slices", slices(1, &[0]))], &MODE);
    let kubelets = "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n";
    (0..2).for_each(|family| restore(&scene.lab, STYLE, family, kubelets));
    Some(scene)
}

fn arguments(scene: &Scene, command: &[&str]) -> Vec<String> {
    let dir = scene.dir.path().to_string_lossy().into_owned();
    let args = [command, &["--manifests", &dir, "--hostname-override", NODE_NAME], &MODE].concat();
    args.into_iter().map(str::to_owned).collect()
}

fn run(scene: &Scene, command: &[&str]) -> (Option<i32>, String) {
    let args = arguments(scene, command);
    scene.ferroproxy(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

fn chains(scene: &Scene) -> [Vec<String>; 2] {
    [0, 1].map(|family| saved(&scene.lab, STYLE, family))
}

/// Exit code, whether something differs, and what iptables-restore would be told.
fn difference(scene: &Scene) -> (Option<i32>, bool, String) {
    let (code, text) = run(scene, &["diff", "--output", "json"]);
    let told: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let transaction = told["transaction"].as_str().expect("a text").to_owned();
    (code, told["different"].as_bool().expect("yes or no"), transaction)
}

#[test]
fn diff_says_in_json_what_would_be_restored_and_restoring_it_leaves_no_difference() {
    let Some(scene) = laid() else { return };
    let before = chains(&scene);
    let (code, different, transaction) = difference(&scene);
    assert_eq!((code, different), (Some(1), true), "{transaction}");
    assert_eq!(run(&scene, &["diff"]), (Some(1), transaction.clone()), "the text says the same");
    assert_eq!(chains(&scene), before, "it only looks");
    let (v4, v6) = transaction.split_once("# ip6tables-restore --noflush\n").expect("a part for each family");
    assert!(v4.starts_with("# iptables-restore --noflush\n*filter\n"), "{v4}");
    for (family, text) in [v4, v6].into_iter().enumerate() {
        restore(&scene.lab, STYLE, family, text);
    }
    assert_eq!(difference(&scene), (Some(0), false, String::new()));
    // One endpoint more: what changes and nothing else.
    scene.write("slices", &slices(1, &[0, 1]));
    let (code, different, transaction) = difference(&scene);
    assert_eq!((code, different), (Some(1), true));
    assert!(transaction.contains("--to-destination 10.244.0.11:8080"), "{transaction}");
    assert!(!transaction.contains("*filter") && !transaction.contains(":KUBE-SERVICES"), "{transaction}");
}

#[test]
fn a_dry_run_follows_and_tells_and_writes_nothing() {
    let Some(mut scene) = laid() else { return };
    let before = chains(&scene);
    let (code, told) = run(&scene, &["run", "--dry-run", "--once"]);
    assert_eq!(code, Some(0), "{told}");
    for part in [": IPv4\n*filter\n", ": IPv4\n*nat\n", ": IPv6\n*nat\n", ":FERROPROXY-HINT - [0:0]\n"] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
    let args = arguments(&scene, &["run", "--dry-run", "--iptables-min-sync-period", "1ms"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let dry = Proxy::spawn(&scene.lab, Path::new(BINARY), &args).expect("it starts");
    let count = |what: &str| dry.log().matches(what).count();
    scene.wait_for("the first transaction", |_| count("*mangle") == 2);
    scene.write("slices", &slices(1, &[0, 1]));
    scene.wait_for("the second endpoint", |_| dry.log().contains("--to-destination [fd00:10:244::11]:8080"));
    assert_eq!((count("*mangle"), count(": IPv4\n*nat")), (2, 2), "{}", dry.log());
    assert_eq!(chains(&scene), before);
    assert!(dry.stop().expect("it ends").success());
    // Beside rules that are right there is nothing to tell.
    scene.start();
    scene.settle();
    assert_eq!(run(&scene, &["run", "--dry-run", "--once"]), (Some(0), String::new()));
}
