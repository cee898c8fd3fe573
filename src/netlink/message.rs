//! Messages: a header, what the kind wants next, and attributes (`include/uapi/linux/netlink.h`).

use super::attr::Writer;
use crate::model::Family;

/// Bytes of a netlink header.
pub(crate) const NL_HEADER: usize = 16;

/// Where in a netlink header the flags are.
pub(crate) const FLAGS_AT: usize = 6;

/// `NLM_F_REQUEST`: on every message to the kernel.
pub(crate) const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: the kernel says when it is done.
pub(crate) const ACK: u16 = 0x4;
/// `NLM_F_DUMP`: all objects instead of one.
pub(crate) const DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`: what is dumped changed meanwhile.
pub(crate) const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLM_F_CAPPED`: an error message holds only the header of what it answers.
pub(crate) const CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`: an error message has attributes.
pub(crate) const ACK_TLVS: u16 = 0x200;

/// `NLMSG_ERROR`: an error, or an ack when its number is 0.
pub(crate) const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
pub(crate) const DONE: u16 = 3;

/// The family number (`AF_*`, and netfilter's `NFPROTO_*`).
pub(crate) fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// What a netlink header says, besides the length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// Which message it is.
    pub(crate) kind: u16,
    /// Flags besides `NLM_F_REQUEST`.
    pub(crate) flags: u16,
    /// The number by which answers name it.
    pub(crate) seq: u32,
}

/// Writes one message: the header, `body` as it is (a multiple of 4 bytes), and the attributes that `fill` writes.
pub(crate) fn write(w: &mut Writer, header: Header, body: &[u8], fill: impl FnOnce(&mut Writer)) {
    let start = w.bytes.len();
    w.bytes.extend_from_slice(&[0; 4]);
    w.bytes.extend_from_slice(&header.kind.to_ne_bytes());
    w.bytes.extend_from_slice(&(header.flags | REQUEST).to_ne_bytes());
    w.bytes.extend_from_slice(&header.seq.to_ne_bytes());
    w.bytes.extend_from_slice(&[0; 4]);
    w.bytes.extend_from_slice(body);
    fill(w);
    let len = (w.bytes.len() - start) as u32;
    w.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
}

/// A message as it was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    /// The number in the header.
    pub(crate) kind: u16,
    /// The flags.
    pub(crate) flags: u16,
    /// Which message it answers.
    pub(crate) seq: u32,
    /// Everything after the netlink header.
    pub(crate) payload: &'a [u8],
}

impl<'a> Received<'a> {
    /// The family number and the attributes behind the netfilter header.
    pub(crate) fn body(&self) -> Option<(u8, &'a [u8])> {
        Some((*self.payload.first()?, self.payload.get(4..)?))
    }
}

/// The messages in a datagram, or in what we sent.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let half = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let len = word(0)? as usize;
        let (kind, flags, seq) = (half(4)?, half(FLAGS_AT)?, word(8)?);
        let payload = bytes.get(NL_HEADER..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Received { kind, flags, seq, payload })
    })
}
