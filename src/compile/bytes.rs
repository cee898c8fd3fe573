//! Keys and data as the kernel holds them.

use std::net::IpAddr;

use arrayvec::ArrayVec;

use crate::model::Protocol;

/// The most bytes a concatenated key takes here: two IPv6 addresses and three 4-byte fields.
pub const KEY_MAX: usize = 44;

/// A value in wire form: each field in network order (slots and marks in host order, as registers hold them), padded to 4 bytes
/// (`net/netfilter/nf_tables_api.c`: fields of a concatenation fill whole 32-bit registers).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(ArrayVec<u8, KEY_MAX>);

impl Bytes {
    /// No bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wraps bytes that are already in wire form; `None` when there are more than [`KEY_MAX`].
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        ArrayVec::try_from(bytes).ok().map(Bytes)
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
    fn raw(mut self, bytes: &[u8]) -> Self {
        let padding = [0u8; 4];
        let pad = bytes.len().next_multiple_of(4) - bytes.len();
        let written = self.0.try_extend_from_slice(bytes).and_then(|()| self.0.try_extend_from_slice(&padding[..pad]));
        debug_assert!(written.is_ok(), "a key is longer than KEY_MAX");
        self
    }

    /// The wire form.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
