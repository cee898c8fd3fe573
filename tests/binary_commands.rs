//! Rung 6: the binary's commands, exit codes and messages.

mod support;

use std::fs;
use std::path::Path;

use support::daemon::{BINARY, Daemon, ferroproxy, namespace, program, write};
use support::netns::{self, Netns};
use tempfile::TempDir;

const WEB: &str =
    "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n";
const SLICE: &str = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-1\n  labels: {kubernetes.io/service-name: web}\n\
                     addressType: IPv4\nports: [{port: 8080}]\nendpoints: [{addresses: [10.1.0.1]}]\n";

fn place() -> Option<(Netns, TempDir)> {
    netns::is_possible().then(|| (namespace("cmd"), TempDir::new().unwrap()))
}

fn manifests(dir: &TempDir) -> String {
    let manifests = dir.path().join("manifests");
    fs::create_dir_all(&manifests).unwrap();
    write(&manifests, "web.yaml", &format!("{WEB}---\n{SLICE}"));
    manifests.to_string_lossy().into_owned()
}

#[test]
fn arguments_that_cannot_work_end_with_2_and_say_why() {
    let Some((netns, dir)) = place() else { return };
    let missing = dir.path().join("no-such-kubeconfig").to_string_lossy().into_owned();
    let ipvs = write(
        dir.path(),
        "ipvs.conf",
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs\n",
    );
    let typo = write(
        dir.path(),
        "typo.conf",
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclusterCidr: 10.0.0.0/8\n",
    );
    let manifests = manifests(&dir);
    let cases: [(&[&str], &str); 7] = [
        (&["run"], "no source"),
        (&["run", "--kubeconfig", &missing], "no-such-kubeconfig"),
        (&["run", "--config", &ipvs, "--manifests", &manifests], "ipvs"),
        (&["run", "--proxy-mode", "ebpf", "--manifests", &manifests], "ebpf"),
        (&["run", "--strict", "--config", &typo, "--manifests", &manifests], "clusterCidr"),
        (&["render", "--manifests", "/no/such/directory"], "/no/such/directory"),
        (&["run", "--cluster-cidr", "10.0.0.0/99", "--manifests", &manifests], "10.0.0.0/99"),
    ];
    for (args, named) in cases {
        let ended = ferroproxy(&netns, args);
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(named), "{args:?}: {}", ended.stderr);
    }
    let ended = ferroproxy(&netns, &["render", "--config", &typo, "--manifests", &manifests]);
    assert_eq!(ended.code, Some(0), "an unknown key is a warning");
    assert!(ended.stderr.contains("clusterCidr"), "{}", ended.stderr);
}

#[test]
fn without_the_right_to_change_rules_it_says_so() {
    let Some((netns, dir)) = place() else { return };
    let manifests = manifests(&dir);
    let without = [
        "--bounding-set",
        "-net_admin",
        "--inh-caps",
        "-net_admin",
        BINARY,
        "run",
        "--once",
        "--manifests",
        &manifests,
    ];
    let ended = program(&netns, "setpriv", &without);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("CAP_NET_ADMIN"), "{}", ended.stderr);
}

#[test]
fn once_syncs_and_exits_and_a_second_time_changes_nothing() {
    let Some((netns, dir)) = place() else { return };
    let manifests = manifests(&dir);
    for _ in 0..2 {
        let ended = ferroproxy(&netns, &["run", "--once", "--manifests", &manifests]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(netns.nft_list().contains("10.96.0.1 . tcp . 80 . 0 : 10.1.0.1 . 8080"));
    }
    assert_eq!(ferroproxy(&netns, &["--manifests", &manifests, "--cleanup"]).code, Some(0));
    assert_eq!(netns.nft_list(), "");
}

#[test]
fn render_prints_what_run_writes() {
    let Some((netns, dir)) = place() else { return };
    let manifests = manifests(&dir);
    let rendered = ferroproxy(&netns, &["render", "--manifests", &manifests]).stdout;
    netns.nft_load(&rendered);
    let diff = ferroproxy(&netns, &["diff", "--manifests", &manifests]);
    assert_eq!((diff.code, diff.stdout.as_str()), (Some(0), ""), "{}", diff.stderr);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_trouble() {
    let Some((netns, dir)) = place() else { return };
    let manifests = manifests(&dir);
    for (args, code) in [(&["render"][..], 0), (&["diff"], 1), (&["diff", "--output", "json"], 1)] {
        let closed = std::io::pipe().unwrap().1;
        let mut command = std::process::Command::new(BINARY);
        command.args(args).args(["--manifests", &manifests]).stdout(closed);
        let status = netns.enter(|| command.status().unwrap());
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn diff_tells_text_and_json_and_its_transaction_loads() {
    let Some((netns, dir)) = place() else { return };
    let manifests = manifests(&dir);
    assert_eq!(ferroproxy(&netns, &["run", "--once", "--manifests", &manifests]).code, Some(0));
    let two = SLICE.replace("10.1.0.1", "10.1.0.9");
    write(Path::new(&manifests), "web.yaml", &format!("{WEB}---\n{two}"));
    let text = ferroproxy(&netns, &["diff", "--manifests", &manifests]);
    assert_eq!(text.code, Some(1));
    assert!(
        text.stdout
            .contains("-  10.96.0.1 . tcp . 80 . 0 : 10.1.0.1 . 8080\n+  10.96.0.1 . tcp . 80 . 0 : 10.1.0.9 . 8080"),
        "{}",
        text.stdout
    );
    let json = ferroproxy(&netns, &["diff", "--manifests", &manifests, "--output", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &answer["different"]), (Some(1), &true.into()));
    netns.nft_load(answer["transaction"].as_str().unwrap());
    assert_eq!(ferroproxy(&netns, &["diff", "--manifests", &manifests]).code, Some(0));
}

#[test]
fn a_broken_manifest_is_named_and_costs_nothing_else() {
    let Some((netns, dir)) = place() else { return };
    let manifests = manifests(&dir);
    let daemon = Daemon::start(&netns, &["run", "--manifests", &manifests]);
    daemon.wait_ready();
    write(Path::new(&manifests), "broken.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: [\n");
    daemon.wait_log("broken.yaml");
    let other = WEB.replace("web", "other").replace("10.96.0.1", "10.96.0.2");
    write(Path::new(&manifests), "other.yaml", &other);
    daemon.wait_for("the good one", || netns.nft_list().contains("default/other"));
    assert!(netns.nft_list().contains("default/web"));
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn a_changed_configuration_file_ends_the_process() {
    let Some((netns, dir)) = place() else { return };
    let manifests = manifests(&dir);
    let text = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: nftables\n";
    let file = write(dir.path(), "config.conf", text);
    let mut daemon = Daemon::start(&netns, &["run", "--config", &file, "--manifests", &manifests]);
    daemon.wait_ready();
    write(dir.path(), "config.conf", &format!("{text}nftables: {{masqueradeAll: true}}\n"));
    assert_eq!(daemon.ended().code(), Some(2));
    assert!(daemon.log().contains("has changed"), "{}", daemon.log());
}

/// The way from flags to a file: what is written says the same, and does not name the node it was written on.
#[test]
fn the_configuration_in_force_is_written_to_a_file_that_reads_back() {
    let Some((netns, dir)) = place() else { return };
    let manifests = manifests(&dir);
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name).to_string_lossy().into_owned());
    let flags =
        ["--proxy-mode", "nftables", "--cluster-cidr", "10.0.0.0/8", "--masquerade-bit=15", "--sync-period", "1m30s"];
    let written = |more: &[&str], file: &str| {
        let args = [&["run", "--manifests", &manifests, "--write-config-to", file], more].concat();
        let ended = ferroproxy(&netns, &args);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
        (fs::read_to_string(file).expect("written"), ended.stderr)
    };
    let (text, _) = written(&flags, &first);
    for line in ["kind: KubeProxyConfiguration", "clusterCIDR: 10.0.0.0/8", "masqueradeBit: 15", "syncPeriod: 1m30s"] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let (again, told) = written(&["--strict", "--config", &first], &second);
    assert_eq!(again, text);
    assert!(!told.contains("WARN"), "{told}");
    let (named, _) = written(&[&flags[..], &["--hostname-override", "node-a"]].concat(), &second);
    assert!(named.contains("hostnameOverride: node-a") && !text.contains("node-a"), "{named}");
    assert_eq!(netns.nft_list(), "", "and nothing else is done");
}

#[test]
fn help_and_version_answer() {
    let Some((netns, _dir)) = place() else { return };
    let help = ferroproxy(&netns, &["--help"]);
    assert_eq!(help.code, Some(0));
    for word in ["run", "render", "diff", "cleanup", "version", "Examples"] {
        assert!(help.stdout.contains(word), "{word}");
    }
    let version = ferroproxy(&netns, &["version"]);
    assert_eq!((version.code, version.stdout), (Some(0), format!("ferroproxy {}\n", env!("CARGO_PKG_VERSION"))));
}
