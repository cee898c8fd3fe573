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
