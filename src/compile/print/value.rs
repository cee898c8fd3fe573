//! Addresses, ports, slots, verdicts and comments as text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::compile::bytes::Bytes;
use crate::compile::ruleset::{COMMENT_MAX, Field, Verdict};
use crate::model::Protocol;

/// A key or data of these fields: `10.96.0.1 . tcp . 80`. Bytes that do not fit the fields print as one hexadecimal number.
pub fn data_text(fields: &[Field], bytes: &Bytes) -> String {
    join(fields, bytes, field_text)
}

/// A key of a set: [`data_text`], or with an inclusive end, field by field a network, a range or a single value.
pub fn key_text(fields: &[Field], key: &Bytes, until: Option<&Bytes>) -> String {
    let Some(end) = until else { return data_text(fields, key) };
    let Some(ends) = split_fields(fields, end) else { return data_text(fields, key) };
    let mut ends = ends.into_iter();
    join(fields, key, |field, low| match ends.next() {
        Some((_, high)) => range_text(field, low, high),
        None => field_text(field, low),
    })
}

/// `goto KUBE-SVC-3`, `drop` and so on.
pub fn verdict_text(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accept => "accept".into(),
        Verdict::Drop => "drop".into(),
        Verdict::Return => "return".into(),
        Verdict::Jump(chain) => format!("jump {chain}"),
        Verdict::Goto(chain) => format!("goto {chain}"),
    }
}

/// A comment nft can read back: no double quotes (nft has no escape for them), no control characters, at most
/// [`COMMENT_MAX`] bytes.
pub fn clean_comment(comment: &str) -> String {
    let mut out = String::with_capacity(comment.len().min(COMMENT_MAX));
    for c in comment.chars() {
        let c = match c {
            '"' => '\'',
            c if c.is_control() => ' ',
            c => c,
        };
        if out.len() + c.len_utf8() > COMMENT_MAX {
            break;
        }
        out.push(c);
    }
    out
}

/// ` comment "..."`, or nothing when there is nothing to say.
pub(super) fn comment_suffix(comment: Option<&str>) -> String {
    match comment.map(clean_comment) {
        Some(text) if !text.is_empty() => format!(" comment \"{text}\""),
        _ => String::new(),
    }
}

/// How many 32-bit registers a field fills.
pub(crate) fn field_words(field: Field) -> usize {
    match field {
        Field::Saddr(family) | Field::Daddr(family) => family.addr_len() / 4,
        _ => 1,
    }
}

/// The bytes of each field, padding included; `None` when the length is not that of the fields.
pub(crate) fn split_fields<'a>(fields: &[Field], bytes: &'a Bytes) -> Option<Vec<(Field, &'a [u8])>> {
    let mut rest = bytes.as_slice();
    let mut parts = Vec::with_capacity(fields.len());
    for &field in fields {
        let (part, tail) = rest.split_at_checked(4 * field_words(field))?;
        parts.push((field, part));
        rest = tail;
    }
    rest.is_empty().then_some(parts)
}

/// Whether a register holds the field as a host-order number.
pub(super) fn is_host_order(field: Field) -> bool {
    matches!(field, Field::Random(_) | Field::Mark | Field::Priority | Field::PriorityBits(_))
}

/// What nft writes to select the field: `ip daddr`, `th dport`.
pub(super) fn selector(field: Field) -> String {
    match field {
        Field::Saddr(family) => format!("{} saddr", family.nft()),
        Field::Daddr(family) => format!("{} daddr", family.nft()),
        Field::L4Proto => "meta l4proto".into(),
        Field::Sport => "th sport".into(),
        Field::Dport => "th dport".into(),
        Field::Random(modulus) => format!("numgen random mod {modulus}"),
        Field::Mark => "meta mark".into(),
        Field::Priority => "meta priority".into(),
        Field::PriorityBits(bits) => format!("meta priority & {}", priority_text(bits)),
    }
}

/// `ip daddr . meta l4proto . th dport`
pub(super) fn selectors(fields: &[Field]) -> String {
    fields.iter().map(|f| selector(*f)).collect::<Vec<_>>().join(" . ")
}

/// The name of a protocol we balance; a number otherwise (nft reads both).
pub(super) fn protocol_text(number: u8) -> String {
    Protocol::from_number(number).map_or_else(|| number.to_string(), |p| p.to_string())
}

/// A mark as nft writes it.
pub(super) fn mark_text(mark: u32) -> String {
    format!("{mark:#010x}")
}

/// A priority as nft writes it: the two halves of a traffic class, in hexadecimal digits.
pub(super) fn priority_text(priority: u32) -> String {
    match priority {
        0 => "none".into(),
        u32::MAX => "root".into(),
        _ => format!("{:x}:{:x}", priority >> 16, priority & 0xffff),
    }
}

fn join(fields: &[Field], bytes: &Bytes, mut text: impl FnMut(Field, &[u8]) -> String) -> String {
    match split_fields(fields, bytes) {
        Some(parts) => parts.into_iter().map(|(f, part)| text(f, part)).collect::<Vec<_>>().join(" . "),
        None => bytes.as_slice().iter().fold("0x".to_string(), |out, byte| format!("{out}{byte:02x}")),
    }
}

fn field_text(field: Field, part: &[u8]) -> String {
    match field {
        Field::Saddr(_) | Field::Daddr(_) => addr(part).map_or_else(String::new, |ip| ip.to_string()),
        Field::L4Proto => protocol_text(part[0]),
        Field::Sport | Field::Dport => u16::from_be_bytes([part[0], part[1]]).to_string(),
        Field::Random(_) => host_number(part).to_string(),
        Field::Mark => mark_text(host_number(part)),
        Field::Priority | Field::PriorityBits(_) => priority_text(host_number(part)),
    }
}

fn range_text(field: Field, low: &[u8], high: &[u8]) -> String {
    if low == high {
        return field_text(field, low);
    }
    if let Some(length) = prefix_length(field, low, high) {
        return format!("{}/{length}", field_text(field, low));
    }
    match field {
        // Names do not make a range that reads as one.
        Field::L4Proto => format!("{}-{}", low[0], high[0]),
        _ => format!("{}-{}", field_text(field, low), field_text(field, high)),
    }
}

/// The prefix length, when the range is exactly a network.
fn prefix_length(field: Field, low: &[u8], high: &[u8]) -> Option<u32> {
    if !matches!(field, Field::Saddr(_) | Field::Daddr(_)) {
        return None;
    }
    let number = |part: &[u8]| part.iter().fold(0u128, |n, byte| n << 8 | u128::from(*byte));
    let (low, hosts) = (number(low), number(low) ^ number(high));
    let host_bits = 128 - hosts.leading_zeros();
    let is_network = hosts & hosts.wrapping_add(1) == 0 && low & hosts == 0;
    is_network.then(|| field_words(field) as u32 * 32 - host_bits)
}

fn addr(part: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(part).map(|octets| Ipv4Addr::from(octets).into());
    v4.or_else(|_| <[u8; 16]>::try_from(part).map(|octets| Ipv6Addr::from(octets).into())).ok()
}

fn host_number(part: &[u8]) -> u32 {
    part.try_into().map_or(0, u32::from_ne_bytes)
}
