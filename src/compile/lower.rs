//! From statements to the kernel's expressions: the same registers and shapes nft 1.0.6 makes from the same text, so that a printed
//! ruleset, loaded by nft, is equal to ours.

use std::net::IpAddr;

use ipnet::IpNet;

use super::expr::{CmpOp, DynsetOp, Expr, Header, IPS_DST_NAT, MetaKey, RTN_LOCAL, Reg, RejectWith};
use super::ruleset::{Field, Name};
use super::stmt::{Is, Rule, Stmt};
use crate::model::Family;

/// The first register: every statement starts anew.
const FIRST: Reg = Reg(0);

/// Registers in one of the kernel's 16-byte registers; nft gives each value of a `dnat to` its own.
const WORDS_OF_16: u8 = 4;

/// An interface name's room in the kernel (`IFNAMSIZ`).
const IFNAMSIZ: usize = 16;

/// The expressions of a rule in a table of `family`. A comment is no expression.
pub fn lower(rule: &Rule, family: Family) -> Vec<Expr> {
    let mut out = Vec::with_capacity(rule.stmts.len() * 4);
    for stmt in &rule.stmts {
        lower_stmt(stmt, family, &mut out);
    }
    out
}

fn lower_stmt(stmt: &Stmt, family: Family, out: &mut Vec<Expr>) {
    match stmt {
        Stmt::Net(field, is, net) => match_net(*field, *is, *net, out),
        Stmt::L4Proto(number) => {
            out.extend([load(Field::L4Proto, FIRST), compare(CmpOp::Eq, vec![*number])]);
        }
        Stmt::InputInterface { name, prefix, is } => match_interface(name, *prefix, *is, out),
        Stmt::SourceIsLocal => match_local(true, Is::In, out),
        Stmt::DestinationIsLocal(is) => match_local(false, *is, out),
        Stmt::WasDnated => match_bits(Expr::CtStatus { dreg: FIRST }, IPS_DST_NAT, out),
        Stmt::MarkHas(bits) => match_bits(load(Field::Mark, FIRST), *bits, out),
        Stmt::InSet(fields, is, set) => {
            load_all(fields, out);
            out.push(Expr::InSet { set: set.clone(), sreg: FIRST, invert: *is == Is::NotIn });
        }
        Stmt::Vmap(fields, set) => {
            load_all(fields, out);
            out.push(Expr::Vmap { set: set.clone(), sreg: FIRST });
        }
        Stmt::MarkSet(bits) => set_mark(!bits, *bits, out),
        Stmt::MarkToggle(bits) => set_mark(u32::MAX, *bits, out),
        Stmt::PriorityHas(bits) => {
            out.extend([load(Field::Priority, FIRST), bitwise(*bits, 0), compare(CmpOp::Eq, number(*bits))]);
        }
        Stmt::PriorityClear => {
            out.extend([Expr::Immediate { dreg: FIRST, data: number(0) }, set_priority()]);
        }
        Stmt::PriorityMap(fields, map) => {
            load_all(fields, out);
            out.extend([Expr::Map { set: map.clone(), sreg: FIRST, dreg: FIRST }, set_priority()]);
        }
        Stmt::Learn { map, key, seconds } => dynset(DynsetOp::Update, map, key, u64::from(*seconds) * 1000, out),
        Stmt::Forget { map, key } => dynset(DynsetOp::Delete, map, key, 0, out),
        Stmt::DnatMap(fields, map) => dnat_map(fields, map, family, out),
        Stmt::Dnat(ip, port) => dnat(*ip, *port, family, out),
        Stmt::Masquerade => out.push(Expr::Masquerade),
        Stmt::RejectTcpReset => out.push(Expr::Reject(RejectWith::TcpReset)),
        Stmt::RejectPortUnreachable => out.push(Expr::Reject(RejectWith::PortUnreachable)),
        Stmt::Verdict(verdict) => out.push(Expr::Verdict(verdict.clone())),
    }
}

/// Whole bytes of a prefix are loaded and compared as they are; any other prefix (a /0 too) goes through a mask.
fn match_net(field: Field, is: Is, net: IpNet, out: &mut Vec<Expr>) {
    let op = cmp_op(is);
    let prefix = usize::from(net.prefix_len());
    let address = octets(net.network());
    if prefix > 0 && prefix.is_multiple_of(8) {
        let bytes = prefix / 8;
        out.extend([load_bytes(field, FIRST, bytes), compare(op, address[..bytes].to_vec())]);
        return;
    }
    let zeros = vec![0; address.len()];
    let mask = Expr::Bitwise { sreg: FIRST, dreg: FIRST, mask: octets(net.netmask()), xor: zeros };
    out.extend([load(field, FIRST), mask, compare(op, address)]);
}

fn match_interface(name: &str, prefix: bool, is: Is, out: &mut Vec<Expr>) {
    let mut bytes: Vec<u8> = name.bytes().take(IFNAMSIZ).collect();
    if !prefix {
        bytes.resize(IFNAMSIZ, 0);
    }
    out.extend([Expr::Meta { key: MetaKey::InputInterfaceName, dreg: FIRST }, compare(cmp_op(is), bytes)]);
}

fn match_local(source: bool, is: Is, out: &mut Vec<Expr>) {
    out.extend([Expr::FibType { source, dreg: FIRST }, compare(cmp_op(is), number(RTN_LOCAL))]);
}

fn match_bits(load: Expr, bits: u32, out: &mut Vec<Expr>) {
    out.extend([load, bitwise(bits, 0), compare(CmpOp::Ne, number(0))]);
}

fn set_mark(mask: u32, xor: u32, out: &mut Vec<Expr>) {
    out.extend([load(Field::Mark, FIRST), bitwise(mask, xor), Expr::MetaSet { key: MetaKey::Mark, sreg: FIRST }]);
}

fn set_priority() -> Expr {
    Expr::MetaSet { key: MetaKey::Priority, sreg: FIRST }
}

/// The data stands in the first 16-byte register behind the key. nft 1.0.6 always takes the second one, where it overwrites the end of
/// a key that is longer than 16 bytes: of an IPv6 address with more.
fn dynset(op: DynsetOp, map: &Name, key: &[Field], timeout: u64, out: &mut Vec<Expr>) {
    load_all(key, out);
    let words: u8 = key.iter().map(|field| words(*field)).sum();
    let data = Reg(words.next_multiple_of(WORDS_OF_16));
    out.push(load(Field::Priority, data));
    out.push(Expr::Dynset { op, set: map.clone(), sreg: FIRST, data, timeout });
}

/// The map's data takes the key's registers: address first, port after it.
fn dnat_map(fields: &[Field], map: &Name, family: Family, out: &mut Vec<Expr>) {
    load_all(fields, out);
    out.push(Expr::Map { set: map.clone(), sreg: FIRST, dreg: FIRST });
    out.push(Expr::Dnat { family, addr: FIRST, port: Reg(words(Field::Daddr(family))) });
}

/// Two constants, each in a 16-byte register of its own: one constant of both makes nft abort when it lists.
fn dnat(ip: IpAddr, port: u16, family: Family, out: &mut Vec<Expr>) {
    let port_reg = Reg(WORDS_OF_16);
    out.push(Expr::Immediate { dreg: FIRST, data: octets(ip) });
    out.push(Expr::Immediate { dreg: port_reg, data: port.to_be_bytes().to_vec() });
    out.push(Expr::Dnat { family, addr: FIRST, port: port_reg });
}

/// Loads a concatenation: each field into the registers after the one before it.
fn load_all(fields: &[Field], out: &mut Vec<Expr>) {
    let mut reg = FIRST;
    for field in fields {
        out.push(load(*field, reg));
        if let Field::PriorityBits(bits) = field {
            out.push(Expr::Bitwise { sreg: reg, dreg: reg, mask: number(*bits), xor: number(0) });
        }
        reg = Reg(reg.0 + words(*field));
    }
}

fn load(field: Field, dreg: Reg) -> Expr {
    match field {
        Field::Saddr(family) | Field::Daddr(family) => load_bytes(field, dreg, family.addr_len()),
        Field::Sport | Field::Dport => load_bytes(field, dreg, 2),
        Field::L4Proto => Expr::Meta { key: MetaKey::L4Proto, dreg },
        Field::Mark => Expr::Meta { key: MetaKey::Mark, dreg },
        Field::Priority | Field::PriorityBits(_) => Expr::Meta { key: MetaKey::Priority, dreg },
        Field::Random(modulus) => Expr::Random { modulus, dreg },
    }
}

/// Loads the first `len` bytes of a field of the packet. Fields that are not in the packet are loaded whole.
fn load_bytes(field: Field, dreg: Reg, len: usize) -> Expr {
    let (header, offset) = match field {
        Field::Saddr(Family::V4) => (Header::Network, 12),
        Field::Daddr(Family::V4) => (Header::Network, 16),
        Field::Saddr(Family::V6) => (Header::Network, 8),
        Field::Daddr(Family::V6) => (Header::Network, 24),
        Field::Sport => (Header::Transport, 0),
        Field::Dport => (Header::Transport, 2),
        _ => return load(field, dreg),
    };
    Expr::Payload { header, offset, len: len as u32, dreg }
}

/// 32-bit registers a field fills.
fn words(field: Field) -> u8 {
    match field {
        Field::Saddr(Family::V6) | Field::Daddr(Family::V6) => 4,
        _ => 1,
    }
}

fn cmp_op(is: Is) -> CmpOp {
    match is {
        Is::In => CmpOp::Eq,
        Is::NotIn => CmpOp::Ne,
    }
}

fn compare(op: CmpOp, data: Vec<u8>) -> Expr {
    Expr::Cmp { sreg: FIRST, op, data }
}

fn bitwise(mask: u32, xor: u32) -> Expr {
    Expr::Bitwise { sreg: FIRST, dreg: FIRST, mask: number(mask), xor: number(xor) }
}

/// A number as a register holds it.
fn number(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::ruleset::Verdict;

    fn one(stmt: Stmt, family: Family) -> Vec<Expr> {
        lower(&Rule::new([stmt]), family)
    }

    fn net(text: &str, is: Is) -> Vec<Expr> {
        let net: IpNet = text.parse().unwrap();
        let family = Family::of_net(net);
        one(Stmt::Net(Field::Saddr(family), is, net), family)
    }

    #[test]
    fn a_prefix_of_whole_bytes_loads_only_them() {
        let load = Expr::Payload { header: Header::Network, offset: 12, len: 2, dreg: Reg(0) };
        let cmp = Expr::Cmp { sreg: Reg(0), op: CmpOp::Eq, data: vec![10, 1] };
        assert_eq!(net("10.1.0.0/16", Is::In), [load, cmp]);
    }

    #[test]
    fn host_bits_of_a_network_are_not_compared() {
        assert_eq!(net("10.1.2.3/16", Is::In), net("10.1.0.0/16", Is::In));
    }

    #[test]
    fn another_prefix_is_masked_and_so_is_slash_zero() {
        let load = Expr::Payload { header: Header::Network, offset: 12, len: 4, dreg: Reg(0) };
        let mask = |m: [u8; 4]| Expr::Bitwise { sreg: Reg(0), dreg: Reg(0), mask: m.to_vec(), xor: vec![0; 4] };
        let cmp = |op, d: [u8; 4]| Expr::Cmp { sreg: Reg(0), op, data: d.to_vec() };
        let twelve = [load.clone(), mask([255, 240, 0, 0]), cmp(CmpOp::Ne, [10, 16, 0, 0])];
        assert_eq!(net("10.16.0.0/12", Is::NotIn), twelve);
        assert_eq!(net("0.0.0.0/0", Is::In), [load, mask([0; 4]), cmp(CmpOp::Eq, [0; 4])]);
    }

    #[test]
    fn dnat_by_map_takes_the_port_after_the_address() {
        let fields = |f| vec![Field::Daddr(f), Field::L4Proto, Field::Dport, Field::Random(10)];
        let regs = |exprs: &[Expr]| -> Vec<u8> {
            let reg = |e: &Expr| match e {
                Expr::Payload { dreg, .. } | Expr::Meta { dreg, .. } | Expr::Random { dreg, .. } => Some(dreg.0),
                _ => None,
            };
            exprs.iter().filter_map(reg).collect()
        };
        let v4 = one(Stmt::DnatMap(fields(Family::V4), "m".into()), Family::V4);
        assert_eq!(regs(&v4), [0, 1, 2, 3]);
        assert_eq!(v4.last(), Some(&Expr::Dnat { family: Family::V4, addr: Reg(0), port: Reg(1) }));
        let v6 = one(Stmt::DnatMap(fields(Family::V6), "m".into()), Family::V6);
        assert_eq!(regs(&v6), [0, 4, 5, 6]);
        assert_eq!(v6.last(), Some(&Expr::Dnat { family: Family::V6, addr: Reg(0), port: Reg(4) }));
    }

    #[test]
    fn a_name_is_padded_and_its_beginning_is_not() {
        let data = |prefix| match one(Stmt::InputInterface { name: "cni".into(), prefix, is: Is::In }, Family::V4).pop()
        {
            Some(Expr::Cmp { data, .. }) => data,
            other => panic!("no comparison: {other:?}"),
        };
        assert_eq!(data(false), b"cni\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(data(true), b"cni");
    }

    #[test]
    fn marks_keep_their_other_bits() {
        let bitwise = |stmt| match one(stmt, Family::V4).swap_remove(1) {
            Expr::Bitwise { mask, xor, .. } => (mask, xor),
            other => panic!("no bitwise: {other:?}"),
        };
        assert_eq!(bitwise(Stmt::MarkSet(0x4000)), (number(0xffff_bfff), number(0x4000)));
        assert_eq!(bitwise(Stmt::MarkToggle(0x4000)), (number(u32::MAX), number(0x4000)));
        assert_eq!(bitwise(Stmt::MarkHas(0x4000)), (number(0x4000), number(0)));
    }

    #[test]
    fn a_comment_is_no_expression() {
        let rule = Rule::new([Stmt::Verdict(Verdict::Return)]).comment("back");
        assert_eq!(lower(&rule, Family::V4), [Expr::Verdict(Verdict::Return)]);
    }
}
