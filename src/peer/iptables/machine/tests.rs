use super::*;
use crate::model::{Family, Protocol};
use crate::peer::iptables::{admitted, frontends, local_networks, parse, stickiness};
use crate::peer::packet::Frontend;

/// Written by hand, as kube-proxy 1.36 lays it out: `shop/web` with a cluster IP, a node port under policy Local and a guarded load-balancer IP,
/// two endpoints of which one is on the node; `shop/idle` without endpoints.
const RULES: &str = r#"
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-EXT-WEB - [0:0]
:KUBE-FW-WEB - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SEP-A - [0:0]
:KUBE-SEP-B - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-WEB - [0:0]
:KUBE-SVL-WEB - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -p tcp -m tcp --dport 80 -j DROP
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-EXT-WEB -s 10.244.0.0/16 -m comment --comment "pod traffic for shop/web:t external destinations" -j KUBE-SVC-WEB
-A KUBE-EXT-WEB -m comment --comment "masquerade LOCAL traffic for shop/web:t external destinations" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
-A KUBE-EXT-WEB -m comment --comment "route LOCAL traffic for shop/web:t external destinations" -m addrtype --src-type LOCAL -j KUBE-SVC-WEB
-A KUBE-EXT-WEB -j KUBE-SVL-WEB
-A KUBE-FW-WEB -s 203.0.113.0/24 -m comment --comment "shop/web:t loadbalancer IP" -j KUBE-EXT-WEB
-A KUBE-FW-WEB -m comment --comment "other traffic to shop/web:t will be dropped by KUBE-PROXY-FIREWALL"
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-NODEPORTS -p tcp -m comment --comment "shop/web:t" -m tcp --dport 30080 -j KUBE-EXT-WEB
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SEP-A -s 10.244.0.10/32 -m comment --comment "shop/web:t" -j KUBE-MARK-MASQ
-A KUBE-SEP-A -p tcp -m comment --comment "shop/web:t" -m recent --set --name KUBE-SEP-A --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.244.0.10:8080
-A KUBE-SEP-B -s 10.244.1.11/32 -m comment --comment "shop/web:t" -j KUBE-MARK-MASQ
-A KUBE-SEP-B -p tcp -m comment --comment "shop/web:t" -m tcp -j DNAT --to-destination 10.244.1.11:8080
-A KUBE-SERVICES -d 10.96.0.80/32 -p tcp -m comment --comment "shop/web:t cluster IP" -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SERVICES -d 198.51.100.7/32 -p tcp -m comment --comment "shop/web:t loadbalancer IP" -m tcp --dport 80 -j KUBE-FW-WEB
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-WEB ! -s 10.244.0.0/16 -d 10.96.0.80/32 -p tcp -m comment --comment "shop/web:t cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-WEB -m comment --comment "shop/web:t -> 10.244.0.10:8080" -m recent --rcheck --seconds 600 --reap --name KUBE-SEP-A --mask 255.255.255.255 --rsource -j KUBE-SEP-A
-A KUBE-SVC-WEB -m comment --comment "shop/web:t -> 10.244.0.10:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-A
-A KUBE-SVC-WEB -m comment --comment "shop/web:t -> 10.244.1.11:8080" -j KUBE-SEP-B
-A KUBE-SVL-WEB -m comment --comment "shop/web:t -> 10.244.0.10:8080" -j KUBE-SEP-A
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-PROXY-FIREWALL -d 198.51.100.7/32 -p tcp -m comment --comment "shop/web:t traffic not accepted by KUBE-FW-WEB" -m tcp --dport 80 -j DROP
-A KUBE-SERVICES -d 10.96.0.99/32 -p tcp -m comment --comment "shop/idle has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
COMMIT
"#;

const NODE: [u8; 4] = [192, 0, 2, 10];

fn packet(source: [u8; 4], to: ([u8; 4], u16)) -> Packet {
    Packet {
        source: source.into(),
        destination: to.0.into(),
        protocol: Protocol::Tcp,
        port: to.1,
        interface: Some("eth0".to_owned()),
        from_node: source == NODE,
    }
}

fn ask(source: [u8; 4], to: ([u8; 4], u16)) -> Vec<String> {
    let packet = packet(source, to);
    let local = BTreeSet::from([IpAddr::from(NODE)]);
    let all = Own(parse(RULES)).outcomes(&packet, &local).unwrap();
    let text = |Outcome { fate, destination, masqueraded }: Outcome| match fate {
        Fate::Delivered => format!("{destination}{}", if masqueraded { " masqueraded" } else { "" }),
        other => format!("{other:?}"),
    };
    all.into_iter().map(text).collect()
}

const POD: [u8; 4] = [10, 244, 0, 77];
const OUTSIDE: [u8; 4] = [198, 51, 100, 99];
const VIP: ([u8; 4], u16) = ([10, 96, 0, 80], 80);
const NODE_PORT: ([u8; 4], u16) = (NODE, 30080);
const GUARDED: ([u8; 4], u16) = ([198, 51, 100, 7], 80);

#[test]
fn a_cluster_ip_is_balanced_and_masqueraded_for_who_is_outside() {
    assert_eq!(ask(POD, VIP), ["10.244.0.10:8080", "10.244.1.11:8080"]);
    assert_eq!(ask(OUTSIDE, VIP), ["10.244.0.10:8080 masqueraded", "10.244.1.11:8080 masqueraded"]);
    assert_eq!(ask([10, 244, 0, 10], VIP), ["10.244.0.10:8080 masqueraded", "10.244.1.11:8080"], "hairpin");
}

#[test]
fn policy_local_keeps_strangers_on_the_node_and_lets_pods_and_node_go_everywhere() {
    assert_eq!(ask(OUTSIDE, NODE_PORT), ["10.244.0.10:8080"]);
    assert_eq!(ask(POD, NODE_PORT), ["10.244.0.10:8080", "10.244.1.11:8080"]);
    assert_eq!(ask(NODE, NODE_PORT), ["10.244.0.10:8080 masqueraded", "10.244.1.11:8080 masqueraded"]);
}

#[test]
fn source_ranges_and_missing_endpoints_are_judged_in_the_filter_table() {
    assert_eq!(ask([203, 0, 113, 5], GUARDED), ["10.244.0.10:8080"]);
    assert_eq!(ask(OUTSIDE, GUARDED), ["Dropped"]);
    assert_eq!(ask(POD, ([10, 96, 0, 99], 80)), ["Refused"]);
    assert_eq!(ask(OUTSIDE, ([10, 96, 0, 80], 81)), ["10.96.0.80:81"], "no frontend");
}

/// The rules of the first walk, as `hook table chain rule`.
fn met(source: [u8; 4], to: ([u8; 4], u16)) -> Vec<String> {
    let walks = Own(parse(RULES)).walks(&packet(source, to), &BTreeSet::from([IpAddr::from(NODE)])).unwrap();
    let told = |step: &Step| format!("{} {} {} {}", step.hook, step.table, step.chain, step.number);
    walks[0].steps.iter().map(told).collect()
}

#[test]
fn a_walk_notes_the_rules_something_came_of() {
    let walked = met(OUTSIDE, VIP);
    let nat = ["prerouting nat PREROUTING 1", "prerouting nat KUBE-SERVICES 1", "prerouting nat KUBE-SVC-WEB 1"];
    let mark = ["prerouting nat KUBE-MARK-MASQ 1", "prerouting nat KUBE-SVC-WEB 3", "prerouting nat KUBE-SEP-A 2"];
    let after =
        ["POSTROUTING 1", "KUBE-POSTROUTING 2", "KUBE-POSTROUTING 3"].map(|rule| format!("postrouting nat {rule}"));
    // Nothing came of the jumps in the filter table.
    let all: Vec<String> = nat.into_iter().chain(mark).map(str::to_owned).chain(after).collect();
    assert_eq!(walked, all);
    let dropped = met(OUTSIDE, GUARDED);
    let last = ["forward filter FORWARD 1", "forward filter KUBE-PROXY-FIREWALL 1"];
    assert_eq!(dropped[dropped.len() - 2..], last.map(str::to_owned));
}

#[test]
fn frontends_names_ranges_networks_and_stickiness_are_read() {
    let save = parse(RULES);
    let frontend = |ip: Option<[u8; 4]>, port| Frontend {
        family: Family::V4,
        ip: ip.map(Into::into),
        protocol: Protocol::Tcp,
        port,
    };
    let (vip, node_port) = (frontend(Some([10, 96, 0, 80]), 80), frontend(None, 30080));
    let guarded = frontend(Some([198, 51, 100, 7]), 80);
    let web = Some("shop/web:t".to_owned());
    let idle = (frontend(Some([10, 96, 0, 99]), 80), Some("shop/idle".to_owned()));
    let expected = [(vip, web.clone()), (node_port, web.clone()), (guarded, web), idle].into();
    assert_eq!(frontends(&save, Family::V4), expected);
    assert_eq!(admitted(&save, Family::V4), [(guarded, ["203.0.113.0".parse().unwrap()].into())].into());
    assert_eq!(local_networks(&save), ["10.244.0.0/16".parse().unwrap()].into());
    assert_eq!(stickiness(&save, Family::V4), [vip, node_port, guarded].map(|frontend| (frontend, Some(600))).into());
}

#[test]
fn a_rule_of_its_own_that_is_not_understood_is_an_error() {
    let text = RULES
        .replace("-A KUBE-SERVICES -d 10.96.0.80/32", "-A KUBE-SERVICES -m set --match-set X dst -d 10.96.0.80/32");
    let packet = Packet {
        source: POD.into(),
        destination: VIP.0.into(),
        protocol: Protocol::Tcp,
        port: 80,
        interface: None,
        from_node: false,
    };
    let error = Own(parse(&text)).outcomes(&packet, &BTreeSet::new()).unwrap_err();
    assert_eq!(error.chain, "KUBE-SERVICES");
}
