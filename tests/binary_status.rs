//! Rung 6: what a running process tells of itself, what it would do, and that there is only one.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::daemon::{Daemon, ferroproxy, namespace, write};
use support::netns::{self, Netns};
use tempfile::TempDir;

const WEB: &str =
    "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n";
const SLICE: &str = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-1\n  labels: {kubernetes.io/service-name: web}\n\
                     addressType: IPv4\nports: [{port: 8080}]\nendpoints: [{addresses: [10.1.0.1]}]\n";

struct Place {
    netns: Netns,
    dir: TempDir,
}

impl Place {
    fn new() -> Option<Place> {
        let place = netns::is_possible().then(|| Place { netns: namespace("stat"), dir: TempDir::new().unwrap() })?;
        fs::create_dir_all(place.dir.path().join("manifests")).unwrap();
        place.put("web", &format!("{WEB}---\n{SLICE}"));
        Some(place)
    }

    fn manifests(&self) -> String {
        self.dir.path().join("manifests").to_string_lossy().into_owned()
    }

    fn put(&self, name: &str, text: &str) {
        write(Path::new(&self.manifests()), &format!("{name}.yaml"), text);
    }

    fn run(&self, more: &[&str]) -> Daemon<'_> {
        let manifests = self.manifests();
        Daemon::start(&self.netns, &[&["run", "--manifests", &manifests, "--hostname-override", "n"], more].concat())
    }

    fn status(&self, more: &[&str]) -> (Option<i32>, Value) {
        let ended = ferroproxy(&self.netns, &[&["status", "--output", "json"], more].concat());
        (ended.code, serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}")))
    }
}

#[test]
fn status_tells_of_the_process_that_runs_here() {
    let Some(place) = Place::new() else { return };
    let nobody = ferroproxy(&place.netns, &["status"]);
    assert_eq!(nobody.code, Some(2));
    assert!(nobody.stderr.contains("@ferroproxy/admin"), "{}", nobody.stderr);
    let daemon = place.run(&[]);
    daemon.wait_ready();
    let (code, status) = place.status(&[]);
    assert_eq!((code, &status["ready"], &status["services"]), (Some(0), &true.into(), &1.into()));
    assert_eq!((&status["node"], &status["families"]["IPv4"]), (&"n".into(), &"in force".into()));
    assert!(status["lastSync"]["operations"].as_u64() > Some(10), "{status}");
    let services = status["maps"].as_array().unwrap().iter().find(|map| map["name"] == "services").unwrap();
    assert_eq!((&services["elements"], services["capacity"].as_u64() > Some(1)), (&1.into(), true));
    place.netns.nft_load("flush ruleset");
    daemon.wait_for("the repair", || place.status(&[]).1["drift"]["repaired"]["table"] == 2);
    let text = ferroproxy(&place.netns, &["status"]).stdout;
    for words in ["ready", "services    1,", "repaired so far: 2 table", "ip6 table ferroproxy: is gone", "of 1024"] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    let metrics = daemon.get(10249, "/metrics").1;
    assert!(metrics.contains("ferroproxy_map_elements{ip_family=\"IPv4\",map=\"services\"} 1"), "{metrics}");
}

#[test]
fn the_admin_endpoint_can_be_a_file_or_nothing_and_answers_root_only() {
    let Some(place) = Place::new() else { return };
    let socket = place.dir.path().join("run/admin.sock").to_string_lossy().into_owned();
    let daemon = place.run(&["--admin-socket", &socket]);
    daemon.wait_ready();
    assert_eq!(place.status(&["--admin-socket", &socket]).0, Some(0));
    assert_eq!(daemon.stop().code(), Some(0));
    let daemon = place.run(&["--admin-socket", &socket]);
    daemon.wait_ready();
    assert_eq!(place.status(&["--admin-socket", &socket]).0, Some(0), "a dead process's file is replaced");
    assert_eq!(daemon.stop().code(), Some(0));
    let daemon = place.run(&["--admin-socket", "none"]);
    daemon.wait_ready();
    assert_eq!(ferroproxy(&place.netns, &["status"]).code, Some(2));
    drop(daemon);
    let daemon = place.run(&[]);
    daemon.wait_ready();
    let nobody = ["--reuid", "65534", "--clear-groups", support::daemon::BINARY, "status"];
    let refused = support::daemon::program(&place.netns, "setpriv", &nobody);
    assert_ne!(refused.code, Some(0), "{refused:?}");
}

#[test]
fn a_dry_run_prints_what_it_would_commit_and_writes_nothing() {
    let Some(place) = Place::new() else { return };
    let manifests = place.manifests();
    let args = ["run", "--dry-run", "--once", "--manifests", &manifests, "--hostname-override", "n"];
    let ended = ferroproxy(&place.netns, &args);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("add element ip ferroproxy services"), "{}", ended.stdout);
    assert_eq!(place.netns.nft_list(), "");
    place.netns.nft_load(&ended.stdout);
    let again = ferroproxy(&place.netns, &args);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), ""), "the kernel holds it now");
    let before = place.netns.nft_list();
    let daemon = place.run(&["--dry-run"]);
    daemon.wait_log("tells what it would do");
    place.put("other", &WEB.replace("web", "other").replace("10.96.0.1", "10.96.0.2"));
    daemon.wait_log("this would be committed");
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(place.netns.nft_list(), before);
}

#[test]
fn a_second_process_says_who_runs_and_ends_and_takes_over_when_the_first_one_does() {
    let Some(place) = Place::new() else { return };
    let first = place.run(&[]);
    first.wait_ready();
    let cleanup = ferroproxy(&place.netns, &["cleanup"]);
    assert_eq!(cleanup.code, Some(2), "{cleanup:?}");
    assert!(cleanup.stderr.contains("another ferroproxy runs in this network namespace (pid "), "{}", cleanup.stderr);
    assert!(place.netns.nft_list().contains("10.96.0.1"));
    let mut second = place.run(&[]);
    second.wait_log("waiting for it to end");
    assert_eq!(second.ended().code(), Some(2), "{}", second.log());
    assert!(second.log().contains("stop it first"), "{}", second.log());
    let mut at_once = place.run(&["--wait-for-turn=0s"]);
    assert_eq!(at_once.ended().code(), Some(2), "{}", at_once.log());
    let third = place.run(&[]);
    third.wait_log("waiting for it to end");
    assert_eq!(first.stop().code(), Some(0));
    third.wait_ready();
    let elsewhere = namespace("stat2");
    let manifests = place.manifests();
    let other = Daemon::start(&elsewhere, &["run", "--manifests", &manifests]);
    other.wait_ready();
}

/// What an update with maxSurge does to a node: the new pod runs beside the old one, then the old one is told to stop.
#[test]
fn one_that_waits_for_ever_takes_over_when_the_other_ends_and_stops_when_told_to() {
    for more in [&[][..], &["--own-tables"]] {
        let Some(place) = Place::new() else { return };
        let first = place.run(more);
        first.wait_ready();
        let before = place.netns.nft_list();
        let args = [&["--wait-for-turn=forever"], more].concat();
        let mut impatient = place.run(&args);
        impatient.wait_log("waiting for it to end");
        let second = place.run(&args);
        second.wait_log("waiting for it to end");
        // As the first process of a container, a signal nobody waits for would not reach it.
        assert_eq!(impatient.tell_to_stop().code(), Some(0), "{}", impatient.log());
        assert!(impatient.log().contains("it was never its turn"), "{}", impatient.log());
        assert_eq!(place.netns.nft_list(), before);
        assert_eq!(first.stop().code(), Some(0));
        second.wait_ready();
        let rules = |listing: &str| listing.replace("flags owner,persist", "flags persist");
        assert_eq!(rules(&place.netns.nft_list()), rules(&before), "adopted as they were");
        place.put("other", &WEB.replace("web", "other").replace("10.96.0.1", "10.96.0.2"));
        second.wait_for("a change", || place.netns.nft_list().contains("10.96.0.2"));
        assert_eq!(second.stop().code(), Some(0));
    }
}

#[test]
fn diff_is_told_by_service_and_as_a_transaction() {
    let Some(place) = Place::new() else { return };
    let manifests = place.manifests();
    let run = ["run", "--once", "--manifests", &manifests, "--hostname-override", "n"];
    assert_eq!(ferroproxy(&place.netns, &run).code, Some(0));
    place.put("web", &format!("{WEB}---\n{}", SLICE.replace("10.1.0.1", "10.1.0.9")));
    place.put("other", &WEB.replace("web", "other").replace("10.96.0.1", "10.96.0.2"));
    let diff = |more: &[&str]| {
        let args = ["diff", "--manifests", &manifests, "--hostname-override", "n"];
        ferroproxy(&place.netns, &[&args, more].concat())
    };
    let text = diff(&[]);
    assert_eq!(text.code, Some(1));
    let (other, web) = text.stdout.split_once("service default/web\n").unwrap_or_else(|| panic!("{}", text.stdout));
    assert!(other.contains("service default/other\n") && other.contains("+  10.96.0.2 . tcp . 80"), "{other}");
    assert!(
        web.contains("-  10.96.0.1 . tcp . 80 . 0 : 10.1.0.1 . 8080\n+  10.96.0.1 . tcp . 80 . 0 : 10.1.0.9"),
        "{web}"
    );
    assert!(!web.contains("10.96.0.2") && !text.stdout.contains('\x1b'), "{}", text.stdout);
    let json: Value = serde_json::from_str(&diff(&["--output", "json"]).stdout).unwrap();
    let named: Vec<&Value> = json["services"].as_array().unwrap().iter().map(|group| &group["service"]).collect();
    assert!(named.contains(&&"default/web".into()) && named.contains(&&"default/other".into()), "{named:?}");
    place.netns.nft_load(&diff(&["--output", "nft"]).stdout);
    assert_eq!((diff(&[]).code, diff(&["--output", "nft"]).stdout.as_str()), (Some(0), ""));
}

#[test]
fn init_only_prepares_the_node_beside_a_running_process_and_writes_no_rule() {
    let Some(place) = Place::new() else { return };
    let daemon = place.run(&[]);
    daemon.wait_ready();
    let before = place.netns.nft_list();
    place.put("other", &WEB.replace("web", "other").replace("10.96.0.1", "10.96.0.2"));
    daemon.wait_for("the change", || place.netns.nft_list() != before);
    let before = place.netns.nft_list();
    let timeouts = ["--conntrack-tcp-timeout-established", "2h", "--conntrack-tcp-timeout-close-wait", "77s"];
    let manifests = place.manifests();
    let args = [&["run", "--init-only", "--manifests", &manifests, "--hostname-override", "n"], &timeouts[..]].concat();
    let ended = ferroproxy(&place.netns, &args);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for (name, value) in [("established", "7200"), ("close_wait", "77")] {
        let file = format!("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_{name}");
        assert_eq!(support::daemon::program(&place.netns, "cat", &[&file]).stdout.trim(), value, "{ended:?}");
    }
    assert_eq!(place.netns.nft_list(), before);
}
