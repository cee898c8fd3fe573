use std::collections::BTreeSet;

use super::*;
use crate::model::EndpointAddr;
use crate::peer::nft::set::Element;
use crate::peer::packet::{Outcome, Packet};
use crate::peer::way::outcomes;

const NODE: [u8; 4] = [192, 0, 2, 10];
const POD: [u8; 4] = [10, 244, 0, 77];
const OUTSIDE: [u8; 4] = [203, 0, 113, 9];
const VIP: [u8; 4] = [10, 96, 0, 80];
const WEB: &str = "service-ABCDEFGH-shop/web/tcp/t";

fn payload(offset: u32, len: u32, at: usize) -> Expr {
    Expr::Load(Load::Network { offset, len }, at)
}

fn goto(chain: &str) -> Verdict {
    Verdict::Goto(chain.to_owned())
}

fn element(key: &[u8], value: Value) -> (Vec<u8>, Element) {
    (key.to_vec(), Element { value, is_end: false, comment: None })
}

fn base(hook: Hook, priority: i32, is_nat: bool, rules: Vec<Vec<Expr>>) -> Chain {
    Chain { hook: Some(BaseHook { hook, priority, is_nat, drops: false }), rules }
}

fn called(rules: Vec<Vec<Expr>>) -> Chain {
    Chain { hook: None, rules }
}

fn jump(chain: &str) -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Jump(chain.to_owned()))]
}

/// `ip daddr . meta l4proto . th dport`.
fn frontend_key() -> Vec<Expr> {
    let port = Expr::Load(Load::Transport { offset: 2, len: 2 }, 8);
    vec![payload(16, 4, 0), Expr::Load(Load::L4Protocol, 4), port]
}

fn lookup(set: &str, then: Use) -> Expr {
    Expr::Lookup { set: set.to_owned(), at: 0, then }
}

/// As kube-proxy lays it out, with one service of two endpoints, and one without.
fn table() -> Table {
    let mark = |mask: u32, xor: u32| {
        let bytes = |number: u32| number.to_ne_bytes().to_vec();
        [Expr::Load(Load::Mark, 0), Expr::Bitwise { from: 0, to: 0, mask: bytes(mask), xor: bytes(xor) }].to_vec()
    };
    let outside = Expr::Compare { at: 0, how: Comparison::NotEqual, with: vec![10, 244] };
    let to_vip = lookup("cluster-ips", Use::Test { invert: false });
    let marked = [mark(!0x4000, 0x4000), vec![Expr::SetMark(0)]].concat();
    let masquerade = [vec![payload(16, 4, 0), to_vip, payload(12, 2, 0), outside], marked].concat();
    let dispatch = [frontend_key(), vec![lookup("service-ips", Use::Verdict)]].concat();
    let pick = vec![
        Expr::Load(Load::Random { modulus: 2, offset: 0 }, 0),
        lookup("__map0", Use::Load(16)),
        Expr::Dnat { ip: 16, port: Some(20) },
    ];
    let is_marked = Expr::Compare { at: 0, how: Comparison::NotEqual, with: vec![0; 4] };
    let source =
        [mark(0x4000, 0), vec![is_marked], mark(!0, 0x4000), vec![Expr::SetMark(0), Expr::Masquerade]].concat();
    let refuse = [frontend_key(), vec![lookup("no-endpoint-services", Use::Verdict)]].concat();
    let chains = [
        ("nat-prerouting", base(Hook::Prerouting, -100, true, vec![jump("services")])),
        ("nat-output", base(Hook::Output, -100, true, vec![jump("services")])),
        ("nat-postrouting", base(Hook::Postrouting, 100, true, vec![source])),
        ("filter-forward", base(Hook::Forward, 0, false, vec![refuse.clone()])),
        ("filter-output", base(Hook::Output, 0, false, vec![refuse])),
        ("services", called(vec![masquerade, dispatch])),
        (WEB, called(vec![pick])),
        ("reject-chain", called(vec![vec![Expr::Reject]])),
    ];
    Table { family: Family::V4, chains: chains.map(|(name, chain)| (name.to_owned(), chain)).into(), sets: sets() }
}

fn sets() -> BTreeMap<String, Set> {
    let set = |key_len, elements: Vec<_>| Set { key_len, elements: elements.into_iter().collect(), ..Set::default() };
    let key = |last: u8| [10, 96, 0, last, 6, 0, 0, 0, 0, 80, 0, 0];
    let slot = |slot: u32, ip: [u8; 4]| {
        let data = [&ip[..], &8080u16.to_be_bytes(), &[0, 0]].concat();
        element(&slot.to_ne_bytes(), Value::Data(data))
    };
    [
        ("cluster-ips", set(4, vec![element(&VIP, Value::Present)])),
        ("service-ips", set(12, vec![element(&key(80), Value::Verdict(goto(WEB)))])),
        ("no-endpoint-services", set(12, vec![element(&key(99), Value::Verdict(goto("reject-chain")))])),
        ("__map0", set(4, vec![slot(0, [10, 244, 0, 10]), slot(1, [10, 244, 1, 11])])),
    ]
    .map(|(name, set)| (name.to_owned(), set))
    .into()
}

fn ask(source: [u8; 4], to: [u8; 4], port: u16) -> BTreeSet<Outcome> {
    let packet = Packet {
        source: source.into(),
        destination: to.into(),
        protocol: Protocol::Tcp,
        port,
        interface: Some("eth0".to_owned()),
        from_node: source == NODE,
    };
    outcomes(&table(), &packet, &[NODE.into()].into()).unwrap()
}

fn delivered(masqueraded: bool) -> BTreeSet<Outcome> {
    let to = |ip: [u8; 4]| Outcome {
        fate: Fate::Delivered,
        destination: EndpointAddr { ip: ip.into(), port: 8080 },
        masqueraded,
    };
    [to([10, 244, 0, 10]), to([10, 244, 1, 11])].into()
}

#[test]
fn a_service_is_balanced_over_every_slot_and_masqueraded_for_who_is_outside() {
    assert_eq!(ask(POD, VIP, 80), delivered(false));
    assert_eq!(ask(OUTSIDE, VIP, 80), delivered(true));
    assert_eq!(ask(NODE, VIP, 80), delivered(true));
}

#[test]
fn without_endpoints_it_is_refused_on_the_way_through_and_out() {
    for source in [POD, OUTSIDE, NODE] {
        let fates: BTreeSet<Fate> = ask(source, [10, 96, 0, 99], 80).iter().map(|outcome| outcome.fate).collect();
        assert_eq!(fates, [Fate::Refused].into(), "{source:?}");
    }
}

#[test]
fn frontends_have_their_names_from_chains() {
    let at =
        |last| Frontend { family: Family::V4, ip: Some([10, 96, 0, last].into()), protocol: Protocol::Tcp, port: 80 };
    let web = Some("shop/web:t".to_owned());
    assert_eq!(table().frontends(), [(at(80), web), (at(99), None)].into());
    assert_eq!(table().stickiness(), [(at(80), None)].into());
}

#[test]
fn networks_are_read_with_and_without_a_mask() {
    assert_eq!(table().local_networks(), ["10.244.0.0/16".parse().unwrap()].into());
    let masked = [
        payload(12, 4, 0),
        Expr::Bitwise { from: 0, to: 0, mask: vec![255, 255, 240, 0], xor: vec![0; 4] },
        Expr::Compare { at: 0, how: Comparison::NotEqual, with: vec![10, 1, 16, 0] },
    ];
    assert_eq!(source_network(&masked), Some("10.1.16.0/20".parse().unwrap()));
}

#[test]
fn an_expression_kube_proxy_never_writes_is_named() {
    let mut table = table();
    table.chains.get_mut("services").unwrap().rules.insert(0, vec![Expr::Unknown("quota".to_owned())]);
    let packet = Packet {
        source: POD.into(),
        destination: VIP.into(),
        protocol: Protocol::Tcp,
        port: 80,
        interface: None,
        from_node: false,
    };
    let unread = outcomes(&table, &packet, &BTreeSet::new()).unwrap_err();
    assert!(unread.chain == "services" && unread.reason.contains("quota"), "{unread}");
}
