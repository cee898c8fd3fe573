//! Rules as kube-proxy writes them, made up here for one Service: `default/web-1:t` of [`super::scene::service`], TCP port 80 and node port 30080,
//! policy Cluster, on the lab's node.

#![allow(dead_code, reason = "each user needs another part of it")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command};

use super::lab::{Lab, NODE, Place, pod};

/// The ports of the Service these rules are for.
pub const PORTS: &str = "type: NodePort\nports: [{name: t, port: 80, protocol: TCP, nodePort: 30080}]";
/// Its frontends: cluster IPs and node ports, a pair a family.
pub const FRONTS: [&str; 4] = ["10.96.0.1:80", "[fd00:10:96::1]:80", "192.0.2.10:30080", "[2001:db8::10]:30080"];

const CLUSTER_IPS: [&str; 2] = ["10.96.0.1", "fd00:10:96::1"];
const SERVICE_CIDRS: [&str; 2] = ["10.96.0.0/16", "fd00:10:96::/112"];
const CLUSTER_CIDRS: [&str; 2] = ["10.244.0.0/16", "fd00:10:244::/64"];

/// What the rules are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Nftables,
    IptablesNft,
    IptablesLegacy,
}

impl Style {
    pub const ALL: [Style; 3] = [Style::Nftables, Style::IptablesNft, Style::IptablesLegacy];

    /// What is between `iptables` and `save`.
    fn infix(self) -> &'static str {
        match self {
            Style::Nftables => "",
            Style::IptablesNft => "-nft",
            Style::IptablesLegacy => "-legacy",
        }
    }
}

/// Whether iptables is here. A test that goes without says so; where `CI` is set it fails.
pub fn has_iptables() -> bool {
    let has = |name: &str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let all = ["iptables-nft-save", "iptables-legacy-save", "ip6tables-nft-save", "ip6tables-legacy-save"];
    let missing: Vec<_> = all.into_iter().filter(|name| !has(name)).collect();
    if !missing.is_empty() {
        eprintln!(
            "\n*** NOT RUN: {} missing (package iptables; scripts/setup.sh installs it) ***\n",
            missing.join(", ")
        );
        assert!(std::env::var_os("CI").is_none(), "iptables must be there where CI is set");
    }
    missing.is_empty()
}

/// Writes the rules on the lab's node, for these pods as endpoints, of which all are on the node.
pub fn write(lab: &Lab, style: Style, pods: &[usize]) {
    for family in 0..2 {
        match style {
            Style::Nftables => lab.nft(&nft(family, pods)).expect("nft takes kube-proxy's table"),
            _ => restore(lab, style, family, &iptables(family, pods)),
        }
    }
}

/// Takes over chains of these names that stand already, as kube-proxy does: shared chains are written anew, jumps that stand stay.
pub fn take_back(lab: &Lab, style: Style, pods: &[usize]) {
    let is_jump = |line: &&str| {
        ["PREROUTING", "OUTPUT", "POSTROUTING", "FORWARD"].iter().any(|c| line.starts_with(&format!("-A {c} ")))
    };
    for family in 0..2 {
        let text: Vec<String> =
            iptables(family, pods).lines().filter(|line| !is_jump(line)).map(|l| format!("{l}\n")).collect();
        restore(lab, style, family, &text.concat());
    }
}

/// A process called kube-proxy on the lab's node, which does nothing; its binary is put into `dir`.
pub fn process(lab: &Lab, dir: &Path) -> Child {
    let program = dir.join("kube-proxy");
    std::fs::copy("/bin/sleep", &program).expect("copied");
    let spawn = || Command::new(&program).arg("600").spawn();
    lab.space(Place::Node).run(spawn).expect("entered").expect("it starts")
}

/// iptables rules, by `iptables-restore --noflush`.
pub fn restore(lab: &Lab, style: Style, family: usize, text: &str) {
    let name = format!("{}{}-restore", ["iptables", "ip6tables"][family], style.infix());
    let output = lab.space(Place::Node).feed(&name, &["--noflush"], text).expect("iptables-restore runs");
    assert!(output.status.success(), "{name}: {}\n{text}", String::from_utf8_lossy(&output.stderr));
}

/// What `iptables-save` of a style prints, comments and counters apart.
pub fn saved(lab: &Lab, style: Style, family: usize) -> Vec<String> {
    let name = format!("{}{}-save", ["iptables", "ip6tables"][family], style.infix());
    let output = lab.run(&name, &[]).expect("iptables-save runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let uncounted = |line: &str| line.split(" [").next().unwrap_or_default().to_owned();
    text.lines().filter(|line| !line.starts_with('#')).map(uncounted).collect()
}

/// The table `kube-proxy` of a family, emptied and filled.
pub fn nft(family: usize, pods: &[usize]) -> String {
    let ip = ["ip", "ip6"][family];
    let (vip, cidr, node) = (CLUSTER_IPS[family], CLUSTER_CIDRS[family], NODE[family]);
    let (address, services) = (["ipv4_addr", "ipv6_addr"][family], SERVICE_CIDRS[family]);
    let ips: Vec<String> = pods.iter().map(|index| pod(*index)[family].to_string()).collect();
    let slots: Vec<String> = ips.iter().enumerate().map(|(slot, ip)| format!("{slot} : {ip} . 8080")).collect();
    let hairpin: Vec<String> = ips.iter().map(|ip| format!("{ip} . {ip} . tcp . 8080")).collect();
    let (count, slots, hairpin) = (slots.len(), slots.join(", "), hairpin.join(", "));
    format!(
        "add table {ip} kube-proxy
delete table {ip} kube-proxy
table {ip} kube-proxy {{
  comment \"rules for kube-proxy\"
  set cluster-ips {{ type {address}; elements = {{ {vip} }} }}
  set nodeport-ips {{ type {address}; elements = {{ {node} }} }}
  set hairpin-connections {{ type {address} . {address} . inet_proto . inet_service; elements = {{ {hairpin} }} }}
  map no-endpoint-services {{ type {address} . inet_proto . inet_service : verdict; }}
  map service-ips {{ type {address} . inet_proto . inet_service : verdict; elements = {{ {vip} . tcp . 80 : goto service-AAAAAAAA-default/web-1/tcp/t }} }}
  map service-nodeports {{ type inet_proto . inet_service : verdict; elements = {{ tcp . 30080 : goto external-AAAAAAAA-default/web-1/tcp/t }} }}
  chain filter-forward {{ type filter hook forward priority 0; ct state new jump service-endpoints-check; ct state new jump cluster-ips-check; }}
  chain filter-output {{ type filter hook output priority 0; ct state new jump service-endpoints-check; ct state new jump cluster-ips-check; }}
  chain nat-prerouting {{ type nat hook prerouting priority -100; jump services; }}
  chain nat-output {{ type nat hook output priority -100; jump services; }}
  chain nat-postrouting {{ type nat hook postrouting priority 100; jump masquerading; }}
  chain service-endpoints-check {{ {ip} daddr . meta l4proto . th dport vmap @no-endpoint-services; }}
  chain cluster-ips-check {{ {ip} daddr @cluster-ips reject; {ip} daddr {services} drop; }}
  chain services {{
    {ip} daddr @cluster-ips {ip} saddr != {cidr} meta mark set meta mark or 0x4000
    {ip} daddr . meta l4proto . th dport vmap @service-ips
    {ip} daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }}
  chain masquerading {{
    meta mark & 0x4000 != 0 meta mark set meta mark xor 0x4000 masquerade fully-random
    ct status dnat {ip} saddr . {ip} daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random
  }}
  chain external-AAAAAAAA-default/web-1/tcp/t {{ meta mark set meta mark or 0x4000; goto service-AAAAAAAA-default/web-1/tcp/t; }}
  chain service-AAAAAAAA-default/web-1/tcp/t {{ meta l4proto tcp dnat {ip} addr . port to numgen random mod {count} map {{ {slots} }}; }}
}}
"
    )
}

/// The chains of a family as iptables-restore reads them. Jumps are added, not replaced: load it once.
pub fn iptables(family: usize, pods: &[usize]) -> String {
    let (vip, cidr, node) = (CLUSTER_IPS[family], CLUSTER_CIDRS[family], NODE[family]);
    let mut text = String::from("*nat\n");
    for chain in [
        "SERVICES",
        "NODEPORTS",
        "POSTROUTING",
        "MARK-MASQ",
        "PROXY-CANARY",
        "SVC-AAAAAAAAAAAAAAAA",
        "EXT-AAAAAAAAAAAAAAAA",
    ] {
        let _ = writeln!(text, ":KUBE-{chain} - [0:0]");
    }
    let portals = "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES";
    let web = |what: &str| format!("-m comment --comment \"default/web-1:t{what}\"");
    let lines = [
        format!("-A PREROUTING {portals}"),
        format!("-A OUTPUT {portals}"),
        "-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING".to_owned(),
        format!(
            "-A KUBE-SERVICES -d {vip} -p tcp {} -m tcp --dport 80 -j KUBE-SVC-AAAAAAAAAAAAAAAA",
            web(" cluster IP")
        ),
        format!("-A KUBE-SERVICES -d {node} -m comment --comment \"kubernetes service nodeports\" -j KUBE-NODEPORTS"),
        format!("-A KUBE-NODEPORTS -p tcp {} -m tcp --dport 30080 -j KUBE-EXT-AAAAAAAAAAAAAAAA", web("")),
        "-A KUBE-EXT-AAAAAAAAAAAAAAAA -j KUBE-MARK-MASQ".to_owned(),
        "-A KUBE-EXT-AAAAAAAAAAAAAAAA -j KUBE-SVC-AAAAAAAAAAAAAAAA".to_owned(),
        format!(
            "-A KUBE-SVC-AAAAAAAAAAAAAAAA ! -s {cidr} -d {vip} -p tcp {} -m tcp --dport 80 -j KUBE-MARK-MASQ",
            web(" cluster IP")
        ),
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000".to_owned(),
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN".to_owned(),
        "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0".to_owned(),
        "-A KUBE-POSTROUTING -j MASQUERADE --random-fully".to_owned(),
    ];
    text.extend(lines.iter().map(|line| format!("{line}\n")));
    for (place, index) in pods.iter().enumerate() {
        let (ip, chain) = (pod(*index)[family].to_string(), format!("KUBE-SEP-{:A<16}", ["A", "B", "C", "D"][place]));
        let to = std::net::SocketAddr::new(pod(*index)[family], 8080);
        let rest = pods.len() - place;
        let chance = if rest > 1 {
            format!("-m statistic --mode random --probability {:.10} ", 1.0 / rest as f64)
        } else {
            String::new()
        };
        let _ = write!(
            text,
            ":{chain} - [0:0]\n-A KUBE-SVC-AAAAAAAAAAAAAAAA {} {chance}-j {chain}\n-A {chain} -s {ip} {} -j KUBE-MARK-MASQ\n\
             -A {chain} -p tcp {} -m tcp -j DNAT --to-destination {to}\n",
            web(&format!(" -> {to}")),
            web(""),
            web("")
        );
    }
    text.push_str("COMMIT\n*filter\n:KUBE-FORWARD - [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-PROXY-CANARY - [0:0]\n");
    text.push_str("-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD\n");
    text.push_str(
        "-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n",
    );
    text.push_str("-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\nCOMMIT\n");
    text.push_str("*mangle\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n");
    text
}
