//! A field that may be wrong without costing its surroundings.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// A value that was absent (or `null`), good, or of the wrong form.
///
/// serde ends the whole list at the first field of a wrong type. This wrapper keeps the complaint instead and reads past
/// the value. It works when every field of a wrapped struct, and every item of a wrapped list, is lenient itself: an inner
/// error could otherwise leave the parser in the middle of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lenient<T> {
    /// Not given, or `null`.
    #[default]
    Absent,
    /// Given and understood.
    Good(T),
    /// Given and not understood: the complaint.
    Bad(Box<str>),
}

impl<T> Lenient<T> {
    fn of<E: fmt::Display>(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Lenient::Good(value),
            Err(error) => Lenient::Bad(error.to_string().into_boxed_str()),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LenientVisitor(PhantomData))
    }
}

struct LenientVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for LenientVisitor<T> {
    type Value = Lenient<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Lenient::Absent)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Lenient::Absent)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Lenient::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Lenient::of(T::deserialize(IntoDeserializer::<E>::into_deserializer(value))))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Lenient::of(T::deserialize(IntoDeserializer::<E>::into_deserializer(value))))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Lenient::of(T::deserialize(IntoDeserializer::<E>::into_deserializer(value))))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Lenient::of(T::deserialize(IntoDeserializer::<E>::into_deserializer(value))))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Lenient::of(T::deserialize(IntoDeserializer::<E>::into_deserializer(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let result = T::deserialize(List(&mut seq));
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Lenient::of(result))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let result = T::deserialize(MapAccessDeserializer::new(&mut map));
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Lenient::of(result))
    }
}

/// A list, and only a list: serde would read a struct from one by position.
struct List<'a, A>(&'a mut A);

impl<'de, A: SeqAccess<'de>> Deserializer<'de> for List<'_, A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_seq(self.0)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, A::Error> {
        Err(A::Error::custom("invalid type: sequence, expected a map"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Thing {
        number: Lenient<i64>,
        list: Lenient<Vec<Lenient<String>>>,
        inner: Lenient<Box<Thing>>,
        after: Lenient<String>,
    }

    fn thing(json: &str) -> Thing {
        serde_json::from_str(json).expect("a lenient struct takes any JSON object")
    }

    fn is_bad<T>(value: &Lenient<T>) -> bool {
        matches!(value, Lenient::Bad(_))
    }

    #[test]
    fn a_wrong_type_costs_only_its_field() {
        for wrong in [r#""eighty""#, "{\"a\":[1,{}]}", "[1,[2]]", "true", "1.5"] {
            let read = thing(&format!(r#"{{"number":{wrong},"after":"here"}}"#));
            assert!(is_bad(&read.number), "{wrong}");
            assert_eq!(read.after, Lenient::Good("here".into()), "{wrong}");
        }
    }

    #[test]
    fn null_and_missing_are_absent() {
        assert_eq!(thing(r#"{"number":null,"list":null}"#), Thing::default());
        assert_eq!(thing("{}"), Thing::default());
    }

    #[test]
    fn a_wrong_item_costs_only_the_item() {
        let Lenient::Good(list) = thing(r#"{"list":["a",7,{"x":[]},"b"]}"#).list else { panic!("the list is good") };
        assert_eq!(list[0], Lenient::Good("a".into()));
        assert!(is_bad(&list[1]) && is_bad(&list[2]));
        assert_eq!(list[3], Lenient::Good("b".into()));
    }

    #[test]
    fn a_list_is_no_struct() {
        assert!(is_bad(&thing(r#"{"inner":[1,["a"]]}"#).inner));
    }

    #[test]
    fn the_complaint_names_what_was_found() {
        let Lenient::Bad(complaint) = thing(r#"{"number":"http"}"#).number else { panic!("not a number") };
        assert!(complaint.contains("http"), "{complaint}");
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            "[a-z]{0,4}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::btree_map("number|list|inner|after|other", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_value_is_read_and_what_follows_too(value in any_json()) {
            let text = format!(r#"[{value},"end"]"#);
            let (_, end): (Lenient<Thing>, String) = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(end, "end");
        }
    }
}
