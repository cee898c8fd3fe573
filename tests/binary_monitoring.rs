//! Rung 6: the Grafana dashboard and the Prometheus alert rules ask for what a running ferroproxy serves.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use support::daemon::{Daemon, namespace};
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

fn scrape() -> BTreeMap<String, BTreeSet<String>> {
    let netns = namespace("board");
    let demo = path("demo").to_string_lossy().into_owned();
    let daemon = Daemon::start(&netns, &["run", "--manifests", &demo, "--hostname-override", "demo-node"]);
    daemon.wait_ready();
    scraped(&daemon.get(10249, "/metrics").1)
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
    let served = scrape();
    let expressions = expressions();
    assert!(expressions.len() > 30, "alerts and panels are found");
    for (place, expression) in expressions {
        let asked = series(&expression);
        assert!(!asked.is_empty(), "{place} asks for nothing: {expression}");
        for (name, labels) in asked.iter().filter(|(name, _)| *name != "up") {
            let Some(known) = served.get(name) else { panic!("{place}: no series is called {name}") };
            for label in labels.iter().filter(|label| !OF_THE_TARGET.contains(&label.as_str())) {
                assert!(known.contains(label), "{place}: {name} has no label {label}");
            }
        }
    }
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
