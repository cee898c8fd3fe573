//! Messages by hand. That whole objects are read as Kubernetes writes them is tested against generated types and real servers.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Thing {
    text: Option<String>,
    number: Option<i64>,
    flag: Option<bool>,
    many: Vec<String>,
    words: BTreeMap<String, String>,
    at: Option<String>,
    inner: Option<Box<Thing>>,
}

static THING: Shape = Shape(&[
    one(1, "text", Form::Text),
    one(2, "number", Form::Number),
    one(3, "flag", Form::Flag),
    many(4, "many", Form::Text),
    one(5, "words", Form::Words),
    one(6, "at", Form::Time),
    one(7, "inner", Form::Object(&THING)),
]);

fn thing(message: &[u8]) -> Result<Thing, Malformed> {
    read(&THING, message)
}

/// Field 4, repeated: one short text.
fn item(text: &str) -> Vec<u8> {
    [&[0x22, text.len() as u8], text.as_bytes()].concat()
}

#[test]
fn every_form_is_read() {
    let mut message = b"\x0a\x02hi\x10\x96\x01\x18\x00".to_vec();
    message.extend(b"\x2a\x06\x0a\x01k\x12\x01v\x2a\x03\x0a\x01e\x32\x02\x08\x01\x3a\x02\x18\x01");
    let words = [("k".to_owned(), "v".to_owned()), ("e".to_owned(), String::new())].into();
    let inner = Thing { flag: Some(true), ..Thing::default() };
    let expected = Thing {
        text: Some("hi".into()),
        number: Some(150),
        flag: Some(false),
        words,
        at: Some("1970-01-01T00:00:01Z".into()),
        inner: Some(Box::new(inner)),
        ..Thing::default()
    };
    assert_eq!(thing(&message).unwrap(), expected);
}

#[test]
fn a_negative_number_takes_ten_bytes() {
    let message = b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    assert_eq!(thing(message).unwrap().number, Some(-1));
}

#[test]
fn what_go_writes_though_it_is_empty_is_absent() {
    assert_eq!(thing(b"\x0a\x00\x10\x00\x32\x00").unwrap(), Thing::default());
}

#[test]
fn a_list_may_be_scattered_and_fields_unknown() {
    // Field 9 in each of the four ways a field can be written.
    let strange: &[u8] = b"\x48\x07\x4a\x03abc\x49\x00\x00\x00\x00\x00\x00\x00\x00\x4d\x00\x00\x00\x00";
    let message = [strange, &item("a"), b"\x0a\x01t", &item(""), strange, &item("c")].concat();
    let read = thing(&message).unwrap();
    assert_eq!((read.text.as_deref(), read.many), (Some("t"), vec!["a".to_owned(), String::new(), "c".to_owned()]));
}

#[test]
fn of_a_field_that_stands_twice_the_first_counts() {
    assert_eq!(thing(b"\x0a\x01a\x0a\x01b").unwrap().text.as_deref(), Some("a"));
}

#[test]
fn text_that_is_no_utf_8_is_mended_as_in_json() {
    assert_eq!(thing(b"\x0a\x02a\xff").unwrap().text.as_deref(), Some("a\u{fffd}"));
}

#[test]
fn what_is_cut_or_of_another_kind_is_refused() {
    for message in
        [&b"\x0a\x05ab"[..], b"\x10", b"\x0a", b"\x0b\x0c", b"\x08\x01", b"\x12\x01a", b"\x00\x01", b"\x3a\x02\x0a\x05"]
    {
        assert!(thing(message).is_err(), "{message:?}");
    }
}

#[test]
fn an_object_begins_with_the_magic_words() {
    assert_eq!(object(b"k8s\0\x12\x02ab").unwrap(), b"ab");
    assert!(object(b"{\"kind\":\"Service\"}").is_err());
    assert!(Envelope::open(b"\x0a\x05ADDED\x12\x04\x0a\x02{}").is_err());
}

#[test]
fn a_watch_event_is_opened() {
    let event = Envelope::open(b"\x0a\x05ADDED\x12\x0a\x0a\x08k8s\0\x12\x02ab").unwrap();
    assert_eq!((event.kind, event.object), ("ADDED", &b"ab"[..]));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
        let _ = thing(&bytes);
        let _ = Envelope::open(&bytes).map(|event| event.object.len());
        let _ = Listing::open(&bytes).map(|list| list.items.len());
    }

    #[test]
    fn texts_come_back(texts in prop::collection::vec("[a-z]{0,20}", 0..10)) {
        let message: Vec<u8> = texts.iter().flat_map(|text| item(text)).collect();
        prop_assert_eq!(thing(&message).unwrap().many, texts);
    }
}
