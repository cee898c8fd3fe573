use proptest::collection::vec;
use proptest::prelude::*;

use super::super::attr::Writer;
use super::*;
use crate::compile::expr::{CmpOp, DynsetOp, Expr, Header, MetaKey, Reg};
use crate::compile::ruleset::{Name, Verdict};

fn regs() -> impl Strategy<Value = Reg> {
    (0..WORDS).prop_map(Reg)
}

fn names() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9/_-]{1,40}".prop_map(Name::from)
}

fn families() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Accept),
        Just(Verdict::Drop),
        Just(Verdict::Return),
        names().prop_map(Verdict::Jump),
        names().prop_map(Verdict::Goto),
    ]
}

fn loads() -> impl Strategy<Value = Expr> {
    let header = prop_oneof![Just(Header::Network), Just(Header::Transport)];
    let key = prop_oneof![
        Just(MetaKey::Mark),
        Just(MetaKey::Priority),
        Just(MetaKey::L4Proto),
        Just(MetaKey::InputInterfaceName)
    ];
    let settable = prop_oneof![Just(MetaKey::Mark), Just(MetaKey::Priority)];
    prop_oneof![
        (header, any::<u32>(), any::<u32>(), regs()).prop_map(|(header, offset, len, dreg)| Expr::Payload {
            header,
            offset,
            len,
            dreg
        }),
        (key, regs()).prop_map(|(key, dreg)| Expr::Meta { key, dreg }),
        (settable, regs()).prop_map(|(key, sreg)| Expr::MetaSet { key, sreg }),
        (any::<bool>(), regs()).prop_map(|(source, dreg)| Expr::FibType { source, dreg }),
        regs().prop_map(|dreg| Expr::CtStatus { dreg }),
        (any::<u32>(), regs()).prop_map(|(modulus, dreg)| Expr::Random { modulus, dreg }),
        (vec(any::<u8>(), 1..=16), regs()).prop_map(|(data, dreg)| Expr::Immediate { dreg, data }),
    ]
}

fn uses() -> impl Strategy<Value = Expr> {
    let op = prop_oneof![Just(CmpOp::Eq), Just(CmpOp::Ne)];
    let change = prop_oneof![Just(DynsetOp::Update), Just(DynsetOp::Delete)];
    let reject = prop_oneof![Just(RejectWith::TcpReset), Just(RejectWith::PortUnreachable)];
    prop_oneof![
        (regs(), regs(), vec(any::<(u8, u8)>(), 1..=16)).prop_map(|(sreg, dreg, bits)| {
            let (mask, xor) = bits.into_iter().unzip();
            Expr::Bitwise { sreg, dreg, mask, xor }
        }),
        (regs(), op, vec(any::<u8>(), 1..=16)).prop_map(|(sreg, op, data)| Expr::Cmp { sreg, op, data }),
        (names(), regs(), any::<bool>()).prop_map(|(set, sreg, invert)| Expr::InSet { set, sreg, invert }),
        (change, names(), regs(), regs(), any::<u64>()).prop_map(|(op, set, sreg, data, timeout)| Expr::Dynset {
            op,
            set,
            sreg,
            data,
            timeout
        }),
        (names(), regs()).prop_map(|(set, sreg)| Expr::Vmap { set, sreg }),
        (names(), regs(), regs()).prop_map(|(set, sreg, dreg)| Expr::Map { set, sreg, dreg }),
        (families(), regs(), regs()).prop_map(|(family, addr, port)| Expr::Dnat { family, addr, port }),
        Just(Expr::Masquerade),
        reject.prop_map(Expr::Reject),
        verdicts().prop_map(Expr::Verdict),
    ]
}

fn exprs() -> impl Strategy<Value = Vec<Expr>> {
    vec(prop_oneof![loads(), uses()], 0..8)
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(exprs in exprs(), family in families()) {
        let mut w = Writer::default();
        encode_rule(&mut w, &exprs, family);
        prop_assert_eq!(decode_rule(&w.bytes, family), Some(exprs));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..200), flip in vec((0usize..400, any::<u8>()), 0..4), exprs in exprs()) {
        decode_rule(&bytes, Family::V4);
        let mut w = Writer::default();
        encode_rule(&mut w, &exprs, Family::V4);
        for (at, byte) in flip {
            if let Some(slot) = w.bytes.get_mut(at) {
                *slot = byte;
            }
        }
        prop_assert!(decode_rule(&w.bytes, Family::V4).is_none_or(|read| read.len() <= w.bytes.len()));
    }
}

#[test]
fn the_other_familys_reject_is_not_ours() {
    let mut w = Writer::default();
    encode_rule(&mut w, &[Expr::Reject(RejectWith::PortUnreachable)], Family::V6);
    assert_eq!(decode_rule(&w.bytes, Family::V4), None);
}

#[test]
fn registers_are_written_as_the_kernel_writes_them() {
    let mut w = Writer::default();
    let set = |word| Expr::MetaSet { key: MetaKey::Mark, sreg: Reg(word) };
    encode_rule(&mut w, &[set(4), set(5)], Family::V4);
    let text: Vec<u8> =
        b"\x24\0\x01\x80\x09\0\x01\0meta\0\0\0\0\x14\0\x02\x80\x08\0\x02\0\0\0\0\x03\x08\0\x03\0\0\0\0".to_vec();
    let expected = [&text[..], &[2], &text[..], &[13]].concat();
    assert_eq!(w.bytes, expected);
}
