//! Attributes to expressions. What ferroproxy never writes is `None`.

use super::super::attr::{attrs, by_kind, str_of, u32_of, u64_of};
use super::super::message::family_number;
use super::*;
use crate::compile::expr::{CmpOp, DynsetOp, Expr, Header, MetaKey, Reg};
use crate::compile::ruleset::Verdict;

/// Reads the list of a rule's expressions; `None` if one of them is none of ours.
pub(in super::super) fn decode_rule(list: &[u8], family: Family) -> Option<Vec<Expr>> {
    let mut out = Vec::new();
    for (_, element) in attrs(list) {
        let [_, name, data] = by_kind::<3>(element);
        let (name, data) = (str_of(name)?, data.unwrap_or_default());
        if !is_idle(name, data) {
            out.push(decode(name, data, family)?);
        }
    }
    Some(out)
}

/// Reads a verdict from inside `NFTA_DATA_VERDICT`.
pub(in super::super) fn decode_verdict(data: &[u8]) -> Option<Verdict> {
    let [_, code, chain] = by_kind::<3>(data);
    let chain = str_of(chain).map(Into::into);
    Some(match u32_of(code)? {
        code::ACCEPT => Verdict::Accept,
        code::DROP => Verdict::Drop,
        code::RETURN => Verdict::Return,
        code::JUMP => Verdict::Jump(chain?),
        code::GOTO => Verdict::Goto(chain?),
        _ => return None,
    })
}

/// nft 1.0.6 swaps the bytes of a one-byte protocol before it looks it up in an interval set: two bytes at a time, so none.
fn is_idle(name: &str, data: &[u8]) -> bool {
    let [_, _, _, _, len, size] = by_kind::<6>(data);
    name == "byteorder" && u32_of(len) < u32_of(size)
}

fn decode(name: &str, data: &[u8], family: Family) -> Option<Expr> {
    match name {
        "payload" => payload(data),
        "meta" => meta_expr(data),
        "fib" => fib(data),
        "ct" => ct(data),
        "bitwise" => bitwise(data),
        "cmp" => cmp(data),
        "lookup" => lookup(data),
        "dynset" => dynset(data),
        "immediate" => immediate(data),
        "numgen" => numgen(data),
        "nat" => nat(data),
        "masq" => masq(data),
        "reject" => reject(data, family),
        _ => None,
    }
}

fn payload(data: &[u8]) -> Option<Expr> {
    let [_, dreg, base, offset, len, set] = by_kind::<6>(data);
    let header = match u32_of(base)? {
        1 => Header::Network,
        2 => Header::Transport,
        _ => return None,
    };
    none(set)?;
    Some(Expr::Payload { header, offset: u32_of(offset)?, len: u32_of(len)?, dreg: reg(dreg)? })
}

fn meta_expr(data: &[u8]) -> Option<Expr> {
    let [_, dreg, key, sreg] = by_kind::<4>(data);
    let key = match u32_of(key)? {
        meta::MARK => MetaKey::Mark,
        meta::PRIORITY => MetaKey::Priority,
        meta::L4PROTO => MetaKey::L4Proto,
        meta::IIFNAME => MetaKey::InputInterfaceName,
        _ => return None,
    };
    match (dreg, sreg) {
        (Some(_), None) => Some(Expr::Meta { key, dreg: reg(dreg)? }),
        (None, Some(_)) if matches!(key, MetaKey::Mark | MetaKey::Priority) => {
            Some(Expr::MetaSet { key, sreg: reg(sreg)? })
        }
        _ => None,
    }
}

fn fib(data: &[u8]) -> Option<Expr> {
    let [_, dreg, result, flags] = by_kind::<4>(data);
    let source = match (u32_of(result)?, u32_of(flags)?) {
        (FIB_ADDRTYPE, FIB_SADDR) => true,
        (FIB_ADDRTYPE, FIB_DADDR) => false,
        _ => return None,
    };
    Some(Expr::FibType { source, dreg: reg(dreg)? })
}

fn ct(data: &[u8]) -> Option<Expr> {
    let [_, dreg, key, direction] = by_kind::<4>(data);
    none(direction)?;
    (u32_of(key)? == CT_STATUS).then_some(Expr::CtStatus { dreg: reg(dreg)? })
}

fn bitwise(data: &[u8]) -> Option<Expr> {
    let [_, sreg, dreg, _, mask, xor, op] = by_kind::<7>(data);
    let (mask, xor) = (value(mask)?, value(xor)?);
    let boolean = u32_of(op).is_none_or(|op| op == 0);
    boolean.then_some(Expr::Bitwise { sreg: reg(sreg)?, dreg: reg(dreg)?, mask, xor })
}

fn cmp(data: &[u8]) -> Option<Expr> {
    let [_, sreg, op, data] = by_kind::<4>(data);
    let op = match u32_of(op)? {
        0 => CmpOp::Eq,
        1 => CmpOp::Ne,
        _ => return None,
    };
    Some(Expr::Cmp { sreg: reg(sreg)?, op, data: value(data)? })
}

fn lookup(data: &[u8]) -> Option<Expr> {
    let [_, set, sreg, dreg, _, flags] = by_kind::<6>(data);
    let (set, sreg) = (str_of(set)?.into(), reg(sreg)?);
    let invert = u32_of(flags).unwrap_or(0) & LOOKUP_INVERT != 0;
    Some(match u32_of(dreg) {
        None => Expr::InSet { set, sreg, invert },
        Some(_) if invert => return None,
        Some(VERDICT_REGISTER) => Expr::Vmap { set, sreg },
        Some(_) => Expr::Map { set, sreg, dreg: reg(dreg)? },
    })
}

fn dynset(data: &[u8]) -> Option<Expr> {
    let [_, set, _, op, sreg, sreg_data, timeout, expr, _, flags, exprs] = by_kind::<11>(data);
    let op = match u32_of(op)? {
        DYNSET_UPDATE => DynsetOp::Update,
        DYNSET_DELETE => DynsetOp::Delete,
        _ => return None,
    };
    none(expr.or(exprs))?;
    let plain = u32_of(flags).unwrap_or(0) == 0;
    let (sreg, data) = (reg(sreg)?, reg(sreg_data)?);
    let timeout = u64_of(timeout).unwrap_or(0);
    plain.then_some(Expr::Dynset { op, set: str_of(set)?.into(), sreg, data, timeout })
}

fn immediate(data: &[u8]) -> Option<Expr> {
    let [_, dreg, data] = by_kind::<3>(data);
    if u32_of(dreg)? != VERDICT_REGISTER {
        return Some(Expr::Immediate { dreg: reg(dreg)?, data: value(data)? });
    }
    let [_, _, verdict] = by_kind::<3>(data?);
    Some(Expr::Verdict(decode_verdict(verdict?)?))
}

fn numgen(data: &[u8]) -> Option<Expr> {
    let [_, dreg, modulus, kind, offset] = by_kind::<5>(data);
    let plain = u32_of(kind)? == NUMGEN_RANDOM && u32_of(offset).unwrap_or(0) == 0;
    plain.then_some(Expr::Random { modulus: u32_of(modulus)?, dreg: reg(dreg)? })
}

fn nat(data: &[u8]) -> Option<Expr> {
    let [_, kind, family, addr, addr_max, port, port_max, flags] = by_kind::<8>(data);
    let family = Family::ALL.into_iter().find(|f| u32_of(family) == Some(family_number(*f).into()))?;
    let no_range = addr_max.is_none_or(|max| Some(max) == addr) && port_max.is_none_or(|max| Some(max) == port);
    let no_flags = u32_of(flags).unwrap_or(0) & !NAT_ADDR_AND_PORT == 0;
    let plain = u32_of(kind)? == NAT_DNAT && no_range && no_flags;
    plain.then_some(Expr::Dnat { family, addr: reg(addr)?, port: reg(port)? })
}

fn masq(data: &[u8]) -> Option<Expr> {
    let [_, flags, port] = by_kind::<3>(data);
    none(port)?;
    (u32_of(flags)? == NAT_FULLY_RANDOM).then_some(Expr::Masquerade)
}

fn reject(data: &[u8], family: Family) -> Option<Expr> {
    let [_, kind, code] = by_kind::<3>(data);
    let is = |with: &RejectWith| match reject_numbers(*with, family) {
        (number, None) => u32_of(kind) == Some(number),
        (number, Some(wanted)) => u32_of(kind) == Some(number) && code == Some(&[wanted][..]),
    };
    [RejectWith::TcpReset, RejectWith::PortUnreachable].into_iter().find(is).map(Expr::Reject)
}

/// `None` when an attribute is there that ferroproxy never writes.
fn none(attr: Option<&[u8]>) -> Option<()> {
    attr.is_none().then_some(())
}

fn value(data: Option<&[u8]>) -> Option<Vec<u8>> {
    let [_, value] = by_kind::<2>(data?);
    value.map(<[u8]>::to_vec)
}

fn reg(value: Option<&[u8]>) -> Option<Reg> {
    let number = u32_of(value)?;
    let word = match number {
        VERDICT_REGISTER => return None,
        FIRST_16..FIRST_4 => (number - FIRST_16) * 4,
        _ => number - FIRST_4,
    };
    u8::try_from(word).ok().filter(|word| *word < WORDS).map(Reg)
}
