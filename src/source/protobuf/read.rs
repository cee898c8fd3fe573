//! serde's view of a message.

use jiff::Timestamp;
use serde::de::value::{CowStrDeserializer, StrDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::shape::{Field, Form, Shape};
use super::wire::{Wire, next};

/// Bytes that are no message of the shape.
pub(crate) type Malformed = serde::de::value::Error;

/// Reads a message.
///
/// # Errors
/// When the bytes are cut or are no protobuf, or when `T` does not take what they say.
pub(crate) fn read<'de, T: Deserialize<'de>>(shape: &'static Shape, message: &'de [u8]) -> Result<T, Malformed> {
    T::deserialize(Value::Object(shape, message))
}

/// Something that can be read.
enum Value<'de> {
    Text(&'de [u8]),
    Raw(&'de [u8]),
    Flag(bool),
    Number(i64),
    Object(&'static Shape, &'de [u8]),
    Words(Same<'de>),
    Time(&'de [u8]),
    Many(Form, Same<'de>),
}

impl<'de> Value<'de> {
    fn new(form: Form, wire: Wire<'de>) -> Result<Value<'de>, Malformed> {
        Ok(match form {
            Form::Text => Value::Text(wire.bytes()?),
            Form::Raw => Value::Raw(wire.bytes()?),
            Form::Flag => Value::Flag(wire.number()? != 0),
            Form::Number => Value::Number(wire.number()?),
            Form::Object(shape) => Value::Object(shape, wire.bytes()?),
            Form::Time => Value::Time(wire.bytes()?),
            Form::Words => return Err(Malformed::custom("a map in a list")),
        })
    }
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Malformed;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        match self {
            Value::Text(bytes) => match str::from_utf8(bytes) {
                Ok(text) => visitor.visit_borrowed_str(text),
                // As JSON would have it.
                Err(_) => visitor.visit_string(String::from_utf8_lossy(bytes).into_owned()),
            },
            Value::Raw(bytes) => visitor.visit_borrowed_bytes(bytes),
            Value::Flag(flag) => visitor.visit_bool(flag),
            Value::Number(number) => visitor.visit_i64(number),
            Value::Object(shape, rest) => visitor.visit_map(Fields { shape, rest, seen: 0, value: None }),
            Value::Words(entries) => visitor.visit_map(Entries { entries, value: &[] }),
            Value::Time(bytes) => visitor.visit_string(time(bytes)?),
            Value::Many(form, items) => visitor.visit_seq(Items { form, items }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Malformed> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        let Value::Text(bytes) = self else { return Err(Malformed::custom("no text where a word belongs")) };
        let word: CowStrDeserializer<'_, Malformed> = String::from_utf8_lossy(bytes).into_deserializer();
        word.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// `seconds = 1`, `nanos = 2`, as text.
fn time(mut rest: &[u8]) -> Result<String, Malformed> {
    let (mut seconds, mut nanos) = (0, 0);
    while let Some((number, wire)) = next(&mut rest)? {
        match number {
            1 => seconds = wire.number()?,
            2 => nanos = wire.number()?,
            _ => {}
        }
    }
    let nanos = i32::try_from(nanos).map_err(Malformed::custom)?;
    Ok(Timestamp::new(seconds, nanos).map_err(Malformed::custom)?.to_string())
}

/// The fields of a message that its shape names. Of one that stands twice and must not, the first counts.
struct Fields<'de> {
    shape: &'static Shape,
    rest: &'de [u8],
    /// A bit for each field of the shape.
    seen: u64,
    value: Option<(&'static Field, Wire<'de>)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Malformed;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Malformed> {
        while let Some((number, wire)) = next(&mut self.rest)? {
            let Some((place, field)) = self.shape.field(number) else { continue };
            let left_out = matches!(field.form, Form::Text | Form::Number | Form::Time) && !field.many;
            if self.seen & (1 << place) != 0 || (left_out && wire.is_empty()) {
                continue;
            }
            self.seen |= 1 << place;
            self.value = Some((field, wire));
            let name: StrDeserializer<'_, Malformed> = field.name.into_deserializer();
            return seed.deserialize(name).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Malformed> {
        let (field, wire) = self.value.take().ok_or_else(|| Malformed::custom("no key was asked for"))?;
        let same = Same { number: field.number, first: Some(wire), rest: self.rest };
        seed.deserialize(match field.form {
            Form::Words => Value::Words(same),
            form if field.many => Value::Many(form, same),
            form => Value::new(form, wire)?,
        })
    }
}

/// What stands under one number, here and anywhere later in the message.
struct Same<'de> {
    number: u32,
    first: Option<Wire<'de>>,
    rest: &'de [u8],
}

impl<'de> Same<'de> {
    fn next(&mut self) -> Result<Option<Wire<'de>>, Malformed> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        while let Some((number, wire)) = next(&mut self.rest)? {
            if number == self.number {
                return Ok(Some(wire));
            }
        }
        Ok(None)
    }
}

/// A repeated field.
struct Items<'de> {
    form: Form,
    items: Same<'de>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Malformed;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Malformed> {
        let Some(wire) = self.items.next()? else { return Ok(None) };
        seed.deserialize(Value::new(self.form, wire)?).map(Some)
    }
}

/// A map from words to words: messages of `key = 1` and `value = 2`.
struct Entries<'de> {
    entries: Same<'de>,
    value: &'de [u8],
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Malformed;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Malformed> {
        let Some(entry) = self.entries.next()? else { return Ok(None) };
        let (mut rest, mut key): (_, &[u8]) = (entry.bytes()?, &[]);
        self.value = &[];
        while let Some((number, wire)) = next(&mut rest)? {
            match number {
                1 => key = wire.bytes()?,
                2 => self.value = wire.bytes()?,
                _ => {}
            }
        }
        seed.deserialize(Value::Text(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Malformed> {
        seed.deserialize(Value::Text(self.value))
    }
}
