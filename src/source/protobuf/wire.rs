//! The fields of a message as they stand on the wire.

use prost::encoding::{WireType, decode_key, decode_varint};
use serde::de::Error;

use super::read::Malformed;

/// What one field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire<'de> {
    /// A number: an integer or a truth value.
    Number(u64),
    /// Text, bytes or a message.
    Bytes(&'de [u8]),
    /// Four or eight bytes; nothing we read is written so.
    Fixed,
}

/// The next field of a message, and what it holds; nothing at the message's end.
pub(super) fn next<'de>(rest: &mut &'de [u8]) -> Result<Option<(u32, Wire<'de>)>, Malformed> {
    if rest.is_empty() {
        return Ok(None);
    }
    let (number, kind) = decode_key(rest).map_err(Malformed::custom)?;
    let wire = match kind {
        WireType::Varint => Wire::Number(decode_varint(rest).map_err(Malformed::custom)?),
        WireType::LengthDelimited => {
            let length = decode_varint(rest).map_err(Malformed::custom)?;
            Wire::Bytes(take(rest, length)?)
        }
        WireType::ThirtyTwoBit => take(rest, 4).map(|_| Wire::Fixed)?,
        WireType::SixtyFourBit => take(rest, 8).map(|_| Wire::Fixed)?,
        WireType::StartGroup | WireType::EndGroup => {
            return Err(Malformed::custom("a group, which Kubernetes never writes"));
        }
    };
    Ok(Some((number, wire)))
}

fn take<'de>(rest: &mut &'de [u8], length: u64) -> Result<&'de [u8], Malformed> {
    let length = usize::try_from(length).ok();
    let split = length.and_then(|length| rest.split_at_checked(length));
    let (taken, after) = split.ok_or_else(|| Malformed::custom("a field is longer than its message"))?;
    *rest = after;
    Ok(taken)
}

impl<'de> Wire<'de> {
    /// The bytes, for a field that has them.
    pub(super) fn bytes(self) -> Result<&'de [u8], Malformed> {
        match self {
            Wire::Bytes(bytes) => Ok(bytes),
            Wire::Number(_) | Wire::Fixed => Err(Malformed::custom("a number where bytes belong")),
        }
    }

    /// The number, for a field that has one. Negative ones stand in two's complement.
    pub(super) fn number(self) -> Result<i64, Malformed> {
        match self {
            Wire::Number(number) => Ok(number.cast_signed()),
            Wire::Bytes(_) | Wire::Fixed => Err(Malformed::custom("bytes where a number belongs")),
        }
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(self) -> bool {
        matches!(self, Wire::Number(0) | Wire::Bytes([]))
    }
}
