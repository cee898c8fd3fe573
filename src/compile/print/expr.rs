//! Expressions in the style of `nft --debug=netlink`, for rules that exist only as expressions.

use super::value::verdict_text;
use crate::compile::expr::{CmpOp, DynsetOp, Expr, Header, MetaKey, Reg, RejectWith};

/// A whole rule: its expressions from left to right.
pub fn program_text(program: &[Expr]) -> String {
    program.iter().map(expr_text).collect::<Vec<_>>().join(" ")
}

/// One expression: `[ payload load 4b @ network header + 16 => reg 1 ]`. Constants print as 32-bit words in host order, as nft does.
pub fn expr_text(expr: &Expr) -> String {
    format!("[ {} ]", inner(expr))
}

fn inner(expr: &Expr) -> String {
    match expr {
        Expr::Payload { header, offset, len, dreg } => {
            format!("payload load {len}b @ {} header + {offset} => {}", header_text(*header), reg(*dreg))
        }
        Expr::Meta { key, dreg } => format!("meta load {} => {}", meta_text(*key), reg(*dreg)),
        Expr::MetaSet { key, sreg } => format!("meta set {} with {}", meta_text(*key), reg(*sreg)),
        Expr::FibType { source, dreg } => {
            format!("fib {} type => {}", if *source { "saddr" } else { "daddr" }, reg(*dreg))
        }
        Expr::CtStatus { dreg } => format!("ct load status => {}", reg(*dreg)),
        Expr::Bitwise { sreg, dreg, mask, xor } => {
            format!("bitwise {} = ( {} & {} ) ^ {}", reg(*dreg), reg(*sreg), words(mask), words(xor))
        }
        Expr::Cmp { sreg, op, data } => format!("cmp {} {} {}", op_text(*op), reg(*sreg), words(data)),
        Expr::Immediate { dreg, data } => format!("immediate {} {}", reg(*dreg), words(data)),
        Expr::Random { modulus, dreg } => format!("numgen {} = random mod {modulus}", reg(*dreg)),
        Expr::InSet { .. } | Expr::Vmap { .. } | Expr::Map { .. } | Expr::Dynset { .. } => lookup(expr),
        Expr::Dnat { .. } | Expr::Masquerade | Expr::Reject(_) | Expr::Verdict(_) => ending(expr),
    }
}

fn lookup(expr: &Expr) -> String {
    match expr {
        Expr::InSet { set, sreg, invert: false } => format!("lookup {} set {set}", reg(*sreg)),
        Expr::InSet { set, sreg, invert: true } => format!("lookup {} set {set} inverted", reg(*sreg)),
        Expr::Vmap { set, sreg } => format!("lookup {} set {set} dreg 0", reg(*sreg)),
        Expr::Map { set, sreg, dreg } => format!("lookup {} set {set} d{}", reg(*sreg), reg(*dreg)),
        Expr::Dynset { op, set, sreg, data, timeout } => {
            let op = match op {
                DynsetOp::Update => "update",
                DynsetOp::Delete => "delete",
            };
            format!("dynset {op} reg_key {} set {set} sreg_data {} timeout {timeout}ms", number(*sreg), number(*data))
        }
        _ => String::new(),
    }
}

fn ending(expr: &Expr) -> String {
    match expr {
        Expr::Dnat { family, addr, port } => {
            format!("nat dnat {} addr_min {} proto_min {}", family.nft(), reg(*addr), reg(*port))
        }
        Expr::Masquerade => "masq fully-random".into(),
        Expr::Reject(RejectWith::TcpReset) => "reject tcp reset".into(),
        Expr::Reject(RejectWith::PortUnreachable) => "reject port unreachable".into(),
        Expr::Verdict(verdict) => format!("immediate reg 0 {}", verdict_text(verdict)),
        _ => String::new(),
    }
}

/// The register as the kernel numbers it: 1 to 4 are the four 16-byte registers, 8 to 23 the words in them.
fn reg(reg: Reg) -> String {
    format!("reg {}", number(reg))
}

fn number(reg: Reg) -> u8 {
    match reg.0 {
        word if word % 4 == 0 => 1 + word / 4,
        word => 8 + word,
    }
}

fn words(data: &[u8]) -> String {
    let word = |chunk: &[u8]| {
        let mut bytes = [0; 4];
        bytes[..chunk.len()].copy_from_slice(chunk);
        format!("0x{:08x}", u32::from_ne_bytes(bytes))
    };
    data.chunks(4).map(word).collect::<Vec<_>>().join(" ")
}

fn header_text(header: Header) -> &'static str {
    match header {
        Header::Network => "network",
        Header::Transport => "transport",
    }
}

fn meta_text(key: MetaKey) -> &'static str {
    match key {
        MetaKey::Mark => "mark",
        MetaKey::Priority => "priority",
        MetaKey::L4Proto => "l4proto",
        MetaKey::InputInterfaceName => "iifname",
    }
}

fn op_text(op: CmpOp) -> &'static str {
    match op {
        CmpOp::Eq => "eq",
        CmpOp::Ne => "neq",
    }
}
