//! A configuration file, flags and an environment become one `Config`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::time::Duration;

use ferroproxy::cli::args::{Cli, Command, ConfigArgs};
use ferroproxy::cli::config::ConfigError;
use ferroproxy::cli::resolve::{Environment, resolve};
use ferroproxy::model::{
    ApiConfig, Config, ConntrackConfig, LocalDetector, LogFormat, NodePortAddresses, PerFamily, ProxyMode, SourceConfig,
};
use tempfile::TempDir;

/// As `kubeadm init` writes it, every field that has a default left to it.
const KUBEADM: &str = include_str!("support/kubeadm.conf");

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

/// An environment of one's own.
#[derive(Default)]
struct Fake(HashMap<&'static str, &'static str>);

impl Fake {
    fn pod() -> Fake {
        Fake(HashMap::from([("KUBERNETES_SERVICE_HOST", "10.96.0.1")]))
    }
}

impl Environment for Fake {
    fn var(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| (*value).to_owned())
    }

    fn host_name(&self) -> io::Result<String> {
        Ok("Host-7\n".to_owned())
    }
}

fn args(line: &str) -> ConfigArgs {
    let argv = std::iter::once("ferroproxy").chain(line.split_whitespace()).map(OsString::from);
    match Cli::parse_line(argv).unwrap_or_else(|error| panic!("{error}")).command {
        Command::Run(run) => run.config,
        other => panic!("not run: {other:?}"),
    }
}

fn flags(line: &str) -> Result<(Config, Vec<String>), ConfigError> {
    resolve(&args(line), &Fake::pod())
}

/// Writes `text` to a file and resolves it with more flags.
fn file(text: &str, more: &str) -> Result<(Config, Vec<String>), ConfigError> {
    let dir = TempDir::new().expect("a directory");
    let (config, kubeconfig) = (dir.path().join("config.conf"), dir.path().join("kubeconfig.conf"));
    std::fs::write(&kubeconfig, "").expect("written");
    let text = text.replace("KUBECONFIG", kubeconfig.to_str().expect("utf-8"));
    std::fs::write(&config, text).expect("written");
    resolve(&args(&format!("--config={} {more}", config.display())), &Fake::pod())
}

fn body(body: &str) -> Result<(Config, Vec<String>), ConfigError> {
    file(&format!("{HEAD}mode: nftables\n{body}"), "")
}

fn message(result: Result<(Config, Vec<String>), ConfigError>) -> String {
    result.expect_err("must be refused").to_string()
}

#[test]
fn the_file_kubeadm_writes() {
    let (config, warnings) = file(KUBEADM, "--hostname-override=Node-1").expect("resolved");
    assert_eq!(config.node_name, "node-1");
    assert_eq!(config.mode, ProxyMode::Nftables);
    assert_eq!(config.masquerade_bit, 14);
    assert!(!config.masquerade_all);
    assert_eq!(
        config.detector,
        LocalDetector::ClusterCidr(PerFamily { v4: "10.244.0.0/16".parse().ok(), v6: "fd00:10:244::/56".parse().ok() })
    );
    assert_eq!(config.node_port_addresses, NodePortAddresses::Primary);
    assert_eq!(config.bind_address, None);
    assert_eq!(config.sync_period, Duration::from_secs(30));
    assert_eq!(config.min_sync_period, Duration::ZERO);
    assert_eq!(config.healthz_address, "0.0.0.0:10256".parse().ok());
    assert_eq!(config.metrics_address, "127.0.0.1:10249".parse().ok());
    assert_eq!(config.conntrack, ConntrackConfig::default());
    assert_eq!(config.oom_score_adj, -999);
    assert!(config.allow_external_ips());
    assert_eq!(config.log.format, LogFormat::Text);
    let SourceConfig::Api(ApiConfig { kubeconfig: Some(kubeconfig), master: None, .. }) = config.source else {
        panic!("not the kubeconfig of the file: {:?}", config.source)
    };
    assert!(kubeconfig.ends_with("kubeconfig.conf"));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("mode is not set"), "{warnings:?}");
    assert!(warnings[1].starts_with("nodePortAddresses is not set"), "{warnings:?}");
}

#[test]
fn configz_shows_the_file_with_its_defaults() {
    let (config, _) = file(KUBEADM, "").expect("resolved");
    let shown = &config.configz["kubeproxy.config.k8s.io"];
    for (pointer, value) in [
        ("/kind", serde_json::json!("KubeProxyConfiguration")),
        ("/apiVersion", serde_json::json!("kubeproxy.config.k8s.io/v1alpha1")),
        ("/mode", serde_json::json!("nftables")),
        ("/clusterCIDR", serde_json::json!("10.244.0.0/16,fd00:10:244::/56")),
        ("/configSyncPeriod", serde_json::json!("15m0s")),
        ("/nftables/syncPeriod", serde_json::json!("30s")),
        ("/conntrack/tcpEstablishedTimeout", serde_json::json!("24h0m0s")),
        ("/nodePortAddresses", serde_json::json!(["primary"])),
        ("/detectLocalMode", serde_json::json!("ClusterCIDR")),
        ("/healthzBindAddress", serde_json::json!("0.0.0.0:10256")),
        ("/ipvs/excludeCIDRs", serde_json::json!(null)),
        ("/ipvs/strictARP", serde_json::json!(false)),
        ("/winkernel/enableDSR", serde_json::json!(false)),
        ("/hostnameOverride", serde_json::json!("host-7")),
    ] {
        assert_eq!(shown.pointer(pointer), Some(&value), "{pointer}");
    }
}

#[test]
fn modes_that_do_not_exist_are_refused_by_name() {
    let refused = file(&format!("{HEAD}mode: ipvs\n"), "").expect_err("refused");
    assert!(matches!(&refused, ConfigError::Mode { mode, .. } if mode == "ipvs"), "{refused}");
    assert_eq!(ConfigError::EXIT_CODE, 2);
    assert!(message(file(&format!("{HEAD}mode: ipvs\n"), "")).contains("--proxy-mode=nftables"));
    assert!(message(file(&format!("{HEAD}mode: ebpf\n"), "--proxy-mode=nftables")).contains("mode: \"ebpf\""));
    assert!(message(flags("--master a --proxy-mode foo")).contains("--proxy-mode: \"foo\""));
}

#[test]
fn in_iptables_mode_its_section_and_its_defaults_count() {
    let text = "mode: iptables\niptables: {masqueradeBit: 9, syncPeriod: 1m}\nnftables: {masqueradeAll: true}\n";
    let (config, warnings) = file(&format!("{HEAD}clusterCIDR: 10.0.0.0/8\n{text}"), "").expect("resolved");
    assert_eq!((config.mode, config.mode_is_free), (ProxyMode::Iptables, false));
    assert_eq!((config.masquerade_bit, config.masquerade_all), (9, false));
    assert_eq!((config.sync_period, config.min_sync_period), (Duration::from_secs(60), Duration::from_secs(1)));
    assert_eq!(config.node_port_addresses, NodePortAddresses::All);
    assert!(config.localhost_node_ports);
    assert_eq!(warnings, ["nftables.masqueradeAll has no effect in iptables mode; set iptables.masqueradeAll"]);

    let line = "--master a --proxy-mode iptables --cluster-cidr 10.0.0.0/8 --masquerade-bit 3 --iptables-localhost-nodeports=false";
    let (config, warnings) = flags(line).expect("resolved");
    assert_eq!((config.mode, config.masquerade_bit, config.localhost_node_ports), (ProxyMode::Iptables, 3, false));
    assert_eq!(config.configz.pointer("/kubeproxy.config.k8s.io/mode"), Some(&serde_json::json!("iptables")));
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(message(flags("--master a --proxy-mode iptables --masquerade-bit 40")).contains("--masquerade-bit: 40"));
}

#[test]
fn in_iptables_mode_zero_is_the_default_of_a_file_and_at_once_as_a_flag() {
    let by_flag = |more: &str| flags(&format!("--proxy-mode=iptables {more}")).expect("accepted").0.min_sync_period;
    assert_eq!(by_flag("--iptables-min-sync-period=0s"), Duration::ZERO);
    assert_eq!(by_flag(""), Duration::from_secs(1));
    let (config, _) = file(&format!("{HEAD}mode: iptables\niptables: {{minSyncPeriod: 0s}}\n"), "").expect("accepted");
    assert_eq!(config.min_sync_period, Duration::from_secs(1));
}

#[test]
fn a_mode_nobody_chose_is_free() {
    let free =
        |text: &str, line: &str| file(&format!("{HEAD}{text}clusterCIDR: 10.0.0.0/8\n"), line).expect("resolved").0;
    assert!(free("", "").mode_is_free && free("mode: \"\"\n", "").mode_is_free);
    assert!(!free("mode: nftables\n", "").mode_is_free && !free("", "--proxy-mode=nftables").mode_is_free);
}

#[test]
fn proxy_mode_steps_in_for_a_mode_that_cannot_run() {
    let (config, warnings) =
        file(&format!("{HEAD}mode: ipvs\nclusterCIDR: 10.0.0.0/8\n"), "--proxy-mode=nftables").expect("overridden");
    assert_eq!(config.mode, ProxyMode::Nftables);
    assert!(warnings[0].contains("\"ipvs\" is overridden"), "{warnings:?}");
    let (_, warnings) =
        file(&format!("{HEAD}mode: nftables\nclusterCIDR: 10.0.0.0/8\n"), "--proxy-mode=iptables").expect("kept");
    assert_eq!(warnings, ["--proxy-mode=iptables is ignored, because the configuration file says nftables"]);
}

#[test]
fn an_explicit_choice_of_nftables_needs_no_warning_about_the_mode() {
    let text = format!("{HEAD}clusterCIDR: 10.0.0.0/8\nnodePortAddresses: [primary]\n");
    let (_, warnings) = file(&text, "--proxy-mode=nftables").expect("resolved");
    assert!(warnings.is_empty(), "{warnings:?}");
    let (_, warnings) = flags("--master a --proxy-mode nftables --cluster-cidr 10.0.0.0/8").expect("resolved");
    assert!(warnings.is_empty(), "{warnings:?}");
    let (_, warnings) = flags("--master a --cluster-cidr 10.0.0.0/8").expect("resolved");
    assert_eq!(warnings.len(), 2, "as kube-proxy's own default would be iptables: {warnings:?}");
    let (_, warnings) = flags("--manifests m --cluster-cidr 10.0.0.0/8").expect("resolved");
    assert!(warnings.is_empty(), "nobody comes from kube-proxy here: {warnings:?}");
}

#[test]
fn only_the_section_of_the_mode_counts() {
    let (config, warnings) = file(
        &format!("{HEAD}clusterCIDR: 10.0.0.0/8\nnodePortAddresses: [primary]\niptables: {{masqueradeAll: true, masqueradeBit: 9}}\n"),
        "",
    )
    .expect("resolved");
    assert!(!config.masquerade_all);
    assert_eq!(config.masquerade_bit, 14);
    assert_eq!(
        warnings[1..],
        [
            "iptables.masqueradeAll has no effect in nftables mode; set nftables.masqueradeAll",
            "iptables.masqueradeBit has no effect in nftables mode; set nftables.masqueradeBit"
        ]
    );
    let (config, _) = body("nftables: {masqueradeAll: true, masqueradeBit: 9, syncPeriod: 1m, minSyncPeriod: 500ms}\n")
        .expect("resolved");
    assert!(config.masquerade_all);
    assert_eq!(config.masquerade_bit, 9);
    assert_eq!(config.sync_period, Duration::from_secs(60));
    assert_eq!(config.min_sync_period, Duration::from_millis(500));
}

#[test]
fn unknown_keys_warn_or_are_an_error() {
    let text = format!("{HEAD}mode: nftables\nclusterCIDR: 10.0.0.0/8\nnftables:\n  masquaradeAll: true\n");
    let (_, warnings) = file(&text, "").expect("resolved");
    assert!(warnings.len() == 1 && warnings[0].contains("nftables.masquaradeAll: unknown key"), "{warnings:?}");
    assert!(message(file(&text, "--strict")).contains("unknown keys (--strict): nftables.masquaradeAll"));
}

#[test]
fn every_mistake_is_named_by_its_field() {
    let text = "nftables: {masqueradeBit: 32, syncPeriod: 1s, minSyncPeriod: 2s}\noomScoreAdj: 1001\nbindAddress: here\n\
                healthzBindAddress: localhost\nmetricsBindAddress: 0.0.0.0:0\nnodePortAddresses: [primary, 10.0.0.0]\n\
                clusterCIDR: 10.244.0.0/99\nconntrack: {min: -1, udpTimeout: -1s}\nlogging: {format: xml}\n";
    let error = body(text).expect_err("refused");
    let ConfigError::Invalid(errors) = &error else { panic!("{error}") };
    let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "nftables.masqueradeBit",
            "clusterCIDR",
            "nodePortAddresses[0]",
            "nodePortAddresses[1]",
            "bindAddress",
            "healthzBindAddress",
            "metricsBindAddress",
            "conntrack.min",
            "conntrack.udpTimeout",
            "oomScoreAdj",
            "logging.format",
            "nftables.minSyncPeriod",
        ]
    );
    assert!(error.to_string().contains("clusterCIDR: \"10.244.0.0/99\""), "{error}");
}

#[test]
fn flags_are_named_where_no_file_is() {
    let error = message(flags("--master a --cluster-cidr 10.0.0.0 --sync-period 5 --oom-score-adj -2000"));
    assert_eq!(
        error,
        "invalid configuration: --sync-period: \"5\" is not a duration such as \"30s\", \"1h30m\" or \"500ms\""
    );
    let error = message(flags("--master a --cluster-cidr 10.0.0.0 --oom-score-adj -2000 --nodeport-addresses x"));
    for part in ["--cluster-cidr: \"10.0.0.0\"", "--oom-score-adj: -2000", "--nodeport-addresses: \"x\""] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn detectors() {
    let detector = |text: &str| body(text).expect("resolved").0.detector;
    assert_eq!(detector("detectLocalMode: NodeCIDR\n"), LocalDetector::NodeCidr);
    assert_eq!(
        detector("detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}\n"),
        LocalDetector::BridgeInterface("cni0".to_owned())
    );
    assert_eq!(
        detector("detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: cali}\n"),
        LocalDetector::InterfaceNamePrefix("cali".to_owned())
    );
    let (config, warnings) = body("").expect("resolved");
    assert_eq!(config.detector, LocalDetector::None);
    assert!(warnings.len() == 1 && warnings[0].starts_with("clusterCIDR is not set"), "{warnings:?}");
    assert!(message(body("detectLocalMode: BridgeInterface\n")).contains("detectLocal.bridgeInterface: must be set"));
    assert!(
        message(body("detectLocalMode: InterfaceNamePrefix\n"))
            .contains("detectLocal.interfaceNamePrefix: must be set")
    );
    let star = "detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: 'cali*'}\n";
    assert!(message(body(star)).contains("\"cali*\" cannot be an interface name"));
    assert!(message(body("detectLocalMode: Guess\n")).contains("detectLocalMode: \"Guess\""));
    assert!(message(body("clusterCIDR: 10.0.0.0/8,11.0.0.0/8\n")).contains("one of each family"));
}

#[test]
fn node_port_addresses() {
    let chosen = |text: &str| body(&format!("nodePortAddresses: {text}\n")).expect("resolved").0.node_port_addresses;
    let net = |text: &str| text.parse().expect("a network");
    assert_eq!(chosen("[]"), NodePortAddresses::Primary);
    assert_eq!(chosen("[primary]"), NodePortAddresses::Primary);
    assert_eq!(chosen("[0.0.0.0/0, '::/0']"), NodePortAddresses::All);
    assert_eq!(chosen("[0.0.0.0/0]"), NodePortAddresses::Cidrs(vec![net("0.0.0.0/0")]));
    assert_eq!(chosen("[192.168.001.9/24]"), NodePortAddresses::Cidrs(vec![net("192.168.1.0/24")]));
}

#[test]
fn addresses_follow_the_bind_address_and_can_be_switched_off() {
    let (config, _) = body("bindAddress: fd00::5\n").expect("resolved");
    assert_eq!(config.bind_address, "fd00::5".parse().ok());
    assert_eq!(config.healthz_address, "[::]:10256".parse().ok());
    assert_eq!(config.metrics_address, "[::1]:10249".parse().ok());
    let (config, _) = body("healthzBindAddress: none\nmetricsBindAddress: 0.0.0.0\n").expect("resolved");
    assert_eq!(config.healthz_address, None);
    assert_eq!(config.metrics_address, "0.0.0.0:10249".parse().ok());
    let (config, _) = flags("--manifests m --metrics-bind-address= --healthz-port 0").expect("resolved");
    assert_eq!((config.healthz_address, config.metrics_address), (None, None));
    let (config, _) = flags("--manifests m").expect("resolved");
    assert_eq!(config.healthz_address, "0.0.0.0:10256".parse().ok());
    assert_eq!(config.metrics_address, "127.0.0.1:10249".parse().ok());
}

#[test]
fn conntrack_timeouts_of_zero_leave_the_sysctl_alone() {
    let (config, _) =
        body("conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, udpTimeout: 90s}\n").expect("resolved");
    assert_eq!(
        config.conntrack,
        ConntrackConfig {
            max_per_core: 0,
            tcp_established_timeout: None,
            udp_timeout: Some(Duration::from_secs(90)),
            ..ConntrackConfig::default()
        }
    );
}

#[test]
fn the_nodes_name() {
    let named = |more: &str, body: &str, env: Fake| {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("c");
        std::fs::write(&path, format!("{HEAD}mode: nftables\n{body}")).expect("written");
        resolve(&args(&format!("--config={} --manifests m {more}", path.display())), &env).map(|(c, _)| c.node_name)
    };
    let env = || Fake(HashMap::from([("NODE_NAME", "From-Env")]));
    let written = "hostnameOverride: ' From-File '\n";
    assert_eq!(named("--hostname-override=From-Flag", written, env()).expect("a name"), "from-flag");
    assert_eq!(named("", written, env()).expect("a name"), "from-file");
    assert_eq!(named("", "", env()).expect("a name"), "from-env");
    assert_eq!(named("", "", Fake::default()).expect("a name"), "host-7");
    assert!(named("", "hostnameOverride: '  '\n", env()).is_err());
}

#[test]
fn beside_a_file_only_some_flags_count() {
    let text = format!("{HEAD}mode: nftables\nclusterCIDR: 10.0.0.0/8\nlogging: {{format: text, verbosity: 1}}\n");
    let more = "--cluster-cidr 11.0.0.0/8 --kubeconfig /nowhere --master https://a:6443 -v=4 --logging-format json --ipvs-scheduler rr";
    let (config, warnings) = file(&text, more).expect("resolved");
    assert_eq!(
        warnings,
        [
            "--cluster-cidr is ignored, because --config is given",
            "--ipvs-scheduler has no effect in ferroproxy",
            "--kubeconfig is ignored, because --config is given",
        ]
    );
    assert_eq!(
        config.source,
        SourceConfig::Api(ApiConfig {
            kubeconfig: None,
            master: Some("https://a:6443".to_owned()),
            ..ApiConfig::default()
        })
    );
    assert_eq!((config.log.verbosity, config.log.format), (4, LogFormat::Json));
}

#[test]
fn flags_that_no_file_covers_count_beside_one_without_a_word() {
    let text = format!("{HEAD}mode: nftables\nclusterCIDR: 10.0.0.0/8\n");
    let more = "--count-connections=7 --wait-for-turn=forever --own-tables --admin-socket none --once";
    let (config, warnings) = file(&text, more).expect("resolved");
    assert_eq!((config.count_connections, warnings), (Some(7), Vec::new()));
}

#[test]
fn keys_that_change_nothing_are_named_once_they_say_something() {
    let text = format!(
        "{HEAD}mode: nftables\nclusterCIDR: 10.0.0.0/8\nportRange: 30000-40000\nenableProfiling: true\nconfigSyncPeriod: 15m0s\n\
         clientConnection: {{kubeconfig: KUBECONFIG, qps: 50, burst: 0, contentType: application/json}}\n\
         ipvs: {{strictARP: true, syncPeriod: 30s, scheduler: \"\"}}\nlogging: {{verbosity: 2, flushFrequency: 5000000000}}\n"
    );
    let (_, warnings) = file(&text, "").expect("resolved");
    let unused = ["clientConnection.qps", "enableProfiling", "ipvs.strictARP", "portRange"];
    assert_eq!(warnings, unused.map(|key| format!("{key} has no effect in ferroproxy")), "defaults say nothing");
    let kubeadm = include_str!("support/kubeadm.conf").replace("mode: \"\"", "mode: nftables");
    let (_, warnings) = file(&kubeadm, "").expect("resolved");
    assert_eq!(warnings, [""; 0], "what kubeadm writes says nothing");
}

#[test]
fn a_source_must_be_there() {
    assert!(matches!(resolve(&args("--once"), &Fake::default()), Err(ConfigError::NoSource)));
    assert!(resolve(&args("--once"), &Fake::pod()).is_ok());
    assert!(message(flags("--kubeconfig /no/such/kubeconfig")).contains("the kubeconfig /no/such/kubeconfig"));
    assert!(message(flags("--config /no/such/file")).contains("the configuration file /no/such/file"));
    let (config, _) = flags("--manifests /some/dir").expect("resolved");
    assert_eq!(config.source, SourceConfig::Manifests("/some/dir".into()));
}

#[test]
fn feature_gates() {
    let (config, warnings) =
        body("clusterCIDR: 10.0.0.0/8\nfeatureGates: {AllowServiceExternalIPs: false, Other: true}\n")
            .expect("resolved");
    assert!(!config.allow_external_ips());
    assert_eq!(warnings, ["featureGates.Other has no effect in ferroproxy"]);
    let (config, _) = flags("--manifests m --feature-gates AllowServiceExternalIPs=false").expect("resolved");
    assert!(!config.allow_external_ips());
}

#[test]
fn a_wrong_type_names_file_path_and_line() {
    let error = message(body("nftables:\n  masqueradeBit: high\n"));
    assert!(error.contains("config.conf: nftables.masqueradeBit: ") && error.contains("line 5"), "{error}");
}
