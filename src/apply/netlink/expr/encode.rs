//! Expressions to attributes.

use super::super::attr::Writer;
use super::super::message::family_number;
use super::*;
use crate::compile::expr::{CmpOp, DynsetOp, Expr, Header, MetaKey, Reg};
use crate::compile::ruleset::Verdict;

/// Writes the expressions of a rule, one list element each.
pub(in super::super) fn encode_rule(w: &mut Writer, exprs: &[Expr], family: Family) {
    for expr in exprs {
        w.nest(LIST_ELEM, |w| {
            w.put_str(EXPR_NAME, name(expr));
            w.nest(EXPR_DATA, |w| encode(w, expr, family));
        });
    }
}

/// Writes a verdict as data.
pub(in super::super) fn encode_verdict(w: &mut Writer, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Accept => (code::ACCEPT, None),
        Verdict::Drop => (code::DROP, None),
        Verdict::Return => (code::RETURN, None),
        Verdict::Jump(chain) => (code::JUMP, Some(chain)),
        Verdict::Goto(chain) => (code::GOTO, Some(chain)),
    };
    w.nest(DATA_VERDICT, |w| {
        w.put_u32(1, code);
        if let Some(chain) = chain {
            w.put_str(2, chain.as_str());
        }
    });
}

fn name(expr: &Expr) -> &'static str {
    match expr {
        Expr::Payload { .. } => "payload",
        Expr::Meta { .. } | Expr::MetaSet { .. } => "meta",
        Expr::FibType { .. } => "fib",
        Expr::CtStatus { .. } => "ct",
        Expr::Bitwise { .. } => "bitwise",
        Expr::Cmp { .. } => "cmp",
        Expr::InSet { .. } | Expr::Vmap { .. } | Expr::Map { .. } => "lookup",
        Expr::Dynset { .. } => "dynset",
        Expr::Immediate { .. } | Expr::Verdict(_) => "immediate",
        Expr::Random { .. } => "numgen",
        Expr::Dnat { .. } => "nat",
        Expr::Masquerade => "masq",
        Expr::Reject(_) => "reject",
    }
}

fn encode(w: &mut Writer, expr: &Expr, family: Family) {
    match expr {
        Expr::Payload { header, offset, len, dreg } => {
            numbers(w, [(1, reg(*dreg)), (2, base(*header)), (3, *offset), (4, *len)]);
        }
        Expr::Meta { key, dreg } => numbers(w, [(2, meta_key(*key)), (1, reg(*dreg))]),
        Expr::MetaSet { key, sreg } => numbers(w, [(2, meta_key(*key)), (3, reg(*sreg))]),
        Expr::FibType { source, dreg } => {
            let flags = if *source { FIB_SADDR } else { FIB_DADDR };
            numbers(w, [(1, reg(*dreg)), (2, FIB_ADDRTYPE), (3, flags)]);
        }
        Expr::CtStatus { dreg } => numbers(w, [(1, reg(*dreg)), (2, CT_STATUS)]),
        Expr::Bitwise { sreg, dreg, mask, xor } => {
            numbers(w, [(1, reg(*sreg)), (2, reg(*dreg)), (3, mask.len() as u32)]);
            value(w, 4, mask);
            value(w, 5, xor);
        }
        Expr::Cmp { sreg, op, data } => {
            numbers(w, [(1, reg(*sreg)), (2, cmp_op(*op))]);
            value(w, 3, data);
        }
        Expr::InSet { set, sreg, invert } => {
            w.put_str(1, set.as_str());
            numbers(w, [(2, reg(*sreg)), (5, if *invert { LOOKUP_INVERT } else { 0 })]);
        }
        Expr::Vmap { set, sreg } => lookup(w, set.as_str(), *sreg, VERDICT_REGISTER),
        Expr::Map { set, sreg, dreg } => lookup(w, set.as_str(), *sreg, reg(*dreg)),
        Expr::Dynset { op, set, sreg, data, timeout } => {
            w.put_str(1, set.as_str());
            numbers(w, [(3, dynset_op(*op)), (4, reg(*sreg)), (5, reg(*data))]);
            if *timeout > 0 {
                w.put_u64(6, *timeout);
            }
        }
        Expr::Immediate { dreg, data } => {
            w.put_u32(1, reg(*dreg));
            value(w, 2, data);
        }
        Expr::Random { modulus, dreg } => {
            numbers(w, [(1, reg(*dreg)), (2, *modulus), (3, NUMGEN_RANDOM), (4, 0)]);
        }
        Expr::Dnat { family, addr, port } => {
            let (addr, port) = (reg(*addr), reg(*port));
            numbers(w, [(1, NAT_DNAT), (2, family_number(*family).into())]);
            numbers(w, [(3, addr), (4, addr), (5, port), (6, port)]);
        }
        Expr::Masquerade => w.put_u32(1, NAT_FULLY_RANDOM),
        Expr::Reject(with) => {
            let (kind, code) = reject_numbers(*with, family);
            w.put_u32(1, kind);
            if let Some(code) = code {
                w.put(2, &[code]);
            }
        }
        Expr::Verdict(verdict) => {
            w.put_u32(1, VERDICT_REGISTER);
            w.nest(2, |w| encode_verdict(w, verdict));
        }
    }
}

fn numbers<const N: usize>(w: &mut Writer, numbers: [(u16, u32); N]) {
    for (kind, number) in numbers {
        w.put_u32(kind, number);
    }
}

fn value(w: &mut Writer, kind: u16, data: &[u8]) {
    w.nest(kind, |w| w.put(DATA_VALUE, data));
}

fn lookup(w: &mut Writer, set: &str, sreg: Reg, dreg: u32) {
    w.put_str(1, set);
    numbers(w, [(2, reg(sreg)), (3, dreg)]);
}

/// The kernel reads both ways of counting registers; it writes the 16-byte number where there is one, and so do nft and we.
fn reg(Reg(word): Reg) -> u32 {
    let word = u32::from(word);
    if word.is_multiple_of(4) { FIRST_16 + word / 4 } else { FIRST_4 + word }
}

fn base(header: Header) -> u32 {
    match header {
        Header::Network => 1,
        Header::Transport => 2,
    }
}

fn meta_key(key: MetaKey) -> u32 {
    match key {
        MetaKey::Mark => meta::MARK,
        MetaKey::Priority => meta::PRIORITY,
        MetaKey::L4Proto => meta::L4PROTO,
        MetaKey::InputInterfaceName => meta::IIFNAME,
    }
}

fn dynset_op(op: DynsetOp) -> u32 {
    match op {
        DynsetOp::Update => DYNSET_UPDATE,
        DynsetOp::Delete => DYNSET_DELETE,
    }
}

fn cmp_op(op: CmpOp) -> u32 {
    match op {
        CmpOp::Eq => 0,
        CmpOp::Ne => 1,
    }
}
