//! Small tables for the tests, written in expressions.

use std::net::IpAddr;

use super::{Environment, Fault, Origin, Packet, Program, Programs, Reason, Trace, walk};
use crate::compile::bytes::Bytes;
use crate::compile::expr::{CmpOp, Expr, Header, MetaKey, Reg};
use crate::compile::ruleset::{
    ChainKind, DataType, Element, Field, Hook, HookPoint, Name, Set, SetDef, Value, Verdict,
};
use crate::model::{EndpointAddr, Family, Protocol};

pub(super) const FRONTEND: [Field; 3] = [Field::Daddr(Family::V4), Field::L4Proto, Field::Dport];
pub(super) const VIP: [u8; 4] = [10, 96, 0, 1];
pub(super) const NODE: [u8; 4] = [192, 168, 0, 1];
pub(super) const CLIENT: [u8; 4] = [10, 244, 0, 9];

pub(super) const PREROUTING: Hook = nat(HookPoint::Prerouting, -100);
pub(super) const LATE: Hook = nat(HookPoint::Prerouting, -90);
pub(super) const OUTPUT: Hook = nat(HookPoint::Output, -100);
pub(super) const POSTROUTING: Hook = nat(HookPoint::Postrouting, 100);

pub(super) const fn nat(point: HookPoint, priority: i32) -> Hook {
    Hook { kind: ChainKind::Nat, point, priority }
}

pub(super) const fn filter(point: HookPoint, priority: i32) -> Hook {
    Hook { kind: ChainKind::Filter, point, priority }
}

pub(super) type Rules = Vec<Vec<Expr>>;

/// A table of chains, without sets.
pub(super) fn table<const N: usize>(chains: [(&str, Option<Hook>, Rules); N]) -> Programs {
    let chains = chains.map(|(name, hook, rules)| (Name::from(name), Program { hook, rules }));
    Programs { family: Family::V4, sets: Default::default(), chains: chains.into() }
}

/// The same with one more set.
pub(super) fn with_set(mut programs: Programs, name: &str, set: Set) -> Programs {
    programs.sets.insert(name.into(), set);
    programs
}

pub(super) fn set<const N: usize>(key: &[Field], data: DataType, elements: [(Bytes, Value); N]) -> Set {
    let def = SetDef { key: key.to_vec(), data, interval: false, size: None, learned: None, counted: false };
    let element = |(key, value)| (key, Element { value, comment: Some("default/web:http".into()) });
    Set { def, elements: elements.map(element).into() }
}

pub(super) fn frontend(ip: [u8; 4], port: u16) -> Bytes {
    Bytes::new().addr(ip.into()).proto(Protocol::Tcp).port(port)
}

pub(super) fn target(ip: [u8; 4], port: u16) -> Value {
    Value::Data(Bytes::new().addr(ip.into()).port(port))
}

pub(super) fn target_type() -> DataType {
    DataType::Fields(vec![Field::Daddr(Family::V4), Field::Dport])
}

/// Loads `ip daddr . meta l4proto . th dport` from register 0 on.
pub(super) fn load_frontend() -> Rules {
    vec![vec![
        Expr::Payload { header: Header::Network, offset: 16, len: 4, dreg: Reg(0) },
        Expr::Meta { key: MetaKey::L4Proto, dreg: Reg(1) },
        Expr::Payload { header: Header::Transport, offset: 2, len: 2, dreg: Reg(2) },
    ]]
}

/// One rule of the frontend key and what is done with it.
pub(super) fn by_frontend(rest: impl Into<Vec<Expr>>) -> Vec<Expr> {
    [load_frontend().remove(0), rest.into()].concat()
}

pub(super) fn vmap(set: &str) -> Vec<Expr> {
    by_frontend([Expr::Vmap { set: set.into(), sreg: Reg(0) }])
}

/// `dnat ip to FRONTEND . numgen random mod N map @endpoints`
pub(super) fn pick(modulus: u32) -> Vec<Expr> {
    by_frontend([
        Expr::Random { modulus, dreg: Reg(3) },
        Expr::Map { set: "endpoints".into(), sreg: Reg(0), dreg: Reg(4) },
        Expr::Dnat { family: Family::V4, addr: Reg(4), port: Reg(5) },
    ])
}

/// `dnat to IP:PORT`
pub(super) fn dnat(ip: [u8; 4], port: u16) -> Vec<Expr> {
    vec![
        Expr::Immediate { dreg: Reg(0), data: ip.into() },
        Expr::Immediate { dreg: Reg(4), data: port.to_be_bytes().into() },
        Expr::Dnat { family: Family::V4, addr: Reg(0), port: Reg(4) },
    ]
}

/// `meta mark set meta mark | BITS`
pub(super) fn set_mark(bits: u32) -> Vec<Expr> {
    vec![
        Expr::Meta { key: MetaKey::Mark, dreg: Reg(0) },
        Expr::Bitwise { sreg: Reg(0), dreg: Reg(0), mask: word(!bits), xor: word(bits) },
        Expr::MetaSet { key: MetaKey::Mark, sreg: Reg(0) },
    ]
}

/// `REGISTER-LOAD & BITS != 0`
pub(super) fn has_bits(load: Expr, bits: u32) -> Vec<Expr> {
    let and = Expr::Bitwise { sreg: Reg(0), dreg: Reg(0), mask: word(bits), xor: word(0) };
    vec![load, and, Expr::Cmp { sreg: Reg(0), op: CmpOp::Ne, data: word(0) }]
}

pub(super) fn word(number: u32) -> Vec<u8> {
    number.to_ne_bytes().into()
}

pub(super) fn take(verdict: Verdict) -> Vec<Expr> {
    vec![Expr::Verdict(verdict)]
}

pub(super) fn jump(to: &str) -> Vec<Expr> {
    take(Verdict::Jump(to.into()))
}

pub(super) fn goto(to: &str) -> Vec<Expr> {
    take(Verdict::Goto(to.into()))
}

/// A TCP packet of a pod to port 80 of the VIP.
pub(super) fn from_pod() -> Packet {
    Packet {
        source: CLIENT.into(),
        destination: VIP.into(),
        protocol: 6,
        source_port: 40000,
        destination_port: 80,
        mark: 0,
        input_interface: Some("veth7".into()),
        origin: Origin::Forwarded,
    }
}

/// The same of the node.
pub(super) fn from_node() -> Packet {
    Packet { source: NODE.into(), origin: Origin::FromNode, ..from_pod() }
}

pub(super) fn environment() -> Environment {
    Environment { local_addresses: [IpAddr::from(NODE)].into() }
}

pub(super) fn run(programs: &Programs, packet: &Packet) -> Trace {
    walk(programs, packet, &environment(), &mut |_| 0).unwrap()
}

pub(super) fn fault(programs: &Programs) -> Reason {
    let Fault { reason, .. } = walk(programs, &from_pod(), &environment(), &mut |_| 0).unwrap_err();
    reason
}

pub(super) fn endpoint(ip: [u8; 4], port: u16) -> EndpointAddr {
    EndpointAddr { ip: ip.into(), port }
}
