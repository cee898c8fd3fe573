//! Sets, maps and their elements.

use std::collections::BTreeMap;

use super::value::{comment_suffix, data_text, is_host_order, key_text, selectors, split_fields, verdict_text};
use crate::compile::bytes::Bytes;
use crate::compile::ruleset::{DataType, Element, Field, SetDef, Value};

/// nft's word for the object: `set` or `map`.
pub fn set_keyword(def: &SetDef) -> &'static str {
    match def.data {
        DataType::None => "set",
        DataType::Verdict | DataType::Fields(_) => "map",
    }
}

/// The lines of the definition, without elements: type, size, flags, timeout.
pub fn definition_items(def: &SetDef) -> Vec<String> {
    let mut items = vec![type_text(def)];
    items.extend(def.size.map(|size| format!("size {size}")));
    items.extend(flags_text(def));
    items.extend(def.counted.then(|| "counter".to_owned()));
    items.extend(def.learned.map(|ms| format!("timeout {}", duration_text(ms))));
    items
}

/// One element as `nft add element` takes it: `10.96.0.1 . tcp . 80 comment "default/web:http" : goto KUBE-SVC-3`.
pub fn element_text(def: &SetDef, key: &Bytes, element: &Element) -> String {
    let until = match &element.value {
        Value::Until(end) => Some(end),
        _ => None,
    };
    let key = key_text(&def.key, key, until);
    let comment = comment_suffix(element.comment.as_deref());
    match (&element.value, &def.data) {
        (Value::Verdict(verdict), _) => format!("{key}{comment} : {}", verdict_text(verdict)),
        (Value::Data(data), DataType::Fields(fields)) => format!("{key}{comment} : {}", data_text(fields, data)),
        _ => format!("{key}{comment}"),
    }
}

/// All elements, one a line, each line indented and ended by a comma; slots and marks in the order of their numbers.
pub fn elements_text(def: &SetDef, elements: &BTreeMap<Bytes, Element>, indent: &str) -> String {
    let mut out = String::with_capacity(elements.len() * 64);
    for (key, element) in in_reading_order(def, elements) {
        out.push_str(indent);
        out.push_str(&element_text(def, key, element));
        out.push_str(",\n");
    }
    out
}

/// Keys order as bytes, which for numbers in host order is not the order of the numbers.
fn in_reading_order<'a>(def: &SetDef, elements: &'a BTreeMap<Bytes, Element>) -> Vec<(&'a Bytes, &'a Element)> {
    let mut all: Vec<_> = elements.iter().collect();
    if cfg!(target_endian = "little") && def.key.iter().any(|f| is_host_order(*f)) {
        all.sort_by_cached_key(|(key, _)| big_endian(&def.key, key));
    }
    all
}

fn big_endian(fields: &[Field], key: &Bytes) -> Vec<u8> {
    let Some(parts) = split_fields(fields, key) else { return key.as_slice().to_vec() };
    let mut out = Vec::with_capacity(key.len());
    for (field, part) in parts {
        match is_host_order(field) {
            true => out.extend(part.iter().rev()),
            false => out.extend(part),
        }
    }
    out
}

/// The fields by example: `numgen` has no type name of its own, and only so can they be told from each other when read back.
fn type_text(def: &SetDef) -> String {
    let key = selectors(&def.key);
    match &def.data {
        DataType::None => format!("typeof {key}"),
        DataType::Verdict => format!("typeof {key} : verdict"),
        DataType::Fields(fields) => format!("typeof {key} : {}", selectors(fields)),
    }
}

fn flags_text(def: &SetDef) -> Option<String> {
    let interval = def.interval.then_some("interval");
    let learned = def.learned.map(|_| "dynamic,timeout");
    let flags: Vec<&str> = interval.into_iter().chain(learned).collect();
    (!flags.is_empty()).then(|| format!("flags {}", flags.join(",")))
}

/// A time in ms as nft writes it: `3h`, `1m30s`, `1s500ms`.
fn duration_text(ms: u64) -> String {
    let units = [("d", ms / 86_400_000), ("h", ms / 3_600_000 % 24), ("m", ms / 60_000 % 60), ("s", ms / 1000 % 60)];
    let mut out: String = units.iter().filter(|(_, n)| *n > 0).map(|(unit, n)| format!("{n}{unit}")).collect();
    let rest = ms % 1000;
    if rest > 0 || out.is_empty() {
        out.push_str(&format!("{rest}ms"));
    }
    out
}
