//! Rung 6: the Grafana dashboard and the Prometheus alert rules ask for what a running ferroproxy serves.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use support::daemon::{Daemon, namespace};
use support::kube_proxy::has_iptables;
use support::manifests::{file, path, program, word};
use support::netns;
use support::promql::{scraped, series};
use tempfile::TempDir;

/// Labels that Prometheus adds to every target.
const OF_THE_TARGET: &[&str] = &["instance", "job", "node"];

fn rules() -> Value {
    file("monitoring/alerts.yaml").remove(0)
}

fn dashboard() -> Value {
    let text = fs::read_to_string(path("monitoring/dashboard.json")).expect("readable");
    serde_json::from_str(&text).expect("JSON")
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// Every expression, with where it stands.
fn expressions() -> Vec<(String, String)> {
    let (rules, dashboard) = (rules(), dashboard());
    let alerts = list(&rules, "/spec/groups").flat_map(|group| list(group, "/rules"));
    let mut all: Vec<_> =
        alerts.map(|rule| (word(rule, "/alert").to_owned(), word(rule, "/expr").to_owned())).collect();
    for panel in list(&dashboard, "/panels") {
        let title = word(panel, "/title");
        all.extend(list(panel, "/targets").map(|target| (title.to_owned(), word(target, "/expr").to_owned())));
    }
    all
}

/// What is served in this mode, once `until` is.
fn scrape(mode: &str, until: &str) -> BTreeMap<String, BTreeSet<String>> {
    let netns = namespace("board");
    let demo = path("demo").to_string_lossy().into_owned();
    let args = ["run", "--manifests", &demo, "--hostname-override", "demo-node", "--count-connections"];
    let daemon = Daemon::start(&netns, &[&args[..], &["--proxy-mode", mode]].concat());
    daemon.wait_ready();
    let metrics = || daemon.get(10249, "/metrics").1;
    daemon.wait_for(until, || metrics().contains(until));
    scraped(&metrics())
}

/// What is served in any mode that can run here.
fn served() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = scrape("nftables", "ferroproxy_service_new_connections_total{");
    if has_iptables() {
        all.extend(scrape("iptables", "kubeproxy_sync_proxy_rules_iptables_total{"));
    } else {
        eprintln!("\n*** NOT RUN in part: no iptables here, its panels are not held against a scrape ***\n");
    }
    all
}

/// The labels an expression groups by.
fn grouping(expression: &str) -> BTreeSet<&str> {
    let lists = expression.split(" by (").skip(1).filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|label| *label != "le").collect()
}

#[test]
fn the_reader_finds_series_and_their_labels() {
    let text = r#"histogram_quantile(0.9, sum by (le, x) (rate(a_bucket{i=~"$i", code!="200"}[5m]))) / on (z) b:c > 1e3 and up{job="(d)"}"#;
    let found = series(text);
    let expected = [("a_bucket", &["code", "i"][..]), ("b:c", &[]), ("up", &["job"])];
    let set = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(found, expected.into_iter().map(|(name, labels)| (name.to_owned(), set(labels))).collect());
}

#[test]
fn every_series_and_label_asked_for_is_served() {
    if !netns::is_possible() {
        return;
    }
    let served = served();
    let expressions = expressions();
    assert!(expressions.len() > 30, "alerts and panels are found");
    for (place, expression) in expressions {
        let asked = series(&expression);
        assert!(!asked.is_empty(), "{place} asks for nothing: {expression}");
        for (name, labels) in asked.iter().filter(|(name, _)| *name != "up") {
            if name.contains("iptables") && !has_iptables() {
                continue;
            }
            let Some(known) = served.get(name) else { panic!("{place}: no series is called {name}") };
            for label in labels
                .iter()
                .map(String::as_str)
                .chain(grouping(&expression))
                .filter(|label| !OF_THE_TARGET.contains(label))
            {
                assert!(known.contains(label), "{place}: {name} has no label {label}");
            }
        }
    }
}

/// What nobody draws, nobody sees: a metric is on the dashboard, or an alert speaks of it, or it is named here.
#[test]
fn every_metric_of_ours_is_drawn_or_alerted_upon() {
    let asked: BTreeSet<String> =
        expressions().iter().flat_map(|(_, expression)| series(expression)).map(|(name, _)| name).collect();
    let reference = fs::read_to_string(path("../docs/metrics.md")).expect("readable");
    let names = reference.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    // The one is a count behind seconds that are drawn; full and partial syncs are drawn apart; the last is for a leak hunt.
    let elsewhere = [
        "ferroproxy_iptables_lock_waits_total",
        "kubeproxy_sync_proxy_rules_duration_seconds",
        "process_virtual_memory_bytes",
    ];
    let is_asked = |name: &str| ["", "_bucket", "_count"].iter().any(|end| asked.contains(&format!("{name}{end}")));
    let unseen: Vec<&str> = names.filter(|name| !is_asked(name) && !elsewhere.contains(name)).collect();
    assert_eq!(unseen, [""; 0]);
}

#[test]
fn each_alert_says_how_bad_it_is_and_what_to_do() {
    let rules = rules();
    let alerts: Vec<&Value> = list(&rules, "/spec/groups").flat_map(|group| list(group, "/rules")).collect();
    let names: BTreeSet<&str> = alerts.iter().map(|rule| word(rule, "/alert")).collect();
    assert_eq!(names.len(), alerts.len(), "no name twice");
    for rule in alerts {
        let name = word(rule, "/alert");
        assert!(["critical", "warning", "info"].contains(&word(rule, "/labels/severity")), "{name}");
        assert!(
            word(rule, "/annotations/summary").len() > 10 && word(rule, "/annotations/description").len() > 10,
            "{name}"
        );
    }
}

#[test]
fn panels_stand_beside_each_other_and_have_numbers_of_their_own() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in list(&dashboard, "/panels") {
        let at = |field: &str| panel["gridPos"][field].as_u64().expect("a number");
        assert!(ids.insert(panel["id"].as_u64()), "{}", panel["title"]);
        assert!(at("x") + at("w") <= 24);
        for place in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{} lies on another", panel["title"]);
        }
    }
}

#[test]
fn promtool_accepts_the_rules_and_they_fire() {
    let dir = TempDir::new().expect("a directory");
    let rules = support::daemon::write(dir.path(), "alerts.json", &rules()["spec"].to_string());
    let tests = fs::read_to_string(path("monitoring/alerts_test.yaml")).expect("readable");
    let tests = support::daemon::write(dir.path(), "tests.yaml", &tests);
    let Some(said) = program("promtool", &["check", "rules", &rules]) else { return };
    assert!(said.contains("SUCCESS"), "{said}");
    program("promtool", &["test", "rules", &tests]);
}
