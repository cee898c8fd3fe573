//! The way through the hooks: NAT, masquerade, and what is left after them.

use std::collections::BTreeMap;

use super::fixture::*;
use super::{Fate, Outcome, Packet, Programs, possible_destinations, possible_traces};
use crate::compile::expr::{CmpOp, Expr, Header, IPS_DST_NAT, MetaKey, Reg};
use crate::compile::ruleset::{DataType, Field, Hook, HookPoint, Name, Value, Verdict};
use crate::model::Family;

const POD: [u8; 4] = [10, 1, 1, 1];
const MASQUERADE_BIT: u32 = 0x4000;

fn dnated() -> Vec<Expr> {
    has_bits(Expr::CtStatus { dreg: Reg(0) }, IPS_DST_NAT)
}

fn marked() -> Vec<Expr> {
    has_bits(Expr::Meta { key: MetaKey::Mark, dreg: Reg(0) }, MASQUERADE_BIT)
}

/// The layout of ferroproxy in small: services and endpoints, a mark for sources outside 10.0.0.0/8, hairpin.
fn layout() -> Programs {
    let outside = vec![
        Expr::Payload { header: Header::Network, offset: 12, len: 1, dreg: Reg(0) },
        Expr::Cmp { sreg: Reg(0), op: CmpOp::Ne, data: vec![10] },
        Expr::Verdict(Verdict::Jump("KUBE-MARK-MASQ".into())),
    ];
    let hairpin = vec![
        Expr::Payload { header: Header::Network, offset: 12, len: 4, dreg: Reg(0) },
        Expr::Payload { header: Header::Network, offset: 16, len: 4, dreg: Reg(1) },
        Expr::InSet { set: "hairpin".into(), sreg: Reg(0), invert: false },
        Expr::Masquerade,
    ];
    let programs = table([
        ("KUBE-SERVICES", None, vec![vmap("services")]),
        ("KUBE-SVC-3", None, vec![outside, pick(3)]),
        ("KUBE-MARK-MASQ", None, vec![set_mark(MASQUERADE_BIT)]),
        ("output", Some(OUTPUT), vec![jump("KUBE-SERVICES")]),
        (
            "postrouting",
            Some(POSTROUTING),
            vec![[marked(), vec![Expr::Masquerade]].concat(), [dnated(), hairpin].concat()],
        ),
        ("prerouting", Some(PREROUTING), vec![jump("KUBE-SERVICES")]),
    ]);
    let goto = Value::Verdict(Verdict::Goto("KUBE-SVC-3".into()));
    let services = set(&FRONTEND, DataType::Verdict, [(frontend(VIP, 80), goto)]);
    let key = [&FRONTEND[..], &[Field::Random(16)]].concat();
    let element = |slot: u32| (frontend(VIP, 80).number(slot), target([10, 1, 1, 1 + slot as u8], 8080));
    let endpoints = set(&key, target_type(), [0, 1, 2].map(element));
    let pair = crate::compile::bytes::Bytes::new().addr(POD.into()).addr(POD.into());
    let fields = [Field::Saddr(Family::V4), Field::Daddr(Family::V4)];
    let hairpin = set(&fields, DataType::None, [(pair, Value::Present)]);
    with_set(with_set(with_set(programs, "services", services), "endpoints", endpoints), "hairpin", hairpin)
}

#[test]
fn every_endpoint_is_reached_by_as_many_slots() {
    let outcomes = possible_destinations(&layout(), &from_pod(), &environment()).unwrap();
    let expected = [1, 2, 3].map(|n| {
        let destination = endpoint([10, 1, 1, n], 8080);
        (Outcome { fate: Fate::Accept, destination, masqueraded: false }, 1)
    });
    assert_eq!(outcomes, BTreeMap::from(expected));
}

#[test]
fn every_combination_of_draws_is_walked() {
    let draw =
        |modulus| vec![Expr::Random { modulus, dreg: Reg(0) }, Expr::MetaSet { key: MetaKey::Mark, sreg: Reg(0) }];
    let second_only_after_one = vec![
        Expr::Meta { key: MetaKey::Mark, dreg: Reg(0) },
        Expr::Cmp { sreg: Reg(0), op: CmpOp::Ne, data: word(1) },
        Expr::Verdict(Verdict::Accept),
    ];
    let programs = table([("pre", Some(PREROUTING), vec![draw(3), second_only_after_one, draw(2)])]);
    let traces = possible_traces(&programs, &from_pod(), &environment()).unwrap();
    assert_eq!(traces.iter().map(|t| t.mark).collect::<Vec<_>>(), [0, 0, 1, 2]);
}

#[test]
fn the_node_reaches_services_through_output() {
    let trace = run(&layout(), &from_node());
    assert_eq!((trace.destination, trace.masqueraded, trace.mark), (endpoint(POD, 8080), true, MASQUERADE_BIT));
    let points: Vec<_> = trace.steps.iter().map(|step| step.point).collect();
    assert_eq!(points.first(), Some(&HookPoint::Output));
    assert!(!points.contains(&HookPoint::Prerouting));
}

#[test]
fn a_marked_packet_is_masqueraded_in_postrouting() {
    let outside = Packet { source: [203, 0, 113, 7].into(), ..from_pod() };
    let trace = run(&layout(), &outside);
    assert_eq!((trace.fate, trace.masqueraded), (Fate::Accept, true));
    assert_eq!(trace.steps.last().unwrap().point, HookPoint::Postrouting);
    assert!(!run(&layout(), &from_pod()).masqueraded);
}

#[test]
fn a_hairpin_is_masqueraded_only_if_it_was_dnated() {
    let through_service = Packet { source: POD.into(), ..from_pod() };
    let trace = run(&layout(), &through_service);
    assert_eq!((trace.destination, trace.masqueraded), (endpoint(POD, 8080), true));
    let direct = Packet { destination: POD.into(), destination_port: 8080, ..through_service.clone() };
    assert!(!run(&layout(), &direct).masqueraded);
    let to_another = Packet { source: [10, 1, 1, 2].into(), ..from_pod() };
    assert!(!run(&layout(), &to_another).masqueraded);
}

#[test]
fn a_dnat_to_where_it_goes_already_is_none_in_the_status() {
    let programs = |to| {
        let after = [dnated(), take(Verdict::Drop)].concat();
        table([("pre", Some(PREROUTING), vec![dnat(to, 80)]), ("post", Some(POSTROUTING), vec![after])])
    };
    assert_eq!(run(&programs(VIP), &from_pod()).fate, Fate::Accept);
    assert_eq!(run(&programs(POD), &from_pod()).fate, Fate::Drop);
}

#[test]
fn a_protocol_without_ports_keeps_none() {
    let ping = Packet { protocol: 1, destination_port: 0, ..from_pod() };
    let trace = run(&table([("pre", Some(PREROUTING), vec![dnat(POD, 8080)])]), &ping);
    assert_eq!(trace.destination, endpoint(POD, 0));
}

#[test]
fn a_late_nat_chain_sees_only_what_nobody_bound() {
    let late = |first: Vec<Expr>| {
        table([("early", Some(PREROUTING), vec![first]), ("late", Some(LATE), vec![take(Verdict::Drop)])])
    };
    assert_eq!(
        run(&late(dnat(POD, 80)), &from_pod()).fate,
        Fate::Accept,
        "the DNAT binds: the late chain is not asked"
    );
    assert_eq!(run(&late(take(Verdict::Accept)), &from_pod()).fate, Fate::Drop, "an accept alone binds nothing");
}

#[test]
fn a_dnat_ends_its_chain() {
    let rules = vec![dnat(POD, 80), set_mark(1)];
    assert_eq!(run(&table([("pre", Some(PREROUTING), rules)]), &from_pod()).mark, 0);
}

/// The order in which chains of these hooks run, each dropping its place in the mark.
fn order<const N: usize>(hooks: [(&str, Hook); N]) -> Vec<String> {
    let programs = table(hooks.map(|(name, hook)| (name, Some(hook), vec![set_mark(1)])));
    run(&programs, &from_pod()).steps.iter().map(|step| step.chain.to_string()).collect()
}

#[test]
fn chains_run_by_priority_and_of_equal_ones_the_last_registered_first() {
    let nat_chain = |priority| nat(HookPoint::Prerouting, priority);
    assert_eq!(order([("a", nat_chain(-90)), ("b", nat_chain(-100)), ("c", nat_chain(-100))]), ["c", "b", "a"]);
}

#[test]
fn nat_chains_stand_together_whatever_their_priority() {
    let before = filter(HookPoint::Prerouting, -150);
    let between = filter(HookPoint::Prerouting, -95);
    assert_eq!(order([("between", between), ("late", LATE), ("raw", before)]), ["raw", "late", "between"]);
}

#[test]
fn filter_chains_see_the_rewritten_packet_even_after_a_binding() {
    let to_pod = vec![
        Expr::Payload { header: Header::Network, offset: 16, len: 4, dreg: Reg(0) },
        Expr::Cmp { sreg: Reg(0), op: CmpOp::Eq, data: POD.into() },
        Expr::Verdict(Verdict::Drop),
    ];
    let hooks = [filter(HookPoint::Prerouting, 0), filter(HookPoint::Forward, 0)];
    for hook in hooks {
        let programs =
            table([("guard", Some(hook), vec![to_pod.clone()]), ("pre", Some(PREROUTING), vec![dnat(POD, 80)])]);
        assert_eq!(run(&programs, &from_pod()).fate, Fate::Drop);
    }
}

#[test]
fn a_packet_to_the_node_passes_input_and_not_postrouting() {
    let to_node = Packet { destination: NODE.into(), ..from_pod() };
    let points = [HookPoint::Prerouting, HookPoint::Input, HookPoint::Forward, HookPoint::Postrouting];
    let programs = Programs { chains: Default::default(), ..table([]) };
    let marked = |packet: &Packet| {
        let mut programs = programs.clone();
        for (n, point) in points.into_iter().enumerate() {
            let rules = vec![set_mark(1 << n)];
            let chain = super::Program { hook: Some(filter(point, 0)), rules };
            programs.chains.insert(Name::from(point.nft()), chain);
        }
        run(&programs, packet).mark
    };
    assert_eq!(marked(&to_node), 0b0011);
    assert_eq!(marked(&from_pod()), 0b1101);
    let to_itself = Packet { destination: NODE.into(), ..from_node() };
    assert_eq!(marked(&to_itself), 0b1011, "over lo: out and in again");
    assert_eq!(marked(&from_node()), 0b1000);
}

#[test]
fn nat_is_settled_when_a_packet_comes_back_over_lo() {
    let programs = table([
        ("out", Some(OUTPUT), vec![dnat(NODE, 8080)]),
        ("pre", Some(PREROUTING), vec![take(Verdict::Drop)]),
        ("in", Some(nat(HookPoint::Input, 100)), vec![take(Verdict::Drop)]),
    ]);
    let trace = run(&programs, &from_node());
    assert_eq!((trace.fate, trace.destination), (Fate::Accept, endpoint(NODE, 8080)));
}

#[test]
fn a_trace_tells_its_story() {
    let story = run(&layout(), &from_pod()).to_string();
    assert_eq!(
        story,
        "\
prerouting prerouting rule 1: jump KUBE-SERVICES
prerouting KUBE-SERVICES rule 1: services has 10.96.0.1 . tcp . 80 comment \"default/web:http\" : goto KUBE-SVC-3
prerouting KUBE-SVC-3 rule 2: random slot 0 of 3
prerouting KUBE-SVC-3 rule 2: endpoints has 10.96.0.1 . tcp . 80 . 0 comment \"default/web:http\" : 10.1.1.1 . 8080
prerouting KUBE-SVC-3 rule 2: destination becomes 10.1.1.1:8080
postrouting postrouting rule 2: hairpin has no 10.244.0.9 . 10.1.1.1
accepted, to 10.1.1.1:8080
"
    );
}

#[test]
fn a_table_is_lowered_rule_by_rule() {
    use crate::compile::ruleset::{Chain, Table};
    use crate::compile::stmt::{Rule, Stmt};
    let rules = vec![Rule::new([Stmt::Verdict(Verdict::Drop)]), Rule::new([Stmt::Masquerade])];
    let chain = Chain { hook: Some(PREROUTING), rules };
    let table = Table { sets: layout().sets, chains: [("pre".into(), chain)].into() };
    let programs = Programs::from_table(&table, Family::V4, |rule| match rule.stmts[..] {
        [Stmt::Masquerade] => vec![Expr::Masquerade],
        _ => take(Verdict::Drop),
    });
    assert_eq!(programs.sets, table.sets);
    assert_eq!(programs.chains["pre"].rules, [take(Verdict::Drop), vec![Expr::Masquerade]]);
    assert_eq!(run(&programs, &from_pod()).fate, Fate::Drop);
}
