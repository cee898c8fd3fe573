//! What nft keeps beside objects in the kernel and prints: comments, and of sets the expressions their keys are made of (`typeof`).
//! Type, length, value, each one byte but the value; numbers in host order (libnftnl's `udata.h`; nft's `*_udata` functions).

use super::field::{ByteOrder, byte_order};
use crate::compile::ruleset::{COMMENT_MAX, DataType, Field, SetDef};
use crate::model::Family;

/// `NFTNL_UDATA_RULE_COMMENT` and `NFTNL_UDATA_SET_ELEM_COMMENT`.
const COMMENT: u8 = 0;
/// `NFTNL_UDATA_SET_ELEM_FLAGS`.
const ELEMENT_FLAGS: u8 = 1;
/// nft's `SET_ELEM_F_INTERVAL_OPEN`: the interval reaches to the end and has no end element.
const INTERVAL_OPEN: u32 = 1;

/// `NFTNL_UDATA_SET_*`.
mod set {
    pub(super) const KEY_BYTE_ORDER: u8 = 0;
    pub(super) const DATA_BYTE_ORDER: u8 = 1;
    pub(super) const KEY_TYPEOF: u8 = 3;
    pub(super) const DATA_TYPEOF: u8 = 4;
    pub(super) const DATA_INTERVAL: u8 = 6;
}

/// `NFTNL_UDATA_SET_TYPEOF_EXPR` and `NFTNL_UDATA_SET_TYPEOF_DATA`.
const TYPEOF_EXPR: u8 = 0;
const TYPEOF_DATA: u8 = 1;

/// nft's `EXPR_*` numbers.
mod expr {
    pub(super) const VERDICT: u32 = 1;
    pub(super) const PAYLOAD: u32 = 7;
    pub(super) const META: u32 = 9;
    pub(super) const CONCAT: u32 = 13;
    pub(super) const NUMGEN: u32 = 23;
}

/// nft's protocol description numbers (`PROTO_DESC_*`).
mod proto {
    pub(super) const TRANSPORT: u32 = 11;
    pub(super) const IP: u32 = 12;
    pub(super) const IP6: u32 = 13;
}

/// `NFT_META_PRIORITY`, `NFT_META_MARK`, `NFT_META_L4PROTO`, `NFT_NG_RANDOM`.
const META_PRIORITY: u32 = 2;
const META_MARK: u32 = 3;
const META_L4PROTO: u32 = 16;
const RANDOM: u32 = 1;

/// A rule's or element's comment; longer ones are cut, for nft does not read them.
pub(super) fn comment(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(COMMENT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&[COMMENT, (end + 1) as u8]);
    out.extend_from_slice(&text.as_bytes()[..end]);
    out.push(0);
}

/// Marks an interval without an end element.
pub(super) fn open_interval(out: &mut Vec<u8>) {
    number(out, ELEMENT_FLAGS, INTERVAL_OPEN);
}

/// The comment in a rule's or element's userdata.
pub(super) fn read_comment(bytes: &[u8]) -> Option<&str> {
    let text = find(bytes, COMMENT)?;
    std::str::from_utf8(text.strip_suffix(&[0]).unwrap_or(text)).ok()
}

/// The userdata of a set: nft prints `typeof` and the fields by it.
pub(super) fn of_set(def: &SetDef) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    number(&mut out, set::KEY_BYTE_ORDER, byte_order(&def.key) as u32);
    let data_order = match &def.data {
        DataType::None => None,
        DataType::Verdict => Some(ByteOrder::None),
        DataType::Fields(fields) => Some(byte_order(fields)),
    };
    if let Some(order) = data_order {
        number(&mut out, set::DATA_BYTE_ORDER, order as u32);
    }
    nest(&mut out, set::KEY_TYPEOF, |out| type_of(out, &def.key));
    match &def.data {
        DataType::None => return out,
        DataType::Verdict => nest(&mut out, set::DATA_TYPEOF, |out| typed(out, expr::VERDICT, |_| ())),
        DataType::Fields(fields) => nest(&mut out, set::DATA_TYPEOF, |out| type_of(out, fields)),
    }
    number(&mut out, set::DATA_INTERVAL, 0);
    out
}

/// The key's fields and the data a set's userdata tells of. `None` when it says `type` or tells of fields ferroproxy does not use.
pub(super) fn read_set(bytes: &[u8]) -> Option<(Vec<Field>, DataType)> {
    let key = read_type_of(find(bytes, set::KEY_TYPEOF)?)?;
    let data = match find(bytes, set::DATA_TYPEOF) {
        None => DataType::None,
        Some(data) if find_number(data, TYPEOF_EXPR)? == expr::VERDICT => DataType::Verdict,
        Some(data) => DataType::Fields(read_type_of(data)?),
    };
    Some((key, data))
}

fn type_of(out: &mut Vec<u8>, fields: &[Field]) {
    if let [field] = fields {
        return field_type(out, *field);
    }
    typed(out, expr::CONCAT, |out| {
        for (place, field) in fields.iter().enumerate() {
            nest(out, place as u8, |out| field_type(out, *field));
        }
    });
}

fn field_type(out: &mut Vec<u8>, field: Field) {
    let (kind, numbers): (u32, &[u32]) = match field {
        Field::Saddr(Family::V4) => (expr::PAYLOAD, &[proto::IP, 11]),
        Field::Daddr(Family::V4) => (expr::PAYLOAD, &[proto::IP, 12]),
        Field::Saddr(Family::V6) => (expr::PAYLOAD, &[proto::IP6, 8]),
        Field::Daddr(Family::V6) => (expr::PAYLOAD, &[proto::IP6, 9]),
        Field::Sport => (expr::PAYLOAD, &[proto::TRANSPORT, 1]),
        Field::Dport => (expr::PAYLOAD, &[proto::TRANSPORT, 2]),
        Field::L4Proto => (expr::META, &[META_L4PROTO]),
        Field::Mark => (expr::META, &[META_MARK]),
        Field::Priority | Field::PriorityBits(_) => (expr::META, &[META_PRIORITY]),
        Field::Random(modulus) => (expr::NUMGEN, &[RANDOM, modulus, 0]),
    };
    typed(out, kind, |out| {
        for (place, value) in numbers.iter().enumerate() {
            number(out, place as u8, *value);
        }
    });
}

fn read_type_of(bytes: &[u8]) -> Option<Vec<Field>> {
    if find_number(bytes, TYPEOF_EXPR)? != expr::CONCAT {
        return Some(vec![read_field(bytes)?]);
    }
    let fields: Vec<Field> =
        entries(find(bytes, TYPEOF_DATA)?).map(|(_, field)| read_field(field)).collect::<Option<_>>()?;
    (!fields.is_empty()).then_some(fields)
}

fn read_field(bytes: &[u8]) -> Option<Field> {
    let data = find(bytes, TYPEOF_DATA)?;
    let at = |place| find_number(data, place);
    match (find_number(bytes, TYPEOF_EXPR)?, at(0)?) {
        (expr::PAYLOAD, header) => payload_field(header, at(1)?),
        (expr::META, META_L4PROTO) => Some(Field::L4Proto),
        (expr::META, META_MARK) => Some(Field::Mark),
        (expr::META, META_PRIORITY) => Some(Field::Priority),
        (expr::NUMGEN, RANDOM) if at(2) == Some(0) => Some(Field::Random(at(1)?)),
        _ => None,
    }
}

fn payload_field(header: u32, place: u32) -> Option<Field> {
    Some(match (header, place) {
        (proto::IP, 11) => Field::Saddr(Family::V4),
        (proto::IP, 12) => Field::Daddr(Family::V4),
        (proto::IP6, 8) => Field::Saddr(Family::V6),
        (proto::IP6, 9) => Field::Daddr(Family::V6),
        (proto::TRANSPORT, 1) => Field::Sport,
        (proto::TRANSPORT, 2) => Field::Dport,
        _ => return None,
    })
}

fn typed(out: &mut Vec<u8>, kind: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    number(out, TYPEOF_EXPR, kind);
    nest(out, TYPEOF_DATA, fill);
}

fn number(out: &mut Vec<u8>, kind: u8, value: u32) {
    out.extend_from_slice(&[kind, 4]);
    out.extend_from_slice(&value.to_ne_bytes());
}

fn nest(out: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[kind, 0]);
    fill(out);
    out[start + 1] = (out.len() - start - 2) as u8;
}

fn entries(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, len) = (*bytes.first()?, usize::from(*bytes.get(1)?));
        let value = bytes.get(2..2 + len)?;
        bytes = &bytes[2 + len..];
        Some((kind, value))
    })
}

fn find(bytes: &[u8], kind: u8) -> Option<&[u8]> {
    entries(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

fn find_number(bytes: &[u8], kind: u8) -> Option<u32> {
    Some(u32::from_ne_bytes(find(bytes, kind)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_def(key: &[Field], data: DataType) -> SetDef {
        SetDef { key: key.to_vec(), data, interval: false, size: None, learned: None, counted: false }
    }

    /// Bytes dumped from a map that nft 1.0.6 made on a little-endian machine.
    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn an_endpoint_map_has_the_bytes_nft_writes() {
        use Field::*;
        let v4 = DataType::Fields(vec![Daddr(Family::V4), Dport]);
        let def = set_def(&[Daddr(Family::V4), L4Proto, Dport, Random(16)], v4.clone());
        let bytes = hex(
            "000400000000010400000000036000040d00000001580014000407000000010c00040c00000001040c000000010e000409000000010600041000000002\
             14000407000000010c00040b000000010402000000031a0004170000000112000401000000010410000000020400000000043400040d00000001\
             2c0014000407000000010c00040c00000001040c0000000114000407000000010c00040b000000010402000000060400000000",
        );
        assert_eq!(of_set(&def), bytes);
        assert_eq!(read_set(&bytes), Some((def.key, v4)));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn sets_and_verdict_maps_have_the_bytes_nft_writes() {
        use Field::*;
        let active = set_def(&[Daddr(Family::V4)], DataType::None);
        assert_eq!(of_set(&active), hex("0004020000000314000407000000010c00040c00000001040c000000"));
        let services = set_def(&[Daddr(Family::V4), L4Proto, Dport], DataType::Verdict);
        let bytes = hex(
            "000400000000010400000000034400040d000000013c0014000407000000010c00040c00000001040c000000010e000409000000010600\
             04100000000214000407000000010c00040b00000001040200000004080004010000000100060400000000",
        );
        assert_eq!(of_set(&services), bytes);
    }

    #[test]
    fn every_field_is_read_as_written() {
        use Field::*;
        let all = [Family::V4, Family::V6].into_iter().flat_map(|f| [Saddr(f), Daddr(f)]);
        for field in all.chain([L4Proto, Sport, Dport, Mark, Random(7)]) {
            for data in [DataType::None, DataType::Verdict, DataType::Fields(vec![field])] {
                let (one, two) = (set_def(&[field], data.clone()), set_def(&[L4Proto, field], data.clone()));
                assert_eq!(read_set(&of_set(&one)), Some((one.key, data.clone())));
                assert_eq!(read_set(&of_set(&two)), Some((two.key, data)));
            }
        }
    }

    #[test]
    fn the_longest_key_stays_below_the_kernels_256_bytes() {
        use Field::*;
        let v6 = Family::V6;
        let key = [Saddr(v6), Daddr(v6), L4Proto, Dport, Random(u32::MAX)];
        let def = set_def(&key, DataType::Fields(vec![Daddr(v6), Dport]));
        assert!(of_set(&def).len() <= 256);
        assert_eq!(read_set(&of_set(&def)).unwrap().0, key);
    }

    #[test]
    fn a_set_declared_by_type_tells_no_fields() {
        assert_eq!(read_set(&hex("0004000000000308 00040d0000000100".replace(' ', "").as_str())), None);
    }

    #[test]
    fn comments_are_read_as_written_and_cut_at_a_character() {
        let written = |text: &str| {
            let mut out = Vec::new();
            comment(&mut out, text);
            out
        };
        assert_eq!(written("hi"), b"\0\x03hi\0");
        assert_eq!(read_comment(&written("default/web:http")), Some("default/web:http"));
        let long = "ä".repeat(100);
        assert_eq!(read_comment(&written(&long)), Some(&long[..126]));
    }
}
