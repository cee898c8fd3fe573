use std::net::IpAddr;

use super::finding::Severity::{Breaks, Differs, Note};
use super::*;
use crate::cli::args::{Cli, Command, Migrate};
use crate::model::Family;
use crate::peer::iptables::parse;
use crate::peer::nft::Strict;

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

/// What a file says, read as the command reads it.
fn written(body: &str, flags: &[&str]) -> Written {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{HEAD}{body}")).unwrap();
    let path = file.path().to_string_lossy().into_owned();
    let argv = ["ferroproxy", "migrate", "check", "--config", &path].into_iter().chain(flags.iter().copied());
    match Cli::parse_line(argv.map(Into::into)).unwrap().command {
        Command::Migrate(Migrate::Check(args)) => resolve::written(&args.config).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A node with nothing special about it.
fn plain() -> Facts {
    let local: [IpAddr; 2] = [[127, 0, 0, 1].into(), [192, 0, 2, 10].into()];
    Facts { local: local.into(), is_able: true, has_nft: true, ..Facts::default() }
}

fn found(body: &str, flags: &[&str], facts: &Facts) -> Vec<(&'static str, Severity)> {
    findings(&written(body, flags), facts).into_iter().map(|finding| (finding.id, finding.severity)).collect()
}

const NFTABLES: &str = "mode: nftables\nclusterCIDR: 10.244.0.0/16\n";

#[test]
fn from_nftables_to_nftables_nothing_changes() {
    assert_eq!(found(NFTABLES, &[], &plain()), []);
}

#[test]
fn from_iptables_to_nftables_node_ports_and_invalid_packets_change() {
    let body = "mode: ''\nclusterCIDR: 10.244.0.0/16\n";
    let ids = [
        ("localhost-nodeports", Breaks),
        ("mode", Differs),
        ("invalid-packets", Differs),
        ("nodeport-addresses", Note),
    ];
    assert_eq!(found(body, &[], &plain()), ids);
    // More addresses than one: some of them would no longer answer.
    let mut several = plain();
    several.local.insert([198, 51, 100, 1].into());
    assert!(found(body, &[], &several).contains(&("nodeport-addresses", Breaks)));
}

#[test]
fn what_is_said_in_the_file_settles_it() {
    let body = "mode: iptables\nclusterCIDR: 10.244.0.0/16\nnodePortAddresses: [0.0.0.0/0, '::/0']\niptables: {localhostNodePorts: false}\n\
         conntrack: {tcpBeLiberal: true}\n";
    assert_eq!(found(body, &["--proxy-mode=nftables"], &plain()), [("mode", Differs)]);
}

#[test]
fn ipvs_names_its_scheduler_and_what_to_give() {
    let body = "mode: ipvs\nclusterCIDR: 10.244.0.0/16\nnodePortAddresses: [primary]\nipvs: {scheduler: sh, strictARP: true}\n";
    let ids = found(body, &[], &plain());
    assert_eq!(
        ids,
        [("mode", Breaks), ("ipvs-scheduler", Breaks), ("ipvs-addresses", Differs), ("ipvs-strict-arp", Note)]
    );
    assert_eq!(found(body, &["--proxy-mode=nftables"], &plain())[1], ("mode", Differs));
}

#[test]
fn a_detector_that_never_matches_and_a_value_out_of_range_are_named() {
    let body = "mode: nftables\ndetectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}\n";
    assert_eq!(found(body, &[], &plain()), [("detect-local", Note)]);
    let here = Facts { interfaces: vec!["cni0".to_owned()], ..plain() };
    assert_eq!(found(body, &[], &here), []);
    assert_eq!(found("mode: nftables\nclusterCIDR: 10.0.0.0/99\n", &[], &plain()), [("configuration", Breaks)]);
}

#[test]
fn what_the_kernel_lacks_breaks_unless_a_family_is_left() {
    let facts = |is_able| Facts { complaints: vec!["IPv6: none".to_owned()], is_able, ..plain() };
    assert_eq!(found(NFTABLES, &[], &facts(true)), [("kernel", Differs)]);
    assert_eq!(found(NFTABLES, &[], &facts(false)), [("kernel", Breaks)]);
}

#[test]
fn bridges_that_do_not_call_netfilter_are_named_for_each_family() {
    let bridged_is_filtered = vec![(Family::V4, true), (Family::V6, false)];
    let facts = Facts { bridges: vec!["cni0".to_owned()], bridged_is_filtered, ..plain() };
    assert_eq!(found(NFTABLES, &[], &facts), [("bridge-netfilter", Differs)]);
}

#[test]
fn a_kube_proxy_that_runs_is_no_trouble_unless_its_ports_are_asked_for() {
    let facts = Facts { running: Some("process 7".to_owned()), ..plain() };
    assert_eq!(found(NFTABLES, &[], &facts), [("kube-proxy-runs", Note)]);
    assert_eq!(found(&format!("{NFTABLES}bindAddressHardFail: true\n"), &[], &facts), [("kube-proxy-runs", Breaks)]);
}

#[test]
fn sysctls_that_differ_are_noted() {
    let facts = Facts { conntrack: vec![("nf_conntrack_max", 1, 2), ("x", 3, 3)], ..plain() };
    assert_eq!(found(NFTABLES, &[], &facts), [("conntrack", Note)]);
}

const FORWARD: &str = "*filter\n:FORWARD DROP [0:0]\n:KUBE-FORWARD - [0:0]\n\
    -A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD\n\
    -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\n";

fn with_rules(text: &str) -> Facts {
    Facts { saves: vec![(Family::V4, "iptables-nft".to_owned(), parse(text))], ..plain() }
}

#[test]
fn a_forward_policy_of_drop_that_kube_proxy_made_up_for_breaks() {
    let body = "mode: iptables\nclusterCIDR: 10.244.0.0/16\nnodePortAddresses: [primary]\niptables: {localhostNodePorts: false}\n\
                conntrack: {tcpBeLiberal: true}\n";
    let flags = ["--proxy-mode=nftables"];
    assert_eq!(
        found(body, &flags, &with_rules(&format!("{FORWARD}COMMIT\n"))),
        [("forward-policy", Breaks), ("mode", Differs)]
    );
    let flannel = format!("{FORWARD}-A FORWARD -d 10.244.0.0/16 -j ACCEPT\nCOMMIT\n");
    assert_eq!(found(body, &flags, &with_rules(&flannel)), [("mode", Differs)]);
    // In nftables mode kube-proxy's leftovers are stale, but what they accept still counts.
    let stale = found(NFTABLES, &[], &with_rules(&format!("{FORWARD}COMMIT\n")));
    assert_eq!(stale, [("forward-policy", Breaks), ("stale-rules", Note)]);
}

#[test]
fn a_rule_of_others_that_leads_to_kube_proxys_chains_breaks() {
    let text = "*nat\n:CNI-HOSTPORT - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n-A CNI-HOSTPORT -p tcp -j KUBE-MARK-MASQ\n\
                -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\nCOMMIT\n";
    assert_eq!(found(NFTABLES, &[], &with_rules(text)), [("foreign-reference", Breaks), ("stale-rules", Note)]);
}

#[test]
fn a_strict_chain_of_somebody_else_is_named_once() {
    let strict = |table: &str, chain: &str| Strict { table: table.to_owned(), chain: chain.to_owned() };
    let chains = vec![
        (Family::V4, strict("filter", "FORWARD")),
        (Family::V4, strict("firewalld", "filter_FORWARD")),
        (Family::V6, strict("firewalld", "filter_FORWARD")),
    ];
    assert_eq!(found(NFTABLES, &[], &Facts { strict: chains, ..plain() }), [("strict-forward", Note)]);
}

#[test]
fn files_of_the_node_are_read() {
    let root = tempfile::TempDir::new().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("sys/class/net/cni0/brif/veth0/port_no", "1");
    write("sys/class/net/eth0/mtu", "1500");
    write("proc/sys/net/bridge/bridge-nf-call-iptables", "1\n");
    write("proc/sys/net/ipv4/conf/all/route_localnet", "1\n");
    write("proc/sys/net/netfilter/nf_conntrack_max", "1000\n");
    write("usr/sbin/nft", "");
    let mut facts = Facts::default();
    facts.files(root.path(), &crate::model::ConntrackConfig::default());
    assert_eq!(
        (facts.interfaces, facts.bridges),
        (vec!["cni0".to_owned(), "eth0".to_owned()], vec!["cni0".to_owned()])
    );
    assert_eq!(facts.bridged_is_filtered, [(Family::V4, true), (Family::V6, false)]);
    assert!(facts.routes_loopback && facts.has_nft);
    assert_eq!(
        facts.conntrack.iter().map(|(name, now, _)| (*name, *now)).collect::<Vec<_>>(),
        [("nf_conntrack_max", 1000)]
    );
}
