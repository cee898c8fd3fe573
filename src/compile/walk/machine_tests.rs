//! Each expression, and the ways between chains.

use super::fixture::*;
use super::{Event, Fate, Packet, Programs, Reason, walk};
use crate::compile::bytes::Bytes;
use crate::compile::expr::{CmpOp, Expr, Header, MetaKey, RTN_LOCAL, Reg, RejectWith};
use crate::compile::ruleset::{DataType, Field, HookPoint, Value, Verdict};
use crate::model::Family;

/// Whether one rule of these expressions comes to its end with this packet.
fn matches(packet: &Packet, exprs: impl Into<Vec<Expr>>) -> bool {
    let rule = [exprs.into(), take(Verdict::Drop)].concat();
    run(&table([("pre", Some(PREROUTING), vec![rule])]), packet).fate == Fate::Drop
}

/// Whether the packet is marked 1, 2, 4 on its way through `pre`, which is handed the chains.
fn marks(programs: &Programs) -> u32 {
    run(programs, &from_pod()).mark
}

fn is(data: impl Into<Vec<u8>>) -> Expr {
    Expr::Cmp { sreg: Reg(0), op: CmpOp::Eq, data: data.into() }
}

fn is_not(data: impl Into<Vec<u8>>) -> Expr {
    Expr::Cmp { sreg: Reg(0), op: CmpOp::Ne, data: data.into() }
}

fn payload(header: Header, offset: u32, len: u32) -> Expr {
    Expr::Payload { header, offset, len, dreg: Reg(0) }
}

fn meta(key: MetaKey) -> Expr {
    Expr::Meta { key, dreg: Reg(0) }
}

#[test]
fn payload_reads_addresses_and_ports_as_on_the_wire() {
    let packet = from_pod();
    assert!(matches(&packet, [payload(Header::Network, 12, 4), is(CLIENT)]));
    assert!(matches(&packet, [payload(Header::Network, 16, 4), is(VIP)]));
    assert!(matches(&packet, [payload(Header::Network, 9, 1), is([6])]));
    assert!(matches(&packet, [payload(Header::Transport, 0, 2), is(40000u16.to_be_bytes())]));
    assert!(matches(&packet, [payload(Header::Transport, 2, 2), is(80u16.to_be_bytes())]));
    assert!(matches(&packet, [payload(Header::Transport, 2, 2), is([0, 80, 0, 0])]), "padded with zeros");
}

#[test]
fn payload_beyond_the_header_ends_the_rule() {
    assert!(!matches(&from_pod(), [payload(Header::Transport, 20, 2)]));
    assert!(!matches(&from_pod(), [payload(Header::Network, 18, 4)]));
}

#[test]
fn ipv6_headers_have_their_own_offsets() {
    let ips = ["fd00::1", "fd00::2"].map(|ip| ip.parse().unwrap());
    let octets = |ip: std::net::IpAddr| Bytes::new().addr(ip).as_slice().to_vec();
    let packet = Packet { source: ips[0], destination: ips[1], ..from_pod() };
    let rule = |expr: Expr, ip| [vec![expr, is(octets(ip))], take(Verdict::Drop)].concat();
    for (offset, ip) in [(8, ips[0]), (24, ips[1])] {
        let rules = vec![rule(payload(Header::Network, offset, 16), ip)];
        let programs = Programs { family: Family::V6, ..table([("pre", Some(PREROUTING), rules)]) };
        assert_eq!(run(&programs, &packet).fate, Fate::Drop, "offset {offset}");
    }
}

#[test]
fn icmp_has_no_ports() {
    let ping = Packet { protocol: 1, ..from_pod() };
    assert!(matches(&ping, [meta(MetaKey::L4Proto), is([1]), payload(Header::Transport, 0, 4), is([8, 0, 0, 0])]));
}

#[test]
fn a_comparison_may_be_with_a_prefix() {
    let name = meta(MetaKey::InputInterfaceName);
    assert!(matches(&from_pod(), [name.clone(), is(*b"veth")]), "iifname \"veth*\"");
    assert!(!matches(&from_pod(), [name.clone(), is(*b"veth\0\0\0\0\0\0\0\0\0\0\0\0")]), "iifname \"veth\"");
    assert!(matches(&from_pod(), [name.clone(), is_not(*b"cni")]));
    let nameless = Packet { input_interface: None, ..from_pod() };
    assert!(!matches(&nameless, [name.clone(), is(*b"veth")]));
    assert!(matches(&nameless, [name, is([0; 16])]), "no input interface compares as the empty name");
}

#[test]
fn bitwise_masks_and_toggles() {
    let packet = Packet { mark: 0b1100, ..from_pod() };
    let bitwise = |mask, xor| Expr::Bitwise { sreg: Reg(0), dreg: Reg(0), mask: word(mask), xor: word(xor) };
    assert!(matches(&packet, [meta(MetaKey::Mark), bitwise(0b0100, 0), is(word(0b0100))]));
    assert!(matches(&packet, [meta(MetaKey::Mark), bitwise(!0, 0b0110), is(word(0b1010))]));
    assert!(!matches(&packet, [meta(MetaKey::Mark), bitwise(0b0011, 0), is_not(word(0))]));
}

#[test]
fn fib_knows_what_is_local() {
    let fib = |source| Expr::FibType { source, dreg: Reg(0) };
    let local = || is(word(RTN_LOCAL));
    assert!(!matches(&from_pod(), [fib(true), local()]));
    assert!(matches(&from_node_address(), [fib(true), local()]));
    assert!(!matches(&from_node_address(), [fib(false), local()]));
    let to_loopback = Packet { destination: [127, 0, 0, 1].into(), ..from_pod() };
    assert!(matches(&to_loopback, [fib(false), local()]));
}

fn from_node_address() -> Packet {
    Packet { source: NODE.into(), ..from_pod() }
}

#[test]
fn a_mark_set_is_seen_by_the_next_rule() {
    let rules = vec![set_mark(0x4000), [has_bits(meta(MetaKey::Mark), 0x4000), take(Verdict::Drop)].concat()];
    let trace = run(&table([("pre", Some(PREROUTING), rules)]), &Packet { mark: 1, ..from_pod() });
    assert_eq!((trace.fate, trace.mark), (Fate::Drop, 0x4001));
}

#[test]
fn a_set_matches_its_keys_and_inverted_all_others() {
    let lookup = |invert| by_frontend([Expr::InSet { set: "vips".into(), sreg: Reg(0), invert }]);
    let dropped = |ip, invert| {
        let rule = [lookup(invert), take(Verdict::Drop)].concat();
        let vips = set(&FRONTEND, DataType::None, [(frontend(ip, 80), Value::Present)]);
        run(&with_set(table([("pre", Some(PREROUTING), vec![rule])]), "vips", vips), &from_pod()).fate == Fate::Drop
    };
    assert!(dropped(VIP, false) && !dropped(VIP, true));
    assert!(!dropped(NODE, false) && dropped(NODE, true));
}

#[test]
fn an_interval_matches_field_by_field() {
    let key = [Field::Saddr(Family::V4), Field::Dport];
    let bytes = |ip: [u8; 4], port| Bytes::new().addr(ip.into()).port(port);
    let until = Value::Until(bytes([10, 244, 0, 255], 89));
    let mut ranges = set(&key, DataType::None, [(bytes([10, 244, 0, 0], 80), until)]);
    ranges.def.interval = true;
    let rule = vec![
        payload(Header::Network, 12, 4),
        Expr::Payload { header: Header::Transport, offset: 2, len: 2, dreg: Reg(1) },
        Expr::InSet { set: "ranges".into(), sreg: Reg(0), invert: false },
        Expr::Verdict(Verdict::Drop),
    ];
    let programs = with_set(table([("pre", Some(PREROUTING), vec![rule])]), "ranges", ranges);
    let fate = |source: [u8; 4], port| {
        let packet = Packet { source: source.into(), destination_port: port, ..from_pod() };
        run(&programs, &packet).fate
    };
    assert_eq!(fate([10, 244, 0, 0], 80), Fate::Drop, "the first");
    assert_eq!(fate([10, 244, 0, 255], 89), Fate::Drop, "the last");
    assert_eq!(
        fate([10, 244, 0, 1], 90),
        Fate::Accept,
        "the address is in, the port is not, though the key as a whole is between"
    );
    assert_eq!(fate([10, 244, 1, 0], 80), Fate::Accept);
}

#[test]
fn a_verdict_map_takes_its_verdict_and_a_miss_ends_the_rule() {
    let services = |ip| set(&FRONTEND, DataType::Verdict, [(frontend(ip, 80), Value::Verdict(Verdict::Drop))]);
    let rules = vec![vmap("services"), set_mark(1)];
    let programs = table([("pre", Some(PREROUTING), rules)]);
    let hit = run(&with_set(programs.clone(), "services", services(VIP)), &from_pod());
    assert_eq!((hit.fate, hit.mark), (Fate::Drop, 0));
    let text = hit.steps[0].to_string();
    assert_eq!(text, "prerouting pre rule 1: services has 10.96.0.1 . tcp . 80 comment \"default/web:http\" : drop");
    let miss = run(&with_set(programs, "services", services(NODE)), &from_pod());
    assert_eq!((miss.fate, miss.mark), (Fate::Accept, 1));
    assert_eq!(miss.steps[0].to_string(), "prerouting pre rule 1: services has no 10.96.0.1 . tcp . 80");
}

#[test]
fn a_data_map_miss_ends_the_rule_before_the_dnat() {
    let rules = vec![pick(2), set_mark(1)];
    let key = [&FRONTEND[..], &[Field::Random(16)]].concat();
    let endpoints = set(&key, target_type(), [(frontend(VIP, 80).number(0), target([10, 1, 1, 1], 8080))]);
    let programs = with_set(table([("pre", Some(PREROUTING), rules)]), "endpoints", endpoints);
    let at_slot = |slot| walk(&programs, &from_pod(), &environment(), &mut |_| slot).unwrap();
    assert_eq!((at_slot(0).destination, at_slot(0).mark), (endpoint([10, 1, 1, 1], 8080), 0));
    assert_eq!((at_slot(1).destination, at_slot(1).mark), (endpoint(VIP, 80), 1));
}

#[test]
fn jump_comes_back_and_goto_does_not() {
    let chains = |way: Vec<Expr>| {
        table([
            ("pre", Some(PREROUTING), vec![jump("outer"), set_mark(4)]),
            ("outer", None, vec![way, set_mark(2)]),
            ("inner", None, vec![set_mark(1)]),
        ])
    };
    assert_eq!(marks(&chains(jump("inner"))), 7);
    assert_eq!(marks(&chains(goto("inner"))), 5, "the end of a chain gone to returns to the caller's caller");
}

#[test]
fn return_leaves_the_chain_and_in_a_base_chain_means_the_policy() {
    let programs = table([
        ("pre", Some(PREROUTING), vec![jump("sub"), set_mark(2), take(Verdict::Return), set_mark(4)]),
        ("sub", None, vec![take(Verdict::Return), set_mark(1)]),
    ]);
    let trace = run(&programs, &from_pod());
    assert_eq!((trace.fate, trace.mark), (Fate::Accept, 2));
}

#[test]
fn accept_in_a_called_chain_ends_the_base_chain() {
    let programs =
        table([("pre", Some(PREROUTING), vec![jump("sub"), set_mark(1)]), ("sub", None, vec![take(Verdict::Accept)])]);
    assert_eq!(marks(&programs), 0);
}

#[test]
fn chains_call_each_other_no_more_than_sixteen_deep() {
    let chain = |depth: usize| {
        let names: Vec<String> = (0..depth).map(|n| format!("c{n:02}")).collect();
        let mut programs = table([("pre", Some(PREROUTING), vec![jump("c00")])]);
        for (n, name) in names.iter().enumerate() {
            let rules = vec![names.get(n + 1).map_or_else(|| set_mark(1), |next| jump(next))];
            programs.chains.insert(name.as_str().into(), super::Program { hook: None, rules });
        }
        programs
    };
    assert_eq!(marks(&chain(15)), 1);
    assert_eq!(fault(&chain(16)), Reason::TooDeep);
    let ring =
        table([("pre", Some(PREROUTING), vec![goto("a")]), ("a", None, vec![goto("b")]), ("b", None, vec![goto("a")])]);
    assert_eq!(fault(&ring), Reason::TooDeep);
}

#[test]
fn a_register_of_the_last_rule_cannot_be_read() {
    let rules = vec![vec![meta(MetaKey::Mark)], vec![is(word(0))]];
    assert_eq!(fault(&table([("pre", Some(PREROUTING), rules)])), Reason::Unwritten(Reg(0)));
    let short = vec![vec![payload(Header::Network, 12, 4), is([0; 8])]];
    assert_eq!(fault(&table([("pre", Some(PREROUTING), short)])), Reason::Unwritten(Reg(1)));
    let beyond = vec![vec![Expr::Immediate { dreg: Reg(15), data: vec![0; 8] }]];
    assert_eq!(fault(&table([("pre", Some(PREROUTING), beyond)])), Reason::NoSuchRegister(Reg(16)));
}

#[test]
fn a_broken_table_is_named() {
    let one = |hook, rule: Vec<Expr>| table([("base", Some(hook), vec![rule])]);
    assert_eq!(fault(&one(PREROUTING, vmap("services"))), Reason::NoSuchSet("services".into()));
    assert_eq!(fault(&one(PREROUTING, jump("nowhere"))), Reason::NoSuchChain("nowhere".into()));
    let misplaced = one(filter(HookPoint::Forward, 0), dnat(VIP, 80));
    assert!(matches!(fault(&misplaced), Reason::NotHere(Expr::Dnat { .. })));
    assert_eq!(fault(&one(PREROUTING, vec![Expr::Masquerade])), Reason::NotHere(Expr::Masquerade));
    let late = one(POSTROUTING, vec![Expr::Reject(RejectWith::PortUnreachable)]);
    assert_eq!(fault(&late), Reason::NotHere(Expr::Reject(RejectWith::PortUnreachable)));
    let packet = Packet { destination: "fd00::1".parse().unwrap(), ..from_pod() };
    let other = walk(&one(PREROUTING, vec![]), &packet, &environment(), &mut |_| 0).unwrap_err();
    assert_eq!(other.reason, Reason::WrongFamily);
    let values = set(&FRONTEND, target_type(), [(frontend(VIP, 80), target(VIP, 80))]);
    let confused = with_set(one(PREROUTING, vmap("services")), "services", values);
    assert_eq!(fault(&confused), Reason::WrongValue("services".into()));
}

#[test]
fn a_refusal_tells_the_sender_or_drops_what_cannot_be_reset() {
    let reject = |with| table([("pre", Some(PREROUTING), vec![vec![Expr::Reject(with)], set_mark(1)])]);
    let trace = run(&reject(RejectWith::TcpReset), &from_pod());
    assert_eq!((trace.fate, trace.mark), (Fate::Reject(RejectWith::TcpReset), 0));
    assert_eq!(trace.steps[0].event, Event::Reject(RejectWith::TcpReset));
    let udp = Packet { protocol: 17, ..from_pod() };
    assert_eq!(run(&reject(RejectWith::TcpReset), &udp).fate, Fate::Drop);
    let unreachable = RejectWith::PortUnreachable;
    assert_eq!(run(&reject(unreachable), &udp).fate, Fate::Reject(unreachable));
}
