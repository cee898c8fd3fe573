//! Rung 5: the takeover from kube-proxy, with connections that never stop. kube-proxy's rules are made up here; `api_migrate` has the real one.

mod support;

use std::path::Path;
use std::process::Command;

use ferroproxy::peer::ipset::Ipsets;
use support::daemon::{BINARY, feed, program};
use support::ipset;
use support::kube_proxy::{self, FRONTS, PORTS, Style, has_iptables};
use support::lab::Place;
use support::netns::{self, Netns};
use support::scene::{CLUSTER_CIDR, NODE_NAME, Scene, service, slices};
use support::traffic::Traffic;

/// Pods 0 and 1 serve; pod 2 only asks.
const PODS: usize = 3;

/// A lab with manifests and kube-proxy's rules, and no ferroproxy yet.
fn scene(style: Style) -> Option<Scene> {
    if !netns::is_possible() || (style != Style::Nftables && !has_iptables()) {
        return None;
    }
    let manifests = [("web", service(1, PORTS)), ("slices", slices(1, &[0, 1]))];
    let scene = Scene::laid(PODS, &manifests, &["--cluster-cidr", CLUSTER_CIDR]);
    kube_proxy::write(&scene.lab, style, &[0, 1]);
    Some(scene)
}

fn verify(scene: &Scene, more: &[&str]) -> (Option<i32>, String) {
    let dir = scene.dir.path().to_string_lossy().into_owned();
    let mut args = vec!["migrate", "verify", "--manifests", &dir, "--hostname-override", NODE_NAME];
    args.extend(["--cluster-cidr", CLUSTER_CIDR]);
    args.extend(more);
    scene.ferroproxy(&args)
}

fn cleanup(scene: &Scene) -> (Option<i32>, String) {
    scene.ferroproxy(&["cleanup", "--kube-proxy"])
}

/// Everything of kube-proxy's that is left.
fn left(scene: &Scene) -> Vec<String> {
    let ruleset = scene.lab.nft_ruleset().expect("nft lists");
    let mut lines: Vec<String> = ruleset.lines().map(str::to_owned).collect();
    if has_iptables() {
        let saved = |style| (0..2).flat_map(move |family| kube_proxy::saved(&scene.lab, style, family));
        lines.extend([Style::IptablesNft, Style::IptablesLegacy].into_iter().flat_map(saved));
    }
    lines.retain(|line| line.contains("kube-proxy") || line.contains("KUBE-S") || line.contains("KUBE-PROXY"));
    // ferroproxy's own chains have such names too.
    lines.retain(|line| {
        !line.trim_start().starts_with("chain KUBE-")
            && !line.contains(" . ")
            && !line.trim_start().starts_with("goto KUBE-")
            && !line.trim_start().starts_with("jump KUBE-")
    });
    lines
}

/// Verify, start, stop kube-proxy's part, clean, and back again.
fn take_over_and_roll_back(style: Style) {
    let Some(mut scene) = scene(style) else { return };
    let mut traffic = Traffic::start(&scene.lab, Place::Pod(2), &FRONTS);
    traffic.goes_on("kube-proxy alone");
    let (code, text) = verify(&scene, &[]);
    assert_eq!(code, Some(0), "{text}");
    traffic.goes_on("verified");
    scene.start();
    traffic.goes_on("both in force");
    assert_eq!(verify(&scene, &[]).0, Some(0), "beside a running ferroproxy");
    let (code, text) = cleanup(&scene);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(left(&scene), Vec::<String>::new());
    traffic.goes_on("ferroproxy alone");
    assert_eq!(scene.diff().0, Some(0), "nothing of ferroproxy's was touched");
    // Back: kube-proxy comes first, then ferroproxy goes.
    kube_proxy::write(&scene.lab, style, &[0, 1]);
    traffic.goes_on("both in force again");
    scene.stop();
    assert_eq!(scene.ferroproxy(&["cleanup"]).0, Some(0));
    traffic.goes_on("rolled back");
    traffic.stop();
    assert!(!scene.lab.nft_ruleset().expect("nft lists").contains("ferroproxy"));
}

#[test]
fn from_nftables_mode_and_back_no_connection_is_lost() {
    take_over_and_roll_back(Style::Nftables);
}

#[test]
fn from_iptables_mode_and_back_no_connection_is_lost() {
    take_over_and_roll_back(Style::IptablesNft);
}

#[test]
fn from_iptables_mode_on_legacy_iptables_and_back_no_connection_is_lost() {
    take_over_and_roll_back(Style::IptablesLegacy);
}

#[test]
fn verify_names_what_differs() {
    for style in Style::ALL {
        let Some(scene) = scene(style) else { return };
        // An endpoint more than kube-proxy has.
        scene.write("slices", &slices(1, &[0, 1, 2]));
        let (code, text) = verify(&scene, &[]);
        assert_eq!(code, Some(1), "{style:?}: {text}");
        assert!(text.contains("default/web-1:t, 10.96.0.1:80/tcp"), "{style:?}: {text}");
        assert!(text.contains("kube-proxy: 10.244.0.10:8080, 10.244.0.11:8080\n"), "{style:?}: {text}");
        assert!(
            text.contains("ferroproxy: 10.244.0.10:8080, 10.244.0.11:8080, 10.244.0.12:8080\n"),
            "{style:?}: {text}"
        );
        scene.write("slices", &slices(1, &[0, 1]));
        // Another idea of who is inside the cluster.
        let (code, text) = verify(&scene, &["--masquerade-all", "--output", "json"]);
        let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((code, &answer["same"]), (Some(1), &false.into()), "{style:?}");
        let difference = &answer["differences"][0];
        assert_eq!(difference["service"], "default/web-1:t", "{style:?}: {difference}");
        assert_eq!(difference["kubeProxy"]["endpoints"][0]["masqueraded"], false, "{style:?}: {difference}");
        assert_eq!(difference["ferroproxy"]["endpoints"][0]["masqueraded"], true, "{style:?}: {difference}");
        // A Service kube-proxy has not heard of, and one it has not forgotten.
        scene.write("two", &service(2, "ports: [{name: t, port: 80, protocol: TCP}]"));
        scene.remove("web");
        let (code, text) = verify(&scene, &[]);
        assert_eq!(code, Some(1), "{style:?}");
        assert!(
            text.contains("default/web-2:t, 10.96.0.2:80/tcp") && text.contains("default/web-1:t"),
            "{style:?}: {text}"
        );
    }
}

#[test]
fn verify_in_iptables_mode_compares_with_either_mode() {
    for style in Style::ALL {
        let Some(scene) = scene(style) else { return };
        let second = scene.lab.run("ip", &["address", "add", "192.0.2.11/32", "dev", "lo"]).expect("it runs");
        assert!(second.status.success(), "{second:?}");
        let primary = ["--proxy-mode", "iptables", "--nodeport-addresses", "primary"];
        let (code, text) = verify(&scene, &primary);
        assert_eq!(code, Some(0), "{style:?}: {text}");
        // What is chosen with the mode is told, and is no difference.
        let of_modes = [
            "another port of a cluster IP, 10.96.0.1:1/tcp\n  from a pod; the node; outside; a pod at 10.244.0.1\n    kube-proxy: refused\n    ferroproxy: left alone\n",
            "a cluster IP that no Service has, 10.96.255.254:80/tcp\n  from a pod; the node; outside; a pod at 10.244.0.1\n    kube-proxy: dropped\n",
            "    the modes differ: nftables mode refuses other ports",
            "the same, apart from what the modes differ in (4): 4 frontends",
        ];
        for told in of_modes {
            assert_eq!(text.contains(told), style == Style::Nftables, "{style:?}: {told} in\n{text}");
        }
        assert_eq!(text.starts_with("the same: "), style != Style::Nftables, "{style:?}: {text}");
        // Node ports are another matter: clients notice.
        let (code, text) = verify(&scene, &["--proxy-mode", "iptables"]);
        assert_eq!(code, Some(1), "{style:?}: {text}");
        for told in [
            "default/web-1:t, IPv4 node port 30080/tcp\n",
            "why: ferroproxy's node ports answer on loopback addresses too (iptables.localhostNodePorts); kube-proxy's do not answer here\n",
            "from a pod to 192.0.2.11; the node to 192.0.2.11; outside to 192.0.2.11",
            "why: ferroproxy's node ports answer on every address of the node",
        ] {
            assert!(text.contains(told), "{style:?}: {told} in\n{text}");
        }
        // An endpoint more than kube-proxy has, and what it is worth to a program.
        scene.write("slices", &slices(1, &[0, 1, 2]));
        let (code, text) = verify(&scene, &[&primary[..], &["--output", "json"]].concat());
        let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((code, &answer["same"]), (Some(1), &false.into()), "{style:?}");
        let differences = answer["differences"].as_array().expect("a list");
        let counted: Vec<_> = differences.iter().filter(|difference| difference["ofMode"] == false).collect();
        assert!(counted.len() >= 4 && counted.iter().all(|difference| difference["why"].is_null()), "{counted:?}");
        assert_eq!(counted[0]["ferroproxy"]["endpoints"][2]["address"], "10.244.0.12:8080", "{style:?}: {text}");
    }
}

#[test]
fn without_kube_proxys_rules_there_is_nothing_to_compare() {
    if !netns::is_possible() {
        return;
    }
    let scene = Scene::laid(1, &[], &[]);
    assert_eq!(verify(&scene, &[]).0, Some(2));
    assert_eq!(verify(&scene, &["--proxy-mode", "iptables"]).0, Some(2));
    assert_eq!(cleanup(&scene), (Some(0), "nothing of kube-proxy's to clean up\n".to_owned()));
}

/// Rules of others, kubelet's chains among them.
const OTHERS: &str = "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n\
    *filter\n:KUBE-FIREWALL - [0:0]\n:DOCKER-USER - [0:0]\n-A INPUT -j KUBE-FIREWALL\n-A FORWARD -j DOCKER-USER\n-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP\nCOMMIT\n\
    *nat\n:CNI-HOSTPORT - [0:0]\n-A PREROUTING -p tcp -m tcp --dport 8443 -j CNI-HOSTPORT\nCOMMIT\n";

#[test]
fn cleanup_takes_kube_proxys_chains_and_nobody_elses_in_both_variants() {
    if !netns::is_possible() || !has_iptables() {
        return;
    }
    let scene = Scene::laid(1, &[], &[]);
    scene
        .lab
        .nft("table inet mine { chain c { type filter hook input priority 0; ct state new accept\n }\n }\n")
        .expect("loaded");
    let styles = [Style::IptablesNft, Style::IptablesLegacy];
    let all = || styles.map(|style| [0, 1].map(|family| kube_proxy::saved(&scene.lab, style, family)));
    for style in styles {
        (0..2).for_each(|family| kube_proxy::restore(&scene.lab, style, family, OTHERS));
    }
    let before = all();
    for style in Style::ALL {
        kube_proxy::write(&scene.lab, style, &[0]);
    }
    let full = all();
    let (code, text) = scene.ferroproxy(&["cleanup", "--kube-proxy", "--dry-run"]);
    assert_eq!((code, all()), (Some(0), full), "a dry run removes nothing");
    for line in
        ["would remove table ip kube-proxy", "filter: chain KUBE-FORWARD", "nat: chain KUBE-SEP-AAAAAAAAAAAAAAAA"]
    {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let (code, text) = cleanup(&scene);
    assert_eq!(code, Some(0), "{text}");
    for (removed, family) in
        [("table ip kube-proxy", 4), ("table ip6 kube-proxy", 6), ("iptables-legacy", 4), ("ip6tables-nft", 6)]
    {
        assert!(text.contains(removed), "IPv{family}: {removed} in\n{text}");
    }
    assert_eq!(all(), before, "everything else as it was");
    let ruleset = scene.lab.nft_ruleset().expect("nft lists");
    assert!(ruleset.contains("table inet mine") && !ruleset.contains("kube-proxy"), "{ruleset}");
}

#[test]
fn chains_that_ferroproxy_has_taken_over_in_iptables_mode_stay() {
    if !netns::is_possible() || !has_iptables() {
        return;
    }
    let scene = Scene::laid(1, &[], &[]);
    kube_proxy::write(&scene.lab, Style::IptablesNft, &[0]);
    let hint = "*mangle\n:FERROPROXY-HINT - [0:0]\nCOMMIT\n";
    (0..2).for_each(|family| kube_proxy::restore(&scene.lab, Style::IptablesNft, family, hint));
    let before = kube_proxy::saved(&scene.lab, Style::IptablesNft, 0);
    assert_eq!(cleanup(&scene), (Some(0), "nothing of kube-proxy's to clean up\n".to_owned()));
    assert_eq!(kube_proxy::saved(&scene.lab, Style::IptablesNft, 0), before);
    assert_eq!(verify(&scene, &[]).0, Some(2), "ferroproxy's own rules are nothing to compare with");
}

#[test]
fn a_rule_that_leads_to_kube_proxys_chain_keeps_the_chain_empty_and_is_named() {
    if !netns::is_possible() || !has_iptables() {
        return;
    }
    let scene = Scene::laid(1, &[], &[]);
    kube_proxy::write(&scene.lab, Style::IptablesNft, &[0]);
    let foreign = "*nat\n:CNI-HOSTPORT - [0:0]\n-A CNI-HOSTPORT -s 10.1.0.0/16 -j KUBE-MARK-MASQ\nCOMMIT\n";
    kube_proxy::restore(&scene.lab, Style::IptablesNft, 0, foreign);
    let output = scene.lab.run(BINARY, &["cleanup", "--kube-proxy"]).expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("-A CNI-HOSTPORT -s 10.1.0.0/16 -j KUBE-MARK-MASQ"), "{stderr}");
    let saved = kube_proxy::saved(&scene.lab, Style::IptablesNft, 0);
    let kube: Vec<&String> = saved.iter().filter(|line| line.contains("KUBE-")).collect();
    assert_eq!(kube, [":KUBE-MARK-MASQ -", "-A CNI-HOSTPORT -s 10.1.0.0/16 -j KUBE-MARK-MASQ"]);
}

#[test]
fn a_running_kube_proxy_keeps_its_rules_unless_forced() {
    if !netns::is_possible() {
        return;
    }
    let scene = Scene::laid(1, &[], &[]);
    kube_proxy::write(&scene.lab, Style::Nftables, &[0]);
    let mut child = kube_proxy::process(&scene.lab, scene.dir.path());
    let run = |args: &[&str]| {
        let output = scene.lab.run(BINARY, args).expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    scene.wait_for("the process to have its name", |_| run(&["cleanup", "--kube-proxy"]).0 == Some(2));
    let (_, stderr) = run(&["cleanup", "--kube-proxy"]);
    assert!(stderr.contains("is called kube-proxy") && stderr.contains("Nothing was removed"), "{stderr}");
    assert!(scene.lab.nft_ruleset().expect("nft lists").contains("kube-proxy"));
    let (code, stderr) = run(&["cleanup", "--kube-proxy", "--force"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("a kube-proxy runs here"), "{stderr}");
    assert!(!scene.lab.nft_ruleset().expect("nft lists").contains("kube-proxy"));
    child.kill().expect("killed");
    child.wait().expect("ended");
}

#[test]
fn what_cannot_be_removed_for_lack_of_a_binary_is_an_error_and_what_is_not_there_is_none() {
    if !netns::is_possible() || !has_iptables() {
        return;
    }
    let scene = Scene::laid(1, &[], &[]);
    // In a mount namespace whose directory of binaries is empty.
    let bare = |args: &[&str]| {
        let hidden = "mount -t tmpfs none /usr/sbin && exec \"$0\" \"$@\"";
        let output =
            scene.lab.run("unshare", &[&["-m", "sh", "-c", hidden, BINARY][..], args].concat()).expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = bare(&["cleanup", "--kube-proxy"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("no iptables-nft here, and none of kube-proxy's chains"), "{stderr}");
    kube_proxy::write(&scene.lab, Style::IptablesNft, &[0]);
    let (code, stderr) = bare(&["cleanup", "--kube-proxy"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("there is no iptables-nft-restore") && stderr.contains("install iptables"), "{stderr}");
    kube_proxy::write(&scene.lab, Style::IptablesLegacy, &[0]);
    let (code, stderr) = bare(&["cleanup", "--kube-proxy"]);
    assert!(code == Some(2) && stderr.contains("iptables-legacy is missing"), "{stderr}");
}

#[test]
fn an_interface_called_kube_ipvs0_goes_if_kube_proxy_made_it() {
    if !netns::is_possible() {
        return;
    }
    let netns = Netns::new("ipvs");
    let link = |args: &[&str]| program(&netns, "ip", &[&["link"][..], args].concat());
    let there = || link(&["show", "kube-ipvs0"]).code == Some(0);
    // Of another kind: somebody else's.
    assert_eq!(link(&["add", "kube-ipvs0", "type", "veth", "peer", "name", "peer0"]).code, Some(0));
    let ended = program(&netns, BINARY, &["cleanup", "--kube-proxy"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("kube-ipvs0 is no dummy interface") && there(), "{ended:?}");
    let removed = netns.enter(|| ferroproxy::peer::link::remove("kube-ipvs0"));
    assert!(removed.expect("removed") && !there());
    if link(&["add", "kube-ipvs0", "type", "dummy"]).code != Some(0) {
        eprintln!("\n*** NOT RUN in part: this kernel has no dummy interfaces ***\n");
        return;
    }
    assert_eq!(program(&netns, BINARY, &["cleanup", "--kube-proxy"]).code, Some(0));
    assert!(!there());
}

#[test]
fn the_ipsets_of_ipvs_mode_go_after_the_rules_that_refer_to_them() {
    if !netns::is_possible() {
        return;
    }
    let netns = Netns::new("ipset");
    let known = || netns.enter(|| Ipsets::open(Path::new("/"))).expect("it can be asked");
    if known().is_none() {
        eprintln!("\n*** NOT RUN: this kernel has no ipsets ***\n");
        return;
    }
    let names = || known().expect("ipsets").of_kube_proxy().expect("names");
    netns.enter(|| {
        ipset::addresses("KUBE-IPVS-IPS", 2);
        ipset::addresses("KUBE-6-IPVS-IPS", 10);
        ipset::addresses("KUBE-SRC-OTHERS", 2);
        ipset::ports("KUBE-NODE-PORT-TCP", &[30080, 30443]);
        ipset::ports("KUBE-6-NODE-PORT-TCP", &[30081]);
    });
    assert_eq!(names(), ["KUBE-6-IPVS-IPS", "KUBE-6-NODE-PORT-TCP", "KUBE-IPVS-IPS", "KUBE-NODE-PORT-TCP"]);
    let ports = known().expect("ipsets").node_ports().expect("node ports");
    assert_eq!(ports, [(6, [30080, 30081, 30443].into()), (17, [].into()), (132, [].into())]);

    let refers = |jump: &str| {
        let rules =
            format!("*nat\n:KUBE-SERVICES - [0:0]\n-A {jump} -m set --match-set KUBE-IPVS-IPS dst -j RETURN\nCOMMIT\n");
        let restore = || feed(Command::new("iptables-nft-restore").arg("--noflush"), &rules);
        let output = has_iptables().then(|| netns.enter(restore));
        assert!(output.is_none_or(|output| output.status.success()), "{rules}");
    };
    let clean = || program(&netns, BINARY, &["cleanup", "--kube-proxy"]);
    // Somebody else's rule holds a set: it is named, and stays until that rule goes.
    refers("OUTPUT");
    let ended = clean();
    if has_iptables() {
        assert!(ended.code == Some(2) && ended.stderr.contains("KUBE-IPVS-IPS"), "{ended:?}");
        assert!(names().contains(&"KUBE-IPVS-IPS".to_owned()));
        program(&netns, "iptables-nft", &["-t", "nat", "-F", "OUTPUT"]);
        refers("KUBE-SERVICES");
    }
    let ended = clean();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(names(), [""; 0]);
    assert_eq!(clean().stdout, "nothing of kube-proxy's to clean up\n");
    let mut others = known().expect("ipsets");
    assert!(others.destroy("KUBE-SRC-OTHERS").expect("destroyed"), "another's set was left alone");
}

#[test]
fn check_tells_what_would_break_and_says_so_by_its_exit_code() {
    if !netns::is_possible() {
        return;
    }
    let scene = Scene::laid(1, &[], &[]);
    let check = |body: &str, more: &[&str]| {
        let file = scene.dir.path().join("config.conf");
        let head =
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclusterCIDR: 10.244.0.0/16\n";
        std::fs::write(&file, format!("{head}{body}")).expect("written");
        let file = file.to_string_lossy().into_owned();
        scene.ferroproxy(&[&["migrate", "check", "--config", &file][..], more].concat())
    };
    let (code, text) = check("mode: nftables\n", &[]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = check("mode: ipvs\n", &["--output", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &answer["breaks"]), (Some(1), &true.into()), "{text}");
    let (code, text) = check(
        "mode: iptables\niptables: {localhostNodePorts: false}\nnodePortAddresses: [primary]\n",
        &["--proxy-mode", "nftables"],
    );
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(check("mode: [\n", &[]).0, Some(2));
    if has_iptables() {
        kube_proxy::write(&scene.lab, Style::IptablesNft, &[0]);
        kube_proxy::restore(&scene.lab, Style::IptablesNft, 0, "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n");
        let (code, text) = check("mode: nftables\n", &[]);
        assert!(code == Some(1) && text.contains("forward-policy") && text.contains("stale-rules"), "{text}");
    }
}
