//! The kernel's expressions as far as kube-proxy's rules have them (`include/uapi/linux/netfilter/nf_tables.h`). What is none of them is kept
//! by name: a packet that meets it cannot be judged.

use crate::netlink::attr::{attrs, by_kind, str_of, u32_of};

/// The first byte of a register, 0..64: the kernel's sixteen words of four bytes.
pub(super) type At = usize;

/// Bytes of all registers.
pub(super) const REGISTERS: usize = 64;

/// Where a packet goes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
}

/// What is loaded into a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// Bytes of the IP header.
    Network {
        offset: u32,
        len: u32,
    },
    /// Bytes of the transport header.
    Transport {
        offset: u32,
        len: u32,
    },
    Mark,
    L4Protocol,
    /// The family of the table, as `NFPROTO_*`.
    NfProtocol,
    InputInterface,
    SourceType,
    DestinationType,
    CtState,
    CtStatus,
    Random {
        modulus: u32,
        offset: u32,
    },
}

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a lookup does with what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Goes on if the key is there, or (inverted) if it is not.
    Test {
        invert: bool,
    },
    Verdict,
    Load(At),
}

/// One expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expr {
    Load(Load, At),
    SetMark(At),
    Bitwise {
        from: At,
        to: At,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    Compare {
        at: At,
        how: Comparison,
        with: Vec<u8>,
    },
    Lookup {
        set: String,
        at: At,
        then: Use,
    },
    Constant(At, Vec<u8>),
    Verdict(Verdict),
    Dnat {
        ip: At,
        port: Option<At>,
    },
    Masquerade,
    Reject,
    /// Counts, or learns: no matter for where a packet goes.
    Idle,
    Unknown(String),
}

/// The expressions of a rule.
pub(super) fn rule(list: &[u8]) -> Vec<Expr> {
    let decoded = attrs(list).map(|(_, element)| {
        let [_, name, data] = by_kind::<3>(element);
        let (name, data) = (str_of(name).unwrap_or("(nameless)"), data.unwrap_or_default());
        decode(name, data).unwrap_or_else(|| Expr::Unknown(name.to_owned()))
    });
    decoded.collect()
}

/// A verdict from inside `NFTA_DATA_VERDICT`.
pub(super) fn verdict(data: &[u8]) -> Option<Verdict> {
    let [_, code, chain] = by_kind::<3>(data);
    let chain = str_of(chain).map(str::to_owned);
    Some(match u32_of(code)? as i32 {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -3 => Verdict::Jump(chain?),
        -4 => Verdict::Goto(chain?),
        -5 => Verdict::Return,
        _ => return None,
    })
}

fn decode(name: &str, data: &[u8]) -> Option<Expr> {
    match name {
        "payload" => payload(data),
        "meta" => meta(data),
        "fib" => fib(data),
        "ct" => ct(data),
        "bitwise" => bitwise(data),
        "cmp" => compare(data),
        "lookup" => lookup(data),
        "immediate" => immediate(data),
        "numgen" => numgen(data),
        "nat" => nat(data),
        "masq" => Some(Expr::Masquerade),
        "reject" => Some(Expr::Reject),
        "counter" | "dynset" | "log" | "last" => Some(Expr::Idle),
        _ => None,
    }
}

fn payload(data: &[u8]) -> Option<Expr> {
    let [_, to, base, offset, len, set] = by_kind::<6>(data);
    let (offset, len) = (u32_of(offset)?, u32_of(len)?);
    let load = match u32_of(base)? {
        1 => Load::Network { offset, len },
        2 => Load::Transport { offset, len },
        _ => return None,
    };
    set.is_none().then_some(Expr::Load(load, register(to)?))
}

fn meta(data: &[u8]) -> Option<Expr> {
    let [_, to, key, from] = by_kind::<4>(data);
    let load = match u32_of(key)? {
        3 if from.is_some() => return Some(Expr::SetMark(register(from)?)),
        3 => Load::Mark,
        6 => Load::InputInterface,
        15 => Load::NfProtocol,
        16 => Load::L4Protocol,
        _ => return None,
    };
    Some(Expr::Load(load, register(to)?))
}

fn fib(data: &[u8]) -> Option<Expr> {
    let [_, to, result, flags] = by_kind::<4>(data);
    let load = match (u32_of(result)?, u32_of(flags)?) {
        (3, 1) => Load::SourceType,
        (3, 2) => Load::DestinationType,
        _ => return None,
    };
    Some(Expr::Load(load, register(to)?))
}

fn ct(data: &[u8]) -> Option<Expr> {
    let [_, to, key, direction] = by_kind::<4>(data);
    let load = match (u32_of(key)?, direction) {
        (0, None) => Load::CtState,
        (2, None) => Load::CtStatus,
        _ => return None,
    };
    Some(Expr::Load(load, register(to)?))
}

fn bitwise(data: &[u8]) -> Option<Expr> {
    let [_, from, to, _, mask, xor, op] = by_kind::<7>(data);
    let boolean = u32_of(op).is_none_or(|op| op == 0);
    let (mask, xor) = (value(mask)?, value(xor)?);
    boolean.then_some(Expr::Bitwise { from: register(from)?, to: register(to)?, mask, xor })
}

fn compare(data: &[u8]) -> Option<Expr> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let [_, at, how, with] = by_kind::<4>(data);
    let how = *[Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual].get(u32_of(how)? as usize)?;
    Some(Expr::Compare { at: register(at)?, how, with: value(with)? })
}

fn lookup(data: &[u8]) -> Option<Expr> {
    let [_, set, at, to, _, flags] = by_kind::<6>(data);
    let invert = u32_of(flags).unwrap_or(0) & 1 != 0;
    let then = match u32_of(to) {
        None => Use::Test { invert },
        Some(0) => Use::Verdict,
        Some(_) => Use::Load(register(to)?),
    };
    Some(Expr::Lookup { set: str_of(set)?.to_owned(), at: register(at)?, then })
}

fn immediate(data: &[u8]) -> Option<Expr> {
    let [_, to, data] = by_kind::<3>(data);
    if u32_of(to)? != 0 {
        return Some(Expr::Constant(register(to)?, value(data)?));
    }
    let [_, _, taken] = by_kind::<3>(data?);
    Some(Expr::Verdict(verdict(taken?)?))
}

fn numgen(data: &[u8]) -> Option<Expr> {
    let [_, to, modulus, _, offset] = by_kind::<5>(data);
    // By turns (NFT_NG_INCREMENTAL) leads to the same endpoints as at random.
    let load = Load::Random { modulus: u32_of(modulus)?, offset: u32_of(offset).unwrap_or(0) };
    Some(Expr::Load(load, register(to)?))
}

fn nat(data: &[u8]) -> Option<Expr> {
    let [_, kind, _, ip, _, port] = by_kind::<6>(data);
    let port = match port {
        Some(_) => Some(register(port)?),
        None => None,
    };
    (u32_of(kind)? == 1).then_some(Expr::Dnat { ip: register(ip)?, port })
}

/// The bytes of `NFTA_DATA_VALUE`.
pub(super) fn value(data: Option<&[u8]>) -> Option<Vec<u8>> {
    let [_, value] = by_kind::<2>(data?);
    value.map(<[u8]>::to_vec)
}

/// `NFT_REG_1..4` are four words each, `NFT_REG32_00` and on are one.
fn register(number: Option<&[u8]>) -> Option<At> {
    let word = match u32_of(number)? {
        0 => return None,
        long @ 1..8 => (long - 1) * 4,
        short => short - 8,
    };
    Some(word as usize * 4).filter(|at| *at < REGISTERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attr::Writer;

    #[test]
    fn registers_are_counted_both_ways() {
        let at = |number: u32| register(Some(&number.to_be_bytes()[..]));
        assert_eq!([at(1), at(2), at(8), at(9), at(23)], [Some(0), Some(16), Some(0), Some(4), Some(60)]);
        assert_eq!([at(0), at(24)], [None, None]);
    }

    #[test]
    fn what_is_not_known_is_kept_by_name() {
        let mut w = Writer::default();
        w.nest(1, |w| w.put_str(1, "quota"));
        w.nest(1, |w| {
            w.put_str(1, "meta");
            w.nest(2, |w| [(1, 1), (2, 3)].iter().for_each(|(kind, number)| w.put_u32(*kind, *number)));
        });
        assert_eq!(rule(&w.bytes), [Expr::Unknown("quota".to_owned()), Expr::Load(Load::Mark, 0)]);
    }
}
