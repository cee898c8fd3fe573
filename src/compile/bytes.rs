//! Keys and data as the kernel holds them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use arrayvec::ArrayVec;

use crate::model::Protocol;

/// The most bytes a concatenated key takes here: two IPv6 addresses and three 4-byte fields.
pub const KEY_MAX: usize = 44;

/// So many bytes need no allocation: every IPv4 key, and an IPv6 address with its port.
const SHORT: usize = 22;

/// A value in wire form: each field in network order (slots and marks in host order, as registers hold them), padded to 4 bytes
/// (`net/netfilter/nf_tables_api.c`: fields of a concatenation fill whole 32-bit registers).
///
/// There are several for each endpoint, so it is small: 24 bytes, and an allocation only for the longer keys of IPv6.
#[derive(Clone)]
pub struct Bytes(Repr);

#[derive(Clone)]
enum Repr {
    Short(u8, [u8; SHORT]),
    Long(Box<ArrayVec<u8, KEY_MAX>>),
}

impl Bytes {
    /// No bytes.
    pub fn new() -> Self {
        Bytes(Repr::Short(0, [0; SHORT]))
    }

    /// Wraps bytes that are already in wire form; `None` when there are more than [`KEY_MAX`].
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= KEY_MAX).then(|| Bytes::new().append(bytes))
    }
    /// Appends an address (4 or 16 bytes, network order).
    pub fn addr(self, ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => self.raw(&ip.octets()),
            IpAddr::V6(ip) => self.raw(&ip.octets()),
        }
    }

    /// Appends a protocol number, padded.
    pub fn proto(self, protocol: Protocol) -> Self {
        self.raw(&[protocol.number()])
    }

    /// Appends a port in network order, padded.
    pub fn port(self, port: u16) -> Self {
        self.raw(&port.to_be_bytes())
    }

    /// Appends a number in host order: a slot, a mark.
    pub fn number(self, number: u32) -> Self {
        self.raw(&number.to_ne_bytes())
    }

    /// Appends bytes and pads to the next multiple of 4.
    fn raw(self, bytes: &[u8]) -> Self {
        let pad = bytes.len().next_multiple_of(4) - bytes.len();
        self.append(bytes).append(&[0; 4][..pad])
    }

    fn append(mut self, bytes: &[u8]) -> Self {
        match &mut self.0 {
            Repr::Short(len, short) => {
                let (start, end) = (usize::from(*len), usize::from(*len) + bytes.len());
                if let Some(room) = short.get_mut(start..end) {
                    room.copy_from_slice(bytes);
                    *len += bytes.len() as u8;
                } else {
                    let mut long = Box::new(ArrayVec::new());
                    extend(&mut long, &short[..start]);
                    extend(&mut long, bytes);
                    self.0 = Repr::Long(long);
                }
            }
            Repr::Long(long) => extend(long, bytes),
        }
        self
    }

    /// The wire form.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Short(len, short) => &short[..usize::from(*len)],
            Repr::Long(long) => long,
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

fn extend(long: &mut ArrayVec<u8, KEY_MAX>, bytes: &[u8]) {
    let written = long.try_extend_from_slice(bytes);
    debug_assert!(written.is_ok(), "a key is longer than KEY_MAX");
}

impl Default for Bytes {
    fn default() -> Self {
        Bytes::new()
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Bytes {}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bytes {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bytes").field(&self.as_slice()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_small() {
        assert_eq!(size_of::<Bytes>(), 24);
    }

    #[test]
    fn ipv6_keys_are_as_long_as_they_are() {
        let ip: IpAddr = "fd00::1".parse().unwrap();
        let key = Bytes::new().addr(ip).addr(ip).proto(Protocol::Tcp).port(80).number(7);
        assert_eq!(key.len(), KEY_MAX);
        assert_eq!(&key.as_slice()[32..40], [6, 0, 0, 0, 0, 80, 0, 0]);
        assert_eq!(&key.as_slice()[40..], 7u32.to_ne_bytes());
    }

    proptest! {
        #[test]
        fn bytes_are_what_they_hold_however_they_are_kept(
            a in proptest::collection::vec(any::<u8>(), 0..=KEY_MAX),
            b in proptest::collection::vec(any::<u8>(), 0..=KEY_MAX),
        ) {
            let (x, y) = (Bytes::from_wire(&a).unwrap(), Bytes::from_wire(&b).unwrap());
            prop_assert_eq!(x.as_slice(), &a[..]);
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x == y, a == b);
        }
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert_eq!(Bytes::from_wire(&[0; KEY_MAX + 1]), None);
    }
}
