//! Fields as nft's data types: their number, length and byte order (nft's `datatype.h`; they are part of its format in the kernel).

use crate::compile::bytes::{Bytes, KEY_MAX};
use crate::compile::ruleset::Field;

/// Bits a type takes in the number of a concatenation (`TYPE_BITS`).
const TYPE_BITS: u32 = 6;

/// How nft names a byte order in userdata (`enum byteorder`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum ByteOrder {
    /// A concatenation, a verdict.
    None = 0,
    /// As the machine has it.
    Host = 1,
    /// As packets have it.
    Network = 2,
}

/// The number of a field's type.
fn datatype(field: Field) -> u32 {
    match field {
        Field::Random(_) => 4,
        Field::Saddr(family) | Field::Daddr(family) => match family.addr_len() {
            4 => 7,
            _ => 8,
        },
        Field::L4Proto => 12,
        Field::Sport | Field::Dport => 13,
        Field::Mark => 19,
        Field::Priority | Field::PriorityBits(_) => 23,
    }
}

/// Bytes of a field, without padding.
pub(super) fn len(field: Field) -> usize {
    match field {
        Field::Saddr(family) | Field::Daddr(family) => family.addr_len(),
        Field::L4Proto => 1,
        Field::Sport | Field::Dport => 2,
        Field::Mark | Field::Priority | Field::PriorityBits(_) | Field::Random(_) => 4,
    }
}

/// The number of the type of some fields: a concatenation when there are several.
pub(super) fn datatype_of(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |number, field| number << TYPE_BITS | datatype(*field))
}

/// Bytes of some fields: of one field its own, of several each padded to 4.
pub(super) fn len_of(fields: &[Field]) -> usize {
    match fields {
        [field] => len(*field),
        fields => fields.iter().map(|field| len(*field).next_multiple_of(4)).sum(),
    }
}

/// The byte order nft writes for some fields.
pub(super) fn byte_order(fields: &[Field]) -> ByteOrder {
    match fields {
        [Field::Saddr(_) | Field::Daddr(_) | Field::Sport | Field::Dport] => ByteOrder::Network,
        [_] => ByteOrder::Host,
        _ => ByteOrder::None,
    }
}

/// The bytes the kernel wants: [`Bytes`] pads a single short field, the kernel does not.
pub(super) fn to_kernel<'a>(fields: &[Field], bytes: &'a Bytes) -> &'a [u8] {
    let bytes = bytes.as_slice();
    bytes.get(..len_of(fields)).unwrap_or(bytes)
}

/// [`Bytes`] from the kernel's bytes; `None` if they are not as long as the fields.
pub(super) fn from_kernel(fields: &[Field], bytes: &[u8]) -> Option<Bytes> {
    let mut padded = [0; KEY_MAX];
    padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let fits = bytes.len() == len_of(fields);
    fits.then(|| Bytes::from_wire(&padded[..bytes.len().next_multiple_of(4)])).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Family;

    #[test]
    fn numbers_and_lengths_are_those_nft_gives() {
        let key = [Field::Daddr(Family::V4), Field::L4Proto, Field::Dport, Field::Random(16)];
        assert_eq!((datatype_of(&key), len_of(&key)), (0x1c_c344, 16));
        let key = [Field::Saddr(Family::V6), Field::L4Proto, Field::Mark];
        assert_eq!((datatype_of(&key), len_of(&key)), (0x8313, 24));
        assert_eq!((datatype_of(&[Field::Sport]), len_of(&[Field::Sport])), (13, 2));
    }

    #[test]
    fn a_single_short_field_is_padded_only_here() {
        let port = Bytes::new().port(80);
        assert_eq!(to_kernel(&[Field::Dport], &port), [0, 80]);
        assert_eq!(from_kernel(&[Field::Dport], &[0, 80]), Some(port));
        assert_eq!(from_kernel(&[Field::Dport], &[0, 80, 0, 0]), None);
    }
}
