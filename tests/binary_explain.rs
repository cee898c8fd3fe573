//! Rung 6: `explain` tells the story of a packet. Each file of `tests/explain/` names objects and a question, and holds the answer.
//!
//! `UPDATE_GOLDEN=1 cargo test --test binary_explain` writes what is told now; read the difference before you commit it.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::daemon::{BINARY, ferroproxy, namespace, program};
use support::netns;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The arguments of a question about the objects in a directory with, perhaps, a configuration.
fn arguments(input: &str, asked: &str) -> Vec<String> {
    let dir = root().join(input);
    let objects = if dir.join("input").is_dir() { dir.join("input") } else { dir.clone() };
    let mut args = vec!["explain".into(), "--manifests".into(), objects.display().to_string()];
    args.extend(["--hostname-override".into(), "node-a".into()]);
    let config = dir.join("config.yaml");
    if config.exists() {
        args.extend(["--config".into(), config.display().to_string()]);
    }
    args.extend(asked.split_whitespace().map(str::to_owned));
    args
}

/// Exit code and what is told.
fn explain(input: &str, asked: &str) -> (i32, String) {
    let mut command = Command::new(BINARY);
    for name in ["NODE_NAME", "RUST_LOG", "KUBECONFIG", "KUBERNETES_SERVICE_HOST"] {
        command.env_remove(name);
    }
    let output = command.args(arguments(input, asked)).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn every_question_is_answered_as_written() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let files = fs::read_dir(root().join("tests/explain")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|ending| ending == "txt")).collect();
    assert!(files.len() >= 6, "the questions are gone");
    let wrong: Vec<String> = files.iter().filter_map(|file| differs(file, update)).collect();
    assert!(wrong.is_empty(), "{} answers differ (UPDATE_GOLDEN=1 rewrites them)\n{}", wrong.len(), wrong.join("\n"));
}

fn differs(file: &Path, update: bool) -> Option<String> {
    let written = fs::read_to_string(file).unwrap();
    let field = |name: &str| written.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    let (input, asked) = (field("input:"), field("asked:"));
    let (code, told) = explain(input, asked);
    let now = format!("input: {input}\nasked: {asked}\nexit: {code}\n\n{told}");
    if update {
        fs::write(file, &now).unwrap();
    }
    let diff = similar::TextDiff::from_lines(&written, &now).unified_diff().to_string();
    (written != now).then(|| format!("{}\n{diff}", file.display()))
}

#[test]
fn json_says_the_same() {
    let (code, text) = explain("tests/explain/zones", "--from node --to 10.96.0.10:80 --output json");
    let story: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &story["verdict"]), (0, &"delivered".into()));
    assert_eq!(story["frontend"]["service"], "default/near:http");
    let used = |n: usize| (&story["endpoints"][n]["address"], &story["endpoints"][n]["used"]);
    assert_eq!(used(1), (&"10.244.2.1:8080".into(), &true.into()));
    assert_eq!(used(2), (&"10.244.3.1:8080".into(), &false.into()));
    assert_eq!(story["destinations"][0]["share"], 0.5);
    assert!(story["path"].as_array().unwrap().len() > 3, "{text}");
}

#[test]
fn questions_that_make_no_sense_end_with_2() {
    for asked in
        ["--to 10.96.0.10", "--to 10.96.0.10:80/icmp", "--from fd00::1 --to 10.96.0.10:80", "--from me --to 10.0.0.1:1"]
    {
        assert_eq!(explain("tests/explain/zones", asked), (2, String::new()), "{asked}");
    }
}

#[test]
fn the_kernels_rules_tell_the_same_story() {
    if !netns::is_possible() {
        return;
    }
    let netns = namespace("explain");
    // With --live the node's own addresses are those on its interfaces.
    assert_eq!(program(&netns, "ip", &["address", "add", "192.0.2.10/32", "dev", "lo"]).code, Some(0));
    let asked = "--from node --to 10.96.0.10:80";
    let live = arguments("tests/explain/zones", &format!("{asked} --live"));
    let live: Vec<&str> = live.iter().map(String::as_str).collect();
    let before = ferroproxy(&netns, &live);
    assert_eq!(before.code, Some(2));
    assert!(before.stderr.contains("no table ip ferroproxy"), "{}", before.stderr);
    let synced = ferroproxy(&netns, &["run", "--once", live[1], live[2], live[3], live[4]]);
    assert_eq!(synced.code, Some(0), "{}", synced.stderr);
    let after = ferroproxy(&netns, &live);
    assert_eq!((after.code, after.stdout), (Some(0), explain("tests/explain/zones", asked).1));
}

#[test]
fn the_kernels_chains_tell_the_same_story_in_both_variants() {
    if !netns::is_possible() || !support::kube_proxy::has_iptables() {
        return;
    }
    for variant in ["nft", "legacy"] {
        let netns = namespace("explain-chains");
        assert_eq!(program(&netns, "ip", &["address", "add", "192.0.2.10/32", "dev", "lo"]).code, Some(0));
        let hint = ["-t", "mangle", "-N", "KUBE-IPTABLES-HINT"];
        assert_eq!(program(&netns, &format!("iptables-{variant}"), &hint).code, Some(0));
        for asked in ["--from external --to 10.96.0.80:80", "--from external --to 192.0.2.10:30081"] {
            let live = arguments("tests/explain/chains", &format!("{asked} --live"));
            let live: Vec<&str> = live.iter().map(String::as_str).collect();
            let run = ["run", "--once", live[1], live[2], live[3], live[4], live[5], live[6]];
            let before = ferroproxy(&netns, &live);
            let is_first = asked.contains("10.96");
            assert_eq!(before.code == Some(2), is_first, "{variant}: {}", before.stderr);
            assert!(!is_first || before.stderr.contains("no IPv4 chains of ferroproxy's"), "{}", before.stderr);
            let synced = ferroproxy(&netns, &run);
            assert_eq!(synced.code, Some(0), "{variant}: {}", synced.stderr);
            let (code, told) = explain("tests/explain/chains", asked);
            let after = ferroproxy(&netns, &live);
            assert_eq!((after.code, after.stdout), (Some(code), told), "{variant}");
        }
    }
}
