//! The query of a request, and its selectors.

use std::collections::BTreeMap;

use serde_json::Value;

/// A query, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Query(pairs.map(|(key, value)| (decode(key), decode(value))).collect())
    }

    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    pub(crate) fn is(&self, key: &str) -> bool {
        self.get(key) == "true"
    }

    /// Whether an object is one of those asked for.
    pub(crate) fn selects(&self, object: &Value) -> bool {
        let labels = |key: &str| object["metadata"]["labels"].get(key).cloned();
        let fields = |path: &str| path.split('.').try_fold(object, |at, key| at.get(key)).cloned();
        fits(self.get("labelSelector"), labels) && fits(self.get("fieldSelector"), fields)
    }
}

fn fits(selector: &str, value_of: impl Fn(&str) -> Option<Value>) -> bool {
    selector.split(',').filter(|term| !term.is_empty()).all(|term| {
        let says =
            |key: &str, wanted: &str| value_of(key).and_then(|v| v.as_str().map(|v| v == wanted)).unwrap_or(false);
        match (term.strip_prefix('!'), term.split_once("!="), term.split_once('=')) {
            (Some(absent), _, _) => value_of(absent).is_none(),
            (None, Some((key, value)), _) => !says(key, value),
            (None, None, Some((key, value))) => says(key, value),
            (None, None, None) => value_of(term).is_some(),
        }
    })
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let code = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(code.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
