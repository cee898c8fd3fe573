//! Rung 5: what others do to our tables is seen and repaired, long before the periodic audit would look.

mod support;

use std::collections::BTreeSet;

use support::lab::{PATIENCE, Place};
use support::netns;
use support::scene::{PORTS, Scene, service, slices};

const PODS: usize = 3;
const CLIENT: Place = Place::Pod(2);
const FRONT: &str = "10.96.0.1:80";

fn scene() -> Option<Scene> {
    let web = [("web", service(1, PORTS)), ("slices", slices(1, &[0, 1]))];
    netns::is_possible().then(|| Scene::new(PODS, &web))
}

fn assert_serves(scene: &Scene, after: &str) {
    let names = (0..30).map(|_| scene.lab.tcp(CLIENT, FRONT, PATIENCE).map(|answer| answer.name));
    let names: BTreeSet<String> = names.collect::<Result<_, _>>().unwrap_or_else(|e| panic!("after {after}: {e}"));
    assert_eq!(names, BTreeSet::from(["pod0".to_owned(), "pod1".to_owned()]), "after {after}");
}

fn repairs(scene: &Scene, kind: &str) -> f64 {
    scene.metric(&format!("ferroproxy_drift_repairs_total{{kind=\"{kind}\"}}"))
}

/// Breaks something, and waits until it is noticed as this kind and repaired.
fn break_and_wait(scene: &Scene, kind: &str, breakage: &str) {
    let before = repairs(scene, kind);
    scene.lab.nft(breakage).unwrap_or_else(|e| panic!("{breakage}: {e}"));
    scene.wait_for(&format!("{kind} to be repaired after {breakage}"), |scene| repairs(scene, kind) > before);
    scene.settle();
    assert_eq!(scene.metric("ferroproxy_drift_objects "), 0.0);
    assert_serves(scene, breakage);
}

#[test]
fn whatever_others_break_is_noticed_by_its_kind_and_repaired() {
    let Some(scene) = scene() else { return };
    let breakages = [
        ("table", "flush ruleset"),
        ("table", "delete table ip6 ferroproxy"),
        ("rules", "flush chain ip ferroproxy KUBE-SERVICES"),
        ("rules", "add rule ip ferroproxy KUBE-SVC-2 drop"),
        ("rules", "insert rule ip ferroproxy KUBE-SERVICES ip saddr { 10.244.0.12, 10.244.0.99 } drop"),
        ("chain", "add chain ip ferroproxy stranger"),
        ("chain", "add chain ip ferroproxy stranger { type filter hook forward priority 0; policy drop; }"),
        ("chain", "chain ip ferroproxy nat-prerouting { policy drop; }"),
        ("chain", "flush chain ip ferroproxy nat-output; delete chain ip ferroproxy nat-output"),
        ("set", "add set ip ferroproxy stranger { type ipv4_addr; }"),
        ("elements", "flush map ip ferroproxy endpoints"),
        ("elements", "delete element ip ferroproxy services { 10.96.0.1 . tcp . 80 }"),
        ("elements", "add element ip ferroproxy cluster-ips { 10.96.0.77 }"),
        ("flags", "add table ip ferroproxy { flags dormant; }"),
    ];
    assert_serves(&scene, "the start");
    for (kind, breakage) in breakages {
        break_and_wait(&scene, kind, breakage);
    }
    let log = scene.proxy.as_ref().expect("a proxy").log();
    for words in ["table ferroproxy: is gone", "chain stranger: is none of ours", "-10.96.0.77", "has other flags"] {
        assert!(log.contains(words), "the log says {words}:\n{log}");
    }
}

#[test]
fn an_element_changed_with_all_counts_as_they_were_is_noticed() {
    let Some(scene) = scene() else { return };
    let swap = "delete element ip ferroproxy endpoints { 10.96.0.1 . tcp . 80 . 0 }\n\
                add element ip ferroproxy endpoints { 10.96.0.1 . tcp . 80 . 0 : 10.244.0.250 . 8080 }";
    break_and_wait(&scene, "elements", swap);
    let log = scene.proxy.as_ref().expect("a proxy").log();
    assert!(log.contains("-10.96.0.1 . tcp . 80 . 0 : 10.244.0.250 . 8080, +10.96.0.1"), "{log}");
}

#[test]
fn a_firewall_that_reloads_everything_costs_one_repair_and_its_own_rules_stay() {
    let Some(scene) = scene() else { return };
    let reload = "flush ruleset\nadd table inet firewalld\nadd chain inet firewalld filter_INPUT { type filter hook input priority 10; }\n\
                  add rule inet firewalld filter_INPUT ct state established accept";
    break_and_wait(&scene, "table", reload);
    let rules = scene.lab.nft_ruleset().expect("listed");
    assert!(rules.contains("firewalld") && rules.contains("ferroproxy"), "{rules}");
}

#[test]
fn what_others_do_in_their_own_tables_is_no_drift() {
    let Some(scene) = scene() else { return };
    let audits = scene.metric("ferroproxy_audits_total ");
    scene.lab.nft("add table inet other").expect("loaded");
    scene.wait_for("the comparison", |scene| scene.metric("ferroproxy_audits_total ") > audits);
    for kind in ["table", "flags", "chain", "rules", "set", "elements"] {
        assert_eq!(repairs(&scene, kind), 0.0, "{kind}");
    }
    let log = scene.proxy.as_ref().expect("a proxy").log();
    assert!(!log.contains("somebody else changed"), "{log}");
}

fn owned_scene() -> Option<Scene> {
    let web = [("web", service(1, PORTS)), ("slices", slices(1, &[0, 1]))];
    let args = ["--cluster-cidr", support::scene::CLUSTER_CIDR, "--own-tables"];
    netns::is_possible().then(|| Scene::with_args(PODS, &web, &args))
}

fn kernel_protects(scene: &Scene) -> bool {
    let log = scene.proxy.as_ref().expect("a proxy").log();
    let can = log.contains("nobody else can change our tables");
    assert_ne!(can, log.contains("this kernel cannot protect our tables"), "one line tells which:\n{log}");
    can
}

#[test]
fn an_owned_table_outlives_a_flush_and_refuses_everybody_else() {
    let Some(mut scene) = owned_scene() else { return };
    if !kernel_protects(&scene) {
        break_and_wait(&scene, "table", "flush ruleset");
        return;
    }
    scene.lab.nft("flush ruleset").expect("it passes our tables over");
    assert_serves(&scene, "a flush");
    assert!(scene.lab.nft("add rule ip ferroproxy KUBE-SERVICES drop").is_err());
    assert!(scene.lab.nft("delete table ip ferroproxy").is_err());
    assert_eq!(scene.diff(), (Some(0), String::new()), "others can still compare");
    scene.write("slices", &slices(1, &[1]));
    scene.settle();
    scene.stop();
    assert!(scene.lab.nft_ruleset().expect("listed").contains("KUBE-SERVICES"), "the rules stay");
    scene.start();
    assert!(kernel_protects(&scene) && scene.metric("ferroproxy_commit_operations_total ") <= 2.0, "adopted");
    assert!(scene.lab.nft("delete table ip ferroproxy").is_err(), "and owned again");
    scene.stop();
    assert_eq!(scene.ferroproxy(&["cleanup"]).0, Some(0));
}

#[test]
fn tables_that_were_free_become_owned_and_owned_ones_free_again() {
    let Some(mut scene) = scene() else { return };
    let connection = scene.lab.connect(CLIENT, FRONT, PATIENCE).expect("a connection");
    for more in [&["--own-tables"][..], &[]] {
        scene.stop();
        scene.args(&[&["--cluster-cidr", support::scene::CLUSTER_CIDR], more].concat());
        scene.start();
        scene.settle();
        assert_serves(&scene, &format!("a start with {more:?}"));
    }
    drop(connection);
    scene.lab.nft("delete table ip ferroproxy").expect("free again");
    scene.settle();
}

#[test]
fn no_connection_is_lost_while_one_process_takes_over_from_another() {
    for args in [&[][..], &["--own-tables"]] {
        let Some(mut scene) = scene() else { return };
        scene.args(&[&["--cluster-cidr", support::scene::CLUSTER_CIDR], args].concat());
        let pace = std::time::Duration::from_millis(2);
        let asking = scene.lab.keep_asking(CLIENT, FRONT, pace, PATIENCE).expect("a client");
        for _ in 0..3 {
            scene.stop();
            scene.start();
            asking.wait_for_more(20, PATIENCE).expect("connections");
        }
        let tally = asking.stop().expect("a tally");
        assert_eq!(tally.failed(), 0, "{args:?}: {tally}");
    }
}
