//! Rung 5: a node passes from kube-proxy's iptables mode to ferroproxy's, on to nftables mode, and all the way back, with connections that
//! never stop. kube-proxy's rules are made up here; `api_passage` has the real one.

mod support;

use support::kube_proxy::{self, FRONTS, PORTS, Style, has_iptables};
use support::lab::Place;
use support::netns;
use support::scene::{CLUSTER_CIDR, Scene, service, slices};
use support::traffic::Traffic;

/// Pods 0 and 1 serve, pod 2 comes and goes, pod 3 only asks.
const PODS: usize = 4;
/// What kubelet leaves on a node: the variant it uses.
const KUBELETS: &str = "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n";
/// Stands where the chains are ferroproxy's.
const HINT: &str = ":FERROPROXY-HINT -";
/// A chain of kube-proxy's made-up rules, which has no such name in ferroproxy's.
const THEIRS: &str = ":KUBE-SVC-AAAAAAAAAAAAAAAA -";
const TABLES: [&str; 2] = ["table ip ferroproxy", "table ip6 ferroproxy"];

struct Passage {
    scene: Scene,
    style: Style,
    traffic: Traffic,
}

impl Passage {
    /// kube-proxy's rules are in force, nothing of ferroproxy's, and everybody asks.
    fn begin(style: Style) -> Passage {
        let manifests = [("web", service(1, PORTS)), ("slices", slices(1, &[0, 1]))];
        let scene = Scene::laid(PODS, &manifests, &[]);
        (0..2).for_each(|family| kube_proxy::restore(&scene.lab, style, family, KUBELETS));
        kube_proxy::write(&scene.lab, style, &[0, 1]);
        let traffic = Traffic::start(&scene.lab, Place::Pod(3), &FRONTS);
        let mut passage = Passage { scene, style, traffic };
        passage.traffic.goes_on("kube-proxy alone");
        passage
    }

    /// ferroproxy in a mode, after whoever was there; it follows changes, and what the other left is gone.
    fn to(&mut self, mode: &str) {
        let args = ["--proxy-mode", mode, "--cluster-cidr", CLUSTER_CIDR, "--nodeport-addresses", "primary"];
        let more = ["--iptables-min-sync-period", "1ms"];
        self.scene.stop();
        self.scene.restart_with(&[&args[..], &more].concat());
        self.traffic.goes_on(&format!("ferroproxy, {mode} mode"));
        for pods in [&[0, 1, 2][..], &[0, 1]] {
            self.scene.write("slices", &slices(1, pods));
            self.scene.settle();
            self.traffic.goes_on(&format!("{mode} mode: endpoints {pods:?}"));
        }
        let (tables, chains) = (mode == "nftables", mode == "iptables");
        self.scene.wait_for("the other mode's rules to go", |_| self.has(HINT) == chains);
        let ruleset = self.scene.lab.nft_ruleset().expect("nft lists");
        assert_eq!(TABLES.map(|table| ruleset.contains(table)), [tables; 2], "{mode}");
        assert!(!self.has(THEIRS), "{mode}: what kube-proxy left is gone");
    }

    /// Whether a line stands in the tables of both families; in one alone is a failure.
    fn has(&self, line: &str) -> bool {
        let found =
            [0, 1].map(|family| kube_proxy::saved(&self.scene.lab, self.style, family).iter().any(|is| is == line));
        found == [true; 2]
    }

    /// kube-proxy's own rules once more, over those of ferroproxy's that stand, and nothing of ferroproxy's.
    fn back(mut self) {
        self.scene.stop();
        kube_proxy::take_back(&self.scene.lab, self.style, &[0, 1]);
        let mut process = kube_proxy::process(&self.scene.lab, self.scene.dir.path());
        self.traffic.goes_on("kube-proxy, and ferroproxy's mark");
        let cleanup = |scene: &Scene| scene.ferroproxy(&["cleanup"]);
        self.scene.wait_for("kube-proxy to be seen", |scene| {
            scene.ferroproxy(&["cleanup", "--dry-run"]).1.contains("would remove the mark of iptables mode")
        });
        let (code, text) = cleanup(&self.scene);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("removed the mark of iptables mode"), "{text}");
        assert!(self.has(THEIRS) && !self.has(HINT));
        self.traffic.goes_on("kube-proxy alone again");
        self.traffic.stop();
        assert_eq!(cleanup(&self.scene), (Some(0), "nothing to clean up\n".to_owned()));
        process.kill().expect("killed");
        process.wait().expect("ended");
    }
}

fn there_and_back(style: Style) {
    if !netns::is_possible() || !has_iptables() {
        return;
    }
    let mut passage = Passage::begin(style);
    for mode in ["iptables", "nftables", "iptables"] {
        passage.to(mode);
    }
    passage.back();
}

#[test]
fn by_iptables_nft_through_both_modes_and_back_no_connection_is_lost() {
    there_and_back(Style::IptablesNft);
}

#[test]
fn by_iptables_legacy_through_both_modes_and_back_no_connection_is_lost() {
    there_and_back(Style::IptablesLegacy);
}

#[test]
fn beside_a_kube_proxy_with_rules_of_its_own_our_chains_go() {
    if !netns::is_possible() || !has_iptables() {
        return;
    }
    let mode = ["--proxy-mode", "iptables", "--cluster-cidr", CLUSTER_CIDR];
    let mut scene = Scene::with_args(PODS, &[("web", service(1, PORTS)), ("slices", slices(1, &[0, 1]))], &mode);
    scene.stop();
    kube_proxy::write(&scene.lab, Style::Nftables, &[0, 1]);
    let mut process = kube_proxy::process(&scene.lab, scene.dir.path());
    scene.wait_for("kube-proxy to be seen", |scene| scene.ferroproxy(&["cleanup", "--kube-proxy"]).0 == Some(2));
    let (code, text) = scene.ferroproxy(&["cleanup"]);
    assert!(code == Some(0) && text.contains("removed the chains of iptables mode"), "{text}");
    let ruleset = scene.lab.nft_ruleset().expect("nft lists");
    assert!(ruleset.contains("table ip kube-proxy"), "{ruleset}");
    let chains = kube_proxy::saved(&scene.lab, Style::IptablesNft, 0);
    assert!(!chains.iter().any(|line| line.starts_with(":KUBE-S")), "{chains:?}");
    process.kill().expect("killed");
    process.wait().expect("ended");
}
