//! Rung 6: a node passes from a real kube-proxy in iptables mode to ferroproxy's iptables mode, on to nftables mode, and all the way back,
//! beside a real API server and with connections that never stop. Runs where KUBE_PROXY_BIN names the binary and FERROPROXY_TEST_KUBECONFIG
//! the API server; else it says so.

mod support;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use support::cluster::Cluster;
use support::kube_proxy::{Style, has_iptables, restore, saved};
use support::lab::{HEALTHZ, Lab, METRICS, NODE, PATIENCE, Place, Proxy};
use support::netns;
use support::real_kube_proxy::{KubeProxy, Variant, binary};
use support::scene::{BINARY, CLUSTER_CIDR};
use support::traffic::Traffic;

const WEB: &str = "web";
/// Pods 0 and 1 serve, pod 2 comes and goes, pod 3 only asks.
const PODS: usize = 4;
const ASKS: Place = Place::Pod(3);
/// Stands in the mangle table where the chains are ferroproxy's.
const HINT: &str = ":FERROPROXY-HINT -";

struct Passage {
    binary: PathBuf,
    style: Style,
    variant: Variant,
    cluster: Cluster,
    lab: Lab,
    fronts: Vec<String>,
}

impl Passage {
    /// A Service on four frontends, and a node whose kubelet has said which variant it uses.
    fn prepare(binary: PathBuf, cluster: Cluster, (style, variant): (Style, Variant)) -> Passage {
        let mut lab = Lab::new(PODS).expect("the lab stands");
        lab.serve_tcp(8080).expect("servers listen");
        cluster.reach_from(&lab);
        let kubelets = "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n";
        (0..2).for_each(|family| restore(&lab, style, family, kubelets));
        let ports = json!([{"name": "t", "port": 80, "targetPort": 8080}]);
        cluster.service(WEB, &json!({"type": "NodePort", "ipFamilyPolicy": "RequireDualStack", "ports": ports}));
        let ips = cluster.field(&["service", WEB], ".spec.clusterIPs[*]");
        let node_port: u16 = cluster.field(&["service", WEB], ".spec.ports[0].nodePort").parse().expect("a port");
        let front = |ip: IpAddr, port| std::net::SocketAddr::new(ip, port).to_string();
        let mut fronts: Vec<String> =
            ips.split_whitespace().map(|ip| front(ip.parse().expect("an address"), 80)).collect();
        fronts.extend(NODE.map(|ip| front(ip, node_port)));
        let passage = Passage { binary, style, variant, cluster, lab, fronts };
        passage.endpoints(&[0, 1]);
        passage
    }

    fn endpoints(&self, pods: &[usize]) {
        let pods: Vec<(usize, &str)> = pods.iter().map(|index| (*index, self.cluster.id())).collect();
        self.cluster.slices(WEB, "t", &pods);
    }

    /// ferroproxy's exit code and what it prints.
    fn ferroproxy(&self, command: &[&str], more: &[&str]) -> (Option<i32>, String) {
        let output = self.lab.run(BINARY, &[command, more].concat()).expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs something of ours in a mode, with where the objects come from.
    fn of_mode<T>(&self, mode: &str, run: impl FnOnce(&[&str]) -> T) -> T {
        let kubeconfig = self.cluster.kubeconfig().to_string_lossy().into_owned();
        run(&[
            "--kubeconfig",
            &kubeconfig,
            "--hostname-override",
            self.cluster.id(),
            "--cluster-cidr",
            CLUSTER_CIDR,
            "--nodeport-addresses",
            "primary",
            "--iptables-min-sync-period",
            "1ms",
            "--proxy-mode",
            mode,
        ])
    }

    /// A kube-proxy that has synced.
    fn kube_proxy(&self) -> KubeProxy {
        let proxy = KubeProxy::start_on(&self.variant, &self.binary, &self.lab, &self.cluster);
        self.wait_for("kube-proxy", || matches!(self.lab.http_get(HEALTHZ, "/healthz"), Ok((200, _))));
        proxy
    }

    /// ferroproxy in a mode, while everybody asks; it follows changes.
    fn through(&self, mode: &str, traffic: &mut Traffic) {
        let served = ["run", "--healthz-bind-address", HEALTHZ, "--metrics-bind-address", METRICS];
        let start = |args: &[&str]| Proxy::spawn(&self.lab, Path::new(BINARY), &[&served[..], args].concat());
        let mut proxy = self.of_mode(mode, start).expect("it starts");
        proxy.wait_ready(&self.lab).expect("healthy");
        traffic.goes_on(&format!("ferroproxy, {mode} mode"));
        for pods in [&[0, 1, 2][..], &[0, 1]] {
            self.endpoints(pods);
            self.wait_for("the change to be in force", || {
                self.of_mode(mode, |args| self.ferroproxy(&["diff"], args)).0 == Some(0)
            });
            traffic.goes_on(&format!("{mode} mode: endpoints {pods:?}"));
        }
        self.wait_for("the other mode's rules to go", || self.is_marked() == (mode == "iptables"));
        let ruleset = self.lab.nft_ruleset().expect("nft lists");
        assert_eq!(ruleset.contains("table ip ferroproxy"), mode == "nftables");
        assert!(proxy.stop().expect("it ends").success());
        traffic.goes_on("its rules stay");
    }

    fn is_marked(&self) -> bool {
        let marked = |family| saved(&self.lab, self.style, family).iter().any(|line| line == HINT);
        marked(0) && marked(1)
    }

    fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < end, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers(&self, pod: &str) -> bool {
        let mut asked = (0..20).map(|_| self.lab.tcp(ASKS, &self.fronts[0], PATIENCE));
        asked.any(|answer| answer.is_ok_and(|answer| answer.name == pod))
    }

    fn there_and_back(self) {
        let proxy = self.kube_proxy();
        self.wait_for("every frontend", || self.fronts.iter().all(|to| self.lab.tcp(ASKS, to, PATIENCE).is_ok()));
        let mut traffic = Traffic::start(&self.lab, ASKS, &self.fronts);
        traffic.goes_on("kube-proxy alone");
        // Others may change what the API server has meanwhile: it counts what both come to.
        let verify = |args: &[&str]| self.ferroproxy(&["migrate", "verify"], args);
        self.wait_for("both to decide alike", || self.of_mode("iptables", verify).0 == Some(0));
        proxy.stop();
        for mode in ["iptables", "nftables", "iptables"] {
            self.through(mode, &mut traffic);
        }
        let proxy = self.kube_proxy();
        traffic.goes_on("kube-proxy over ferroproxy's chains");
        let (code, text) = self.ferroproxy(&["cleanup"], &[]);
        assert!(code == Some(0) && text.contains("removed the mark of iptables mode"), "{text}");
        assert!(!self.is_marked());
        // The chains are kube-proxy's own again: it follows.
        self.endpoints(&[0, 1, 2]);
        self.wait_for("kube-proxy to follow", || self.answers("pod2"));
        traffic.goes_on("kube-proxy alone again");
        traffic.stop();
        assert_eq!(self.ferroproxy(&["cleanup"], &[]), (Some(0), "nothing to clean up\n".to_owned()));
        proxy.stop();
        assert_eq!(self.ferroproxy(&["cleanup", "--kube-proxy"], &[]).0, Some(0));
    }
}

#[test]
fn from_a_real_kube_proxy_through_both_modes_and_back_no_connection_is_lost() {
    if !netns::is_possible() || !has_iptables() {
        return;
    }
    let Some(binary) = binary() else { return };
    for (style, variant) in [(Style::IptablesNft, "nft"), (Style::IptablesLegacy, "legacy")] {
        let Some(cluster) = Cluster::new(&format!("passage-{variant}")) else { return };
        Passage::prepare(binary.clone(), cluster, (style, Variant::new(variant))).there_and_back();
    }
}
