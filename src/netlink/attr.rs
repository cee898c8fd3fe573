//! Netlink attributes: length, kind, value, padded to 4 bytes. Numbers inside are big endian, as netfilter wants them
//! (`include/net/netlink.h`).

/// The bit that marks an attribute holding attributes (`NLA_F_NESTED`).
const NESTED: u16 = 1 << 15;

/// The bits of a kind that are flags (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const KIND_MASK: u16 = 0x3fff;

/// Bytes before an attribute's value.
pub(crate) const HEADER: usize = 4;

/// A growing buffer of messages and attributes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// What was written so far.
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer with room for `capacity` bytes.
    pub(crate) fn with_capacity(capacity: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(capacity) }
    }

    /// One attribute with these bytes.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) {
        self.header(kind, value.len());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// A 32-bit number, big endian.
    pub(crate) fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// A 64-bit number, big endian.
    pub(crate) fn put_u64(&mut self, kind: u16, value: u64) {
        self.put(kind, &value.to_be_bytes());
    }

    /// A string with its end byte.
    pub(crate) fn put_str(&mut self, kind: u16, value: &str) {
        self.header(kind, value.len() + 1);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    /// One attribute with the bytes that `fill` appends.
    pub(crate) fn put_with(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.header(kind, 0);
        fill(&mut self.bytes);
        self.close(start);
        self.pad();
    }

    /// An attribute that holds what `fill` writes; at most 65,535 bytes.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Writer)) {
        let start = self.open(kind);
        fill(self);
        self.close(start);
    }

    /// Begins a nested attribute; give the answer to [`Writer::close`].
    pub(crate) fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.header(kind | NESTED, 0);
        start
    }

    /// Ends the attribute that began at `start`.
    pub(crate) fn close(&mut self, start: usize) {
        let len = self.bytes.len() - start;
        debug_assert!(len <= usize::from(u16::MAX), "an attribute of {len} bytes");
        self.bytes[start..start + 2].copy_from_slice(&(len as u16).to_ne_bytes());
    }

    fn header(&mut self, kind: u16, value_len: usize) {
        let [len, kind] = [(HEADER + value_len) as u16, kind].map(u16::to_ne_bytes);
        self.bytes.extend_from_slice(&[len[0], len[1], kind[0], kind[1]]);
    }

    fn pad(&mut self) {
        let missing = self.bytes.len().next_multiple_of(4) - self.bytes.len();
        self.bytes.extend_from_slice(&[0; 3][..missing]);
    }
}

/// The attributes in some bytes, in order: kind and value. Ends at the first that does not fit.
pub(crate) fn attrs(bytes: &[u8]) -> Attrs<'_> {
    Attrs { all: bytes, at: 0 }
}

/// Iterator over attributes. See [`attrs`].
pub(crate) struct Attrs<'a> {
    all: &'a [u8],
    at: usize,
}

impl Attrs<'_> {
    /// Where the next attribute begins, from the first one's beginning.
    pub(crate) fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.all.get(self.at..)?;
        let len = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..HEADER)?.try_into().ok()?);
        let value = rest.get(HEADER..len)?;
        self.at += len.next_multiple_of(4);
        Some((kind & KIND_MASK, value))
    }
}

/// Attributes by kind; those of kind `N` and above are left out.
pub(crate) fn by_kind<const N: usize>(bytes: &[u8]) -> [Option<&[u8]>; N] {
    let mut out = [None; N];
    for (kind, value) in attrs(bytes) {
        if let Some(slot) = out.get_mut(usize::from(kind)) {
            *slot = Some(value);
        }
    }
    out
}

/// A big-endian 32-bit number.
pub(crate) fn u32_of(value: Option<&[u8]>) -> Option<u32> {
    Some(u32::from_be_bytes(value?.try_into().ok()?))
}

/// A big-endian 64-bit number.
pub(crate) fn u64_of(value: Option<&[u8]>) -> Option<u64> {
    Some(u64::from_be_bytes(value?.try_into().ok()?))
}

/// A string, without its end byte.
pub(crate) fn str_of(value: Option<&[u8]>) -> Option<&str> {
    let value = value?;
    std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(values in proptest::collection::vec((1u16..100, proptest::collection::vec(any::<u8>(), 0..50)), 0..20)) {
            let mut w = Writer::default();
            w.nest(7, |w| values.iter().for_each(|(kind, value)| w.put(*kind, value)));
            let outer: Vec<_> = attrs(&w.bytes).collect();
            prop_assert_eq!(outer.len(), 1);
            let inner: Vec<(u16, Vec<u8>)> = attrs(outer[0].1).map(|(k, v)| (k, v.to_vec())).collect();
            prop_assert_eq!(inner, values);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(attrs(&bytes).count() <= bytes.len() / HEADER);
        }
    }

    #[test]
    fn numbers_are_big_endian_and_strings_end_with_a_zero() {
        let mut w = Writer::default();
        w.put_u32(1, 5);
        w.put_str(2, "abc");
        w.put_u64(3, 1);
        assert_eq!(w.bytes, b"\x08\0\x01\0\0\0\0\x05\x08\0\x02\0abc\0\x0c\0\x03\0\0\0\0\0\0\0\0\x01");
        let [_, number, text, long] = by_kind::<4>(&w.bytes);
        assert_eq!((u32_of(number), str_of(text), u64_of(long)), (Some(5), Some("abc"), Some(1)));
    }
}
