//! Elements of sets and maps, there and back.

use std::collections::BTreeMap;

use super::attr::{Writer, attrs, by_kind, u32_of};
use super::{expr, field, set, userdata};
use crate::apply::target::Counted;
use crate::compile::bytes::Bytes;
use crate::compile::ruleset::{DataType, Element, Field, SetDef, Value};

/// `NFTA_SET_ELEM_LIST_SET`, `NFTA_SET_ELEM_LIST_ELEMENTS`.
pub(super) const LIST_SET: u16 = 2;
pub(super) const LIST_ELEMENTS: u16 = 3;

/// `NFTA_SET_ELEM_*`.
mod kind {
    pub(super) const KEY: u16 = 1;
    pub(super) const DATA: u16 = 2;
    pub(super) const FLAGS: u16 = 3;
    pub(super) const USERDATA: u16 = 6;
    pub(super) const EXPR: u16 = 7;
    pub(super) const KEY_END: u16 = 10;
}

/// `NFT_SET_ELEM_INTERVAL_END`: the key is the first one behind an interval.
const INTERVAL_END: u32 = 1;

/// Whether an element is written to be added (with its data and comment) or to be removed (by its key).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be added.
    Add,
    /// To be removed.
    Delete,
}

/// Writes one element; a range of a single field is two elements for the kernel.
pub(super) fn encode(w: &mut Writer, def: &SetDef, key: &Bytes, element: &Element, purpose: Purpose) {
    let after = match &element.value {
        Value::Until(end) if !set::has_ranges_of_fields(def) => Some(successor(field::to_kernel(&def.key, end))),
        _ => None,
    };
    let is_open = matches!(after, Some(None));
    w.nest(expr::LIST_ELEM, |w| {
        put_key(w, kind::KEY, field::to_kernel(&def.key, key));
        if let (Value::Until(end), None) = (&element.value, &after) {
            put_key(w, kind::KEY_END, field::to_kernel(&def.key, end));
        }
        if purpose == Purpose::Add {
            put_value(w, def, &element.value);
            put_userdata(w, element.comment.as_deref(), is_open);
        }
    });
    if let Some(Some(after)) = after {
        w.nest(expr::LIST_ELEM, |w| {
            put_key(w, kind::KEY, &after);
            w.put_u32(kind::FLAGS, INTERVAL_END);
        });
    }
}

fn put_key(w: &mut Writer, kind: u16, key: &[u8]) {
    w.nest(kind, |w| w.put(expr::DATA_VALUE, key));
}

fn put_value(w: &mut Writer, def: &SetDef, value: &Value) {
    match (value, &def.data) {
        (Value::Verdict(verdict), _) => w.nest(kind::DATA, |w| expr::encode_verdict(w, verdict)),
        (Value::Data(data), DataType::Fields(fields)) => put_key(w, kind::DATA, field::to_kernel(fields, data)),
        (Value::Data(data), _) => put_key(w, kind::DATA, data.as_slice()),
        (Value::Present | Value::Until(_), _) => {}
    }
}

fn put_userdata(w: &mut Writer, comment: Option<&str>, is_open: bool) {
    if comment.is_none() && !is_open {
        return;
    }
    w.put_with(kind::USERDATA, |out| {
        if let Some(comment) = comment {
            userdata::comment(out, comment);
        }
        if is_open {
            userdata::open_interval(out);
        }
    });
}

/// The next key; `None` after the last.
fn successor(key: &[u8]) -> Option<Vec<u8>> {
    let mut next = key.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return Some(next);
        }
    }
    None
}

/// The key before; `None` before the first.
fn predecessor(key: &[u8]) -> Option<Vec<u8>> {
    let mut before = key.to_vec();
    for byte in before.iter_mut().rev() {
        let (difference, borrow) = byte.overflowing_sub(1);
        *byte = difference;
        if !borrow {
            return Some(before);
        }
    }
    None
}

/// One element as the kernel has it.
struct Raw<'a> {
    key: &'a [u8],
    is_end: bool,
    attrs: [Option<&'a [u8]>; 11],
}

/// Collects the elements of one set from the messages of a dump.
pub(super) struct Reader<'a> {
    def: &'a SetDef,
    raw: Vec<Vec<u8>>,
}

impl<'a> Reader<'a> {
    /// For a set of this shape.
    pub(super) fn new(def: &'a SetDef) -> Reader<'a> {
        Reader { def, raw: Vec::new() }
    }

    /// Takes the list of one message.
    pub(super) fn list(&mut self, list: &[u8]) {
        self.raw.push(list.to_vec());
    }

    /// The elements; `None` if one is none that ferroproxy makes.
    pub(super) fn finish(self) -> Option<BTreeMap<Bytes, Element>> {
        let elements = self.raw.iter().flat_map(|list| attrs(list)).map(|(_, element)| read_raw(element));
        if self.def.interval && !set::has_ranges_of_fields(self.def) {
            return read_ranges(self.def, elements.collect::<Option<_>>()?);
        }
        elements.map(|raw| raw.and_then(|raw| read_single(self.def, &raw))).collect()
    }
}

fn read_raw(element: &[u8]) -> Option<Raw<'_>> {
    let attrs = by_kind::<11>(element);
    let [_, key] = by_kind::<2>(attrs[usize::from(kind::KEY)]?);
    let flags = u32_of(attrs[usize::from(kind::FLAGS)]).unwrap_or(0);
    Some(Raw { key: key?, is_end: flags & INTERVAL_END != 0, attrs })
}

fn read_single(def: &SetDef, raw: &Raw<'_>) -> Option<(Bytes, Element)> {
    let data = raw.attrs[usize::from(kind::DATA)].map(by_kind::<3>);
    let value = match (&def.data, data) {
        (DataType::None, _) if def.interval => {
            let [_, end] = by_kind::<2>(raw.attrs[usize::from(kind::KEY_END)]?);
            Value::Until(field::from_kernel(&def.key, end?)?)
        }
        (DataType::None, _) => Value::Present,
        (DataType::Verdict, Some([_, _, verdict])) => Value::Verdict(expr::decode_verdict(verdict?)?),
        (DataType::Fields(fields), Some([_, value, _])) => Value::Data(field::from_kernel(fields, value?)?),
        (_, None) => return None,
    };
    Some((field::from_kernel(&def.key, raw.key)?, Element { value, comment: read_comment(raw) }))
}

/// What the elements of a list with this key have counted; those that do not count, or have no comment, are left out.
pub(super) fn counted(key: &[Field], list: &[u8]) -> Vec<Counted> {
    let read = |element| {
        let raw = read_raw(element)?;
        let packets = expr::decode_counter(raw.attrs[usize::from(kind::EXPR)]?)?;
        Some(Counted { key: field::from_kernel(key, raw.key)?, comment: read_comment(&raw)?, packets })
    };
    attrs(list).filter_map(|(_, element)| read(element)).collect()
}

/// Pairs starts with ends. An end without a start is what nft puts before the first range.
fn read_ranges(def: &SetDef, mut raw: Vec<Raw<'_>>) -> Option<BTreeMap<Bytes, Element>> {
    raw.sort_by_key(|raw| (raw.key, !raw.is_end));
    let mut out = BTreeMap::new();
    let mut rest = raw.iter().peekable();
    while let Some(start) = rest.next() {
        if start.is_end {
            continue;
        }
        let end = match rest.peek() {
            Some(next) => predecessor(next.key)?,
            None => vec![0xff; start.key.len()],
        };
        let value = Value::Until(field::from_kernel(&def.key, &end)?);
        out.insert(field::from_kernel(&def.key, start.key)?, Element { value, comment: read_comment(start) });
    }
    Some(out)
}

fn read_comment(raw: &Raw<'_>) -> Option<std::sync::Arc<str>> {
    userdata::read_comment(raw.attrs[usize::from(kind::USERDATA)]?).map(Into::into)
}

/// The key of an element as it was sent.
pub(super) fn read_key(def: &SetDef, element: &[u8]) -> Option<Bytes> {
    field::from_kernel(&def.key, read_raw(element)?.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::ruleset::Field;
    use crate::model::Family;

    fn cidrs() -> SetDef {
        let key = vec![Field::Daddr(Family::V4)];
        SetDef { key, data: DataType::None, interval: true, size: None, learned: None, counted: false }
    }

    fn ip(text: &str) -> Bytes {
        Bytes::new().addr(text.parse().unwrap())
    }

    fn range(end: &str, comment: Option<&str>) -> Element {
        Element { value: Value::Until(ip(end)), comment: comment.map(Into::into) }
    }

    fn there_and_back(def: &SetDef, elements: &BTreeMap<Bytes, Element>) -> Option<BTreeMap<Bytes, Element>> {
        let mut w = Writer::default();
        elements.iter().for_each(|(key, element)| encode(&mut w, def, key, element, Purpose::Add));
        let mut reader = Reader::new(def);
        reader.list(&w.bytes);
        reader.finish()
    }

    #[test]
    fn ranges_are_read_as_written_touching_and_open_ones_too() {
        let elements = BTreeMap::from([
            (ip("0.0.0.0"), range("0.0.0.255", None)),
            (ip("10.96.0.0"), range("10.111.255.255", Some("first"))),
            (ip("10.112.0.0"), range("10.127.255.255", Some("touches it"))),
            (ip("255.255.255.0"), range("255.255.255.255", Some("open"))),
        ]);
        assert_eq!(there_and_back(&cidrs(), &elements), Some(elements));
    }

    #[test]
    fn a_range_ends_with_the_address_behind_it() {
        let mut w = Writer::default();
        encode(&mut w, &cidrs(), &ip("10.0.0.0"), &range("10.0.0.255", None), Purpose::Delete);
        let keys: Vec<_> =
            attrs(&w.bytes).map(|(_, e)| read_raw(e).map(|r| (r.key.to_vec(), r.is_end)).unwrap()).collect();
        assert_eq!(keys, [(vec![10, 0, 0, 0], false), (vec![10, 0, 1, 0], true)]);
    }

    #[test]
    fn maps_and_sets_of_every_value_are_read_as_written() {
        use crate::compile::ruleset::Verdict::*;
        let key = vec![Field::Dport];
        let port = |n| Bytes::new().port(n);
        for (data, values) in [
            (DataType::None, vec![Value::Present]),
            (DataType::Verdict, vec![Value::Verdict(Drop), Value::Verdict(Goto("a/b".into())), Value::Verdict(Return)]),
            (DataType::Fields(vec![Field::Sport]), vec![Value::Data(port(7))]),
        ] {
            let def = SetDef { key: key.clone(), data, interval: false, size: Some(8), learned: None, counted: false };
            let element = |value| Element { value, comment: Some("a comment".into()) };
            let elements = values.into_iter().enumerate().map(|(n, v)| (port(n as u16), element(v))).collect();
            assert_eq!(there_and_back(&def, &elements), Some(elements));
        }
    }
}
