//! Sets and maps as they were read: keys and data are bytes.

use std::collections::BTreeMap;

use super::expr::{self, Verdict};
use crate::netlink::attr::{attrs, by_kind, str_of, u32_of};

/// `NFT_SET_INTERVAL`, `NFT_SET_TIMEOUT`, `NFT_SET_EVAL`, `NFT_SET_CONCAT`.
const INTERVAL: u32 = 0x4;
const TIMEOUT: u32 = 0x10;
const LEARNED: u32 = 0x20;
const CONCAT: u32 = 0x80;

/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;

/// A set or map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    /// Bytes of a key.
    pub(super) key_len: usize,
    /// Keys are starts and ends of ranges.
    pub(super) is_interval: bool,
    /// Ranges in several fields, which are not read.
    pub(super) is_unread: bool,
    /// Its elements come from packets: they say nothing about the rules.
    pub(super) is_learned: bool,
    /// Milliseconds an element stays, if there is a limit.
    pub(super) timeout: Option<u64>,
    /// Elements by key.
    pub(super) elements: BTreeMap<Vec<u8>, Element>,
}

/// One element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// What it carries.
    pub(super) value: Value,
    /// The first key behind a range, not in it.
    pub(super) is_end: bool,
    /// The comment, if it has one.
    pub(super) comment: Option<String>,
}

/// What a key maps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Present,
    Data(Vec<u8>),
    Verdict(Verdict),
}

impl Set {
    /// A set's name and shape from the attributes of `NFT_MSG_NEWSET`.
    pub(super) fn decode(body: &[u8]) -> Option<(String, Set)> {
        let at = by_kind::<14>(body);
        let flags = u32_of(at[3]).unwrap_or(0);
        let set = Set {
            key_len: u32_of(at[5])? as usize,
            is_interval: flags & INTERVAL != 0,
            is_unread: flags & CONCAT != 0,
            is_learned: flags & (TIMEOUT | LEARNED) != 0,
            timeout: crate::netlink::attr::u64_of(at[11]),
            elements: BTreeMap::new(),
        };
        Some((str_of(at[2])?.to_owned(), set))
    }

    /// Takes the elements of one message, from inside `NFTA_SET_ELEM_LIST_ELEMENTS`.
    pub(super) fn take(&mut self, list: &[u8]) {
        self.elements.extend(attrs(list).filter_map(|(_, element)| decode(element)));
    }

    /// What a key maps to.
    pub(super) fn find(&self, key: &[u8]) -> Option<&Value> {
        let element = match self.is_interval {
            true => self.elements.range(..=key.to_vec()).next_back().map(|(_, element)| element),
            false => self.elements.get(key),
        };
        element.filter(|element| !element.is_end && !self.is_learned).map(|element| &element.value)
    }

    /// The first key of each range.
    pub(super) fn starts(&self) -> impl Iterator<Item = &[u8]> {
        self.elements.iter().filter(|(_, element)| !element.is_end).map(|(key, _)| key.as_slice())
    }
}

fn decode(element: &[u8]) -> Option<(Vec<u8>, Element)> {
    let at = by_kind::<11>(element);
    let value = match at[2].map(by_kind::<3>) {
        None => Value::Present,
        Some([_, Some(data), _]) => Value::Data(data.to_vec()),
        Some([_, _, Some(verdict)]) => Value::Verdict(expr::verdict(verdict)?),
        Some(_) => return None,
    };
    let is_end = u32_of(at[3]).unwrap_or(0) & INTERVAL_END != 0;
    Some((expr::value(at[1])?, Element { value, is_end, comment: at[6].and_then(comment) }))
}

/// The comment in nft's userdata: kind, length and value, one byte each for the first two.
fn comment(mut userdata: &[u8]) -> Option<String> {
    while let [kind, len, rest @ ..] = userdata {
        let value = rest.get(..usize::from(*len))?;
        if *kind == 0 {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return std::str::from_utf8(text).ok().map(str::to_owned);
        }
        userdata = &rest[value.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(is_end: bool) -> Element {
        Element { value: Value::Present, is_end, comment: None }
    }

    #[test]
    fn a_range_ends_before_its_end() {
        let elements = [(vec![10, 0], present(false)), (vec![10, 5], present(true))].into();
        let set = Set { key_len: 2, is_interval: true, elements, ..Set::default() };
        let holds = |key: [u8; 2]| set.find(&key).is_some();
        assert_eq!([[9, 9], [10, 0], [10, 4], [10, 5], [11, 0]].map(holds), [false, true, true, false, false]);
        assert_eq!(set.starts().collect::<Vec<_>>(), [[10, 0]]);
    }

    #[test]
    fn what_packets_taught_a_set_is_not_asked() {
        let elements = [(vec![1], present(false))].into();
        assert_eq!(Set { key_len: 1, is_learned: true, elements, ..Set::default() }.find(&[1]), None);
    }

    #[test]
    fn comments_stand_among_other_userdata() {
        assert_eq!(comment(b"\x01\x02ab\x00\x04web\0"), Some("web".to_owned()));
        assert_eq!(comment(b"\x01\x09ab"), None);
    }
}
