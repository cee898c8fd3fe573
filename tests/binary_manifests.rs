//! Rung 6: the manifests an operator applies. What they say is held against the program itself: its flags, ports and
//! configuration, what it asks the API server for, and the rights it gets by with.

mod support;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use ferroproxy::cli::args::{Cli, Command as Subcommand};
use ferroproxy::cli::resolve::{Environment, resolve};
use ferroproxy::model::{ApiConfig, Config, SourceConfig};
use serde_json::Value;
use support::daemon::{BINARY, Daemon, namespace, program as run_in};
use support::fake_api::{FakeApi, Resource, Verb};
use support::manifests::{check, file, kustomize, one, path, program, with_component, word, words};
use support::{chart, netns};
use tempfile::TempDir;

const OVERLAYS: [&str; 5] = ["base", "overlays/kubeadm", "overlays/canary", "overlays/dual-stack", "overlays/iptables"];
const MOUNT: &str = "/var/lib/kube-proxy";
const CONFIG: &str = include_str!("support/kubeadm.conf");

/// A pod's environment, on a cluster whose Service `kubernetes` is not to be used.
struct Pod;

impl Environment for Pod {
    fn var(&self, name: &str) -> Option<String> {
        (name == "NODE_NAME").then(|| "node-a".to_owned())
    }

    fn host_name(&self) -> std::io::Result<String> {
        Err(std::io::Error::other("the node's name comes from the pod's environment"))
    }
}

fn base() -> Vec<Value> {
    ["base/rbac.yaml", "base/configmap.yaml", "base/daemonset.yaml"].into_iter().flat_map(file).collect()
}

fn pod_spec(objects: &[Value]) -> Value {
    one(objects, "DaemonSet")["spec"]["template"]["spec"].clone()
}

fn containers(spec: &Value) -> Vec<&Value> {
    ["initContainers", "containers"].into_iter().flat_map(|list| spec[list].as_array()).flatten().collect()
}

/// Settles a container's arguments with these two files mounted. Every flag must exist, unknown keys are an error.
fn settled(container: &Value, config: &str, kubeconfig: &str) -> (Config, Vec<String>) {
    let dir = TempDir::new().expect("a directory");
    let here = dir.path().to_string_lossy().into_owned();
    fs::write(dir.path().join("config.conf"), config.replace(MOUNT, &here)).expect("written");
    fs::write(dir.path().join("kubeconfig.conf"), kubeconfig).expect("written");
    let argument = |arg: &str| arg.replace(MOUNT, &here).replace("$(NODE_NAME)", "node-a");
    let given = words(&container["args"]).into_iter().map(argument);
    let line = std::iter::once("ferroproxy".to_owned()).chain(given).chain(["--strict".to_owned()]);
    let cli = Cli::parse_line(line.map(OsString::from)).unwrap_or_else(|error| panic!("{error}"));
    let args = match cli.command {
        Subcommand::Run(run) => run.config,
        Subcommand::Diff(diff) => diff.config,
        other => panic!("neither run nor diff: {other:?}"),
    };
    resolve(&args, &Pod).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_object_is_of_its_kind_and_has_no_unknown_field() {
    base().iter().chain(&file("once/pod.yaml")).chain(&file("monitoring/podmonitor.yaml")).for_each(check);
    for overlay in OVERLAYS {
        kustomize(overlay).into_iter().flatten().for_each(|object| check(&object));
    }
    let values = chart::values(&["apiServer=https://192.0.2.1:6443", "podMonitor=true"]);
    chart::objects(&values).expect("rendered").iter().for_each(check);
}

#[test]
fn their_configuration_is_understood_without_a_warning() {
    for configmap in ["base/configmap.yaml", "overlays/dual-stack/configmap.yaml"] {
        let (map, kubeconfig) = (one(&file(configmap), "ConfigMap").clone(), one(&base(), "ConfigMap").clone());
        for container in containers(&pod_spec(&base())) {
            let (config, warnings) =
                settled(container, word(&map, "/data/config.conf"), word(&kubeconfig, "/data/kubeconfig.conf"));
            assert_eq!(warnings, Vec::<String>::new(), "{configmap}");
            assert_eq!((config.node_name.as_str(), config.oom_score_adj), ("node-a", -997));
            assert!(matches!(config.source, SourceConfig::Api(ApiConfig { kubeconfig: Some(_), master: None, .. })));
        }
    }
}

#[test]
fn kubeadms_configuration_is_read_as_it_is() {
    let Some(objects) = kustomize("overlays/kubeadm") else { return };
    assert!(objects.iter().all(|object| object["kind"] != "ConfigMap"), "kube-proxy's own serves");
    let spec = pod_spec(&objects);
    assert_eq!(word(&spec, "/volumes/0/configMap/name"), "kube-proxy");
    let given = CONFIG.replace("kubeconfig: KUBECONFIG", &format!("kubeconfig: {MOUNT}/kubeconfig.conf"));
    for mode in ["\"\"", "iptables", "ipvs", "nftables"] {
        let given = given.replace("mode: \"\"\n", &format!("mode: {mode}\n"));
        for container in containers(&spec) {
            let (config, _) = settled(container, &given, "");
            assert_eq!(config.mode.name(), "nftables");
        }
    }
    settled(&file("once/pod.yaml")[0]["spec"]["containers"][0], &given, "");
}

#[test]
fn the_iptables_overlay_asks_for_that_mode_and_for_what_its_programs_need() {
    let Some(objects) = kustomize("overlays/iptables") else { return };
    let spec = pod_spec(&objects);
    let given = CONFIG.replace("kubeconfig: KUBECONFIG", &format!("kubeconfig: {MOUNT}/kubeconfig.conf"));
    for container in containers(&spec) {
        assert_eq!(settled(container, &given, "").0.mode.name(), "iptables");
        assert_eq!(word(container, "/image"), format!("ferroproxy:{}-iptables", env!("CARGO_PKG_VERSION")));
    }
    if !netns::is_possible() {
        return;
    }
    let netns = namespace("legacy");
    let granted = words(&spec["containers"][0]["securityContext"]["capabilities"]["add"]);
    let less: Vec<&str> = granted.iter().copied().filter(|name| *name != "NET_RAW").collect();
    for (rights, variant, works) in
        [(&granted, "nft", true), (&granted, "legacy", true), (&less, "nft", true), (&less, "legacy", false)]
    {
        for family in ["iptables", "ip6tables"] {
            let mut line = with_only(rights);
            line.pop();
            line.extend([format!("{family}-{variant}-save"), "-t".to_owned(), "nat".to_owned()]);
            let rest: Vec<&str> = line[1..].iter().map(String::as_str).collect();
            assert_eq!(run_in(&netns, &line[0], &rest).code == Some(0), works, "{family}-{variant} with {rights:?}");
        }
    }
}

#[test]
fn ports_and_probes_are_where_the_program_listens() {
    let config = Config::new(SourceConfig::Manifests("/m".into()), "n");
    let (healthz, metrics) = (config.healthz_address.expect("on").port(), config.metrics_address.expect("on").port());
    let spec = pod_spec(&base());
    let container = &spec["containers"][0];
    for (probe, at) in [("livenessProbe", "/livez"), ("readinessProbe", "/healthz")] {
        assert_eq!(container[probe]["httpGet"]["port"], healthz, "{probe}");
        assert_eq!(container[probe]["httpGet"]["path"], at, "{probe}");
    }
    for (index, (name, port)) in [("healthz", healthz), ("metrics", metrics)].into_iter().enumerate() {
        let declared = &container["ports"][index];
        assert_eq!((&declared["name"], &declared["containerPort"]), (&Value::from(name), &Value::from(port)));
        assert_eq!(declared["hostPort"], port);
    }
    assert_eq!(word(&file("monitoring/podmonitor.yaml")[0], "/spec/podMetricsEndpoints/0/port"), "metrics");
}

#[test]
fn images_bear_the_programs_version() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(word(&file("base/kustomization.yaml")[0], "/images/0/newTag"), version);
    assert_eq!(word(&file("once/pod.yaml")[0], "/spec/containers/0/image"), format!("ferroproxy:{version}"));
    assert_eq!(word(&chart::values(&[]), "/image/tag"), version);
    let chart = &file("chart/ferroproxy/Chart.yaml")[0];
    assert_eq!((word(chart, "/version"), word(chart, "/appVersion")), (version, version));
}

/// `apiGroup resource verb`, from a path and a verb.
fn permission(path: &str, verb: &str) -> String {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let group = if parts[0] == "apis" { parts[1] } else { "" };
    format!("{group} {} {verb}", parts.last().copied().unwrap_or_default())
}

#[test]
fn the_role_allows_what_is_asked_for_and_nothing_else() {
    if !netns::is_possible() {
        return;
    }
    let netns = namespace("rbac");
    let dir = TempDir::new().expect("a directory");
    let fake = netns.enter(FakeApi::start);
    fake.put_node(serde_json::json!({"metadata": {"name": "node-a"}}));
    let kubeconfig = fake.write_kubeconfig(dir.path()).to_string_lossy().into_owned();
    for streaming in [true, false] {
        fake.set_streaming(streaming);
        let daemon = Daemon::start(&netns, &["run", "--kubeconfig", &kubeconfig, "--hostname-override", "node-a"]);
        let watched = [Resource::Services, Resource::Slices, Resource::Nodes, Resource::ServiceCidrs];
        daemon.wait_for("all watches", || watched.iter().all(|kind| !fake.requests(*kind, Verb::Watch).is_empty()));
        daemon.wait_ready();
        // Lists are asked for where they do not stream.
        let lists = |kind: &Resource| !fake.requests(*kind, Verb::List).is_empty();
        daemon.wait_for("all lists", || streaming || watched.iter().all(lists));
    }
    let asked: BTreeSet<String> = fake.asked().iter().map(|(path, verb)| permission(path, verb)).collect();
    let objects = base();
    let role = one(&objects, "ClusterRole");
    let mut allowed = BTreeSet::new();
    for rule in role["rules"].as_array().expect("rules") {
        for (group, resource) in
            words(&rule["apiGroups"]).iter().flat_map(|g| words(&rule["resources"]).into_iter().map(move |r| (g, r)))
        {
            allowed.extend(words(&rule["verbs"]).iter().map(|verb| format!("{group} {resource} {verb}")));
        }
    }
    assert_eq!(asked, allowed);
}

/// `setpriv` that leaves root with these capabilities alone and no way to more, as a container runtime does.
fn with_only(capabilities: &[&str]) -> Vec<String> {
    let list = capabilities.iter().fold("-all".to_owned(), |list, name| format!("{list},+{}", name.to_lowercase()));
    let words = ["setpriv", "--no-new-privs", "--bounding-set", &list, "--inh-caps", &list];
    words.into_iter().chain([BINARY]).map(str::to_owned).collect()
}

#[test]
fn it_gets_by_with_the_rights_of_the_daemonset() {
    if !netns::is_possible() {
        return;
    }
    let netns = namespace("rights");
    let spec = pod_spec(&base());
    let security = &spec["containers"][0]["securityContext"];
    assert_eq!(
        (&security["readOnlyRootFilesystem"], &security["allowPrivilegeEscalation"]),
        (&true.into(), &false.into())
    );
    assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
    let demo = path("demo").to_string_lossy().into_owned();
    // kubelet gives the score; here it is the one this test has. The limit of entries is the initial namespace's alone.
    let score = fs::read_to_string("/proc/self/oom_score_adj").expect("a score");
    let score = format!("--oom-score-adj={}", score.trim());
    let pods = "--cluster-cidr=10.244.0.0/16,fd00:10:244::/56";
    let node = ["--hostname-override", "demo-node", pods, "--conntrack-max-per-core=0", &score];
    let args = [&["run", "--manifests", &demo], node.as_slice()].concat();

    let granted = with_only(&words(&security["capabilities"]["add"]));
    let daemon = Daemon::start_by(&netns, &granted.iter().map(String::as_str).collect::<Vec<_>>(), &args);
    daemon.wait_ready();
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a line").trim();
    assert_eq!(u64::from_str_radix(effective, 16), Ok(1 << 12), "CAP_NET_ADMIN is bit 12");
    assert!(!daemon.log().contains("WARN"), "sysctls, OOM score and conntrack need no more\n{}", daemon.log());
    let timeout = run_in(&netns, "cat", &["/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"]).stdout;
    assert_eq!(timeout.trim(), "86400", "written without more rights");
    assert_eq!(daemon.stop().code(), Some(0));

    let words = with_only(&[]);
    let mut daemon = Daemon::start_by(&netns, &words.iter().map(String::as_str).collect::<Vec<_>>(), &args);
    assert_eq!(daemon.ended().code(), Some(2), "without it nothing works");
    assert!(daemon.log().contains("CAP_NET_ADMIN"), "{}", daemon.log());
}

#[test]
fn canary_and_takeover_keep_kube_proxy_off_the_same_nodes() {
    let Some(objects) = kustomize("overlays/canary") else { return };
    assert_eq!(pod_spec(&objects)["nodeSelector"]["ferroproxy/canary"], "true");
    let dir = TempDir::new().expect("a directory");
    let mut kube_proxy = one(&base(), "DaemonSet").clone();
    kube_proxy["metadata"]["name"] = "kube-proxy".into();
    let given = support::daemon::write(dir.path(), "kube-proxy.json", &kube_proxy.to_string());
    let patched = |patch: &str| -> Value {
        let patch = path(patch).to_string_lossy().into_owned();
        let args = ["patch", "--local", "-f", &given, "--patch-file", &patch, "-o", "json"];
        let text = program("kubectl", &args).expect("kubectl is there");
        serde_json::from_str(&text).expect("an object")
    };
    let elsewhere = patched("overlays/canary/kube-proxy-elsewhere.yaml");
    check(&elsewhere);
    let affinity = &elsewhere["spec"]["template"]["spec"]["affinity"]["nodeAffinity"];
    let required = &affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let term = serde_json::json!({"key": "ferroproxy/canary", "operator": "NotIn", "values": ["true"]});
    assert_eq!(required, &serde_json::json!([{ "matchExpressions": [term] }]));
    let off = patched("overlays/kubeadm/kube-proxy-off.yaml");
    check(&off);
    let selector = &off["spec"]["template"]["spec"]["nodeSelector"];
    assert_eq!(selector, &serde_json::json!({"kubernetes.io/os": "linux", "ferroproxy/never": "true"}));
}

#[test]
fn a_real_api_server_accepts_them() {
    let Some(kubeconfig) = std::env::var_os("FERROPROXY_TEST_KUBECONFIG") else {
        eprintln!("\n*** NOT RUN: FERROPROXY_TEST_KUBECONFIG names no API server ***\n");
        return;
    };
    let accepted = |objects: Vec<Value>| {
        let own = objects.into_iter().filter(|object| word(object, "/apiVersion") != "monitoring.coreos.com/v1");
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": own.collect::<Vec<_>>()});
        let mut kubectl = std::process::Command::new("kubectl");
        let args = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--force-conflicts",
            "--validate=strict",
            "--field-manager=ferroproxy-test",
            "-f",
            "-",
        ];
        let output = support::daemon::feed(
            kubectl.arg("--kubeconfig").arg(Path::new(&kubeconfig)).args(args),
            &list.to_string(),
        );
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    for overlay in OVERLAYS {
        accepted(kustomize(overlay).expect("kubectl is there"));
    }
    accepted(with_component("overlays/canary", "components/surge").expect("kubectl is there"));
    accepted(chart::objects(&chart::values(&["apiServer=https://192.0.2.1:6443"])).expect("rendered"));
}
