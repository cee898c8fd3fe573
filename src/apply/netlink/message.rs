//! Messages of nf_tables: the netlink header, the netfilter header, and which message does what
//! (`include/uapi/linux/netlink.h`, `include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h`).

use super::attr::{Writer, attrs, str_of};
use crate::compile::ruleset::TABLE;
use crate::model::Family;

/// The table of a message: attribute 1 of every kind of object.
pub(super) const TABLE_ATTR: u16 = 1;

/// Bytes of a netlink header.
pub(super) const NL_HEADER: usize = 16;

/// Where in a netlink header the flags are.
pub(super) const FLAGS_AT: usize = 6;

/// Bytes of the netlink and the netfilter header.
pub(super) const HEADERS: usize = NL_HEADER + 4;

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;

/// `NLM_F_REQUEST`: on every message to the kernel.
const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: the kernel says when it is done.
pub(super) const ACK: u16 = 0x4;
/// `NLM_F_DUMP`: all objects instead of one.
pub(super) const DUMP: u16 = 0x300;
/// `NLM_F_CREATE`: make it if it is not there.
pub(super) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: a rule goes to the end of its chain.
pub(super) const APPEND: u16 = 0x800;
/// `NLM_F_DUMP_INTR`: the ruleset changed while it was dumped.
pub(super) const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLM_F_CAPPED`: an error message holds only the header of what it answers.
pub(super) const CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`: an error message has attributes.
pub(super) const ACK_TLVS: u16 = 0x200;

/// `NLMSG_ERROR`: an error, or an ack when its number is 0.
pub(super) const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
pub(super) const DONE: u16 = 3;

/// A message's kind: the number below `NFT_MSG_*`, or a batch limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(u16);

impl Kind {
    /// `NFNL_MSG_BATCH_BEGIN`.
    pub(super) const BATCH_BEGIN: Kind = Kind(0x10);
    /// `NFNL_MSG_BATCH_END`.
    pub(super) const BATCH_END: Kind = Kind(0x11);
    /// `NFT_MSG_NEWTABLE`.
    pub(super) const NEW_TABLE: Kind = Kind::nft(0);
    /// `NFT_MSG_GETTABLE`.
    pub(super) const GET_TABLE: Kind = Kind::nft(1);
    /// `NFT_MSG_DELTABLE`.
    pub(super) const DEL_TABLE: Kind = Kind::nft(2);
    /// `NFT_MSG_NEWCHAIN`.
    pub(super) const NEW_CHAIN: Kind = Kind::nft(3);
    /// `NFT_MSG_GETCHAIN`.
    pub(super) const GET_CHAIN: Kind = Kind::nft(4);
    /// `NFT_MSG_DELCHAIN`.
    pub(super) const DEL_CHAIN: Kind = Kind::nft(5);
    /// `NFT_MSG_NEWRULE`.
    pub(super) const NEW_RULE: Kind = Kind::nft(6);
    /// `NFT_MSG_GETRULE`.
    pub(super) const GET_RULE: Kind = Kind::nft(7);
    /// `NFT_MSG_DELRULE`; without a handle it takes every rule of the chain.
    pub(super) const DEL_RULE: Kind = Kind::nft(8);
    /// `NFT_MSG_NEWSET`.
    pub(super) const NEW_SET: Kind = Kind::nft(9);
    /// `NFT_MSG_GETSET`.
    pub(super) const GET_SET: Kind = Kind::nft(10);
    /// `NFT_MSG_DELSET`.
    pub(super) const DEL_SET: Kind = Kind::nft(11);
    /// `NFT_MSG_NEWSETELEM`.
    pub(super) const NEW_ELEMENTS: Kind = Kind::nft(12);
    /// `NFT_MSG_GETSETELEM`.
    pub(super) const GET_ELEMENTS: Kind = Kind::nft(13);
    /// `NFT_MSG_DELSETELEM`.
    pub(super) const DEL_ELEMENTS: Kind = Kind::nft(14);
    /// `NFT_MSG_NEWGEN`.
    pub(super) const NEW_GENERATION: Kind = Kind::nft(15);
    /// `NFT_MSG_GETGEN`.
    pub(super) const GET_GENERATION: Kind = Kind::nft(16);

    const fn nft(number: u16) -> Kind {
        Kind(SUBSYSTEM << 8 | number)
    }

    /// The number in the header.
    pub(super) fn number(self) -> u16 {
        self.0
    }
}

/// The netfilter family number (`NFPROTO_*`).
pub(super) fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// What stands before a message's attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// What it asks.
    pub(super) kind: Kind,
    /// Flags besides `NLM_F_REQUEST`.
    pub(super) flags: u16,
    /// The family; `None` for batch limits and the generation.
    pub(super) family: Option<Family>,
    /// The number by which answers name it.
    pub(super) seq: u32,
}

/// Writes one message; `fill` writes its attributes.
pub(super) fn message(w: &mut Writer, head: Head, fill: impl FnOnce(&mut Writer)) {
    let start = w.bytes.len();
    w.bytes.extend_from_slice(&[0; 4]);
    w.bytes.extend_from_slice(&head.kind.0.to_ne_bytes());
    w.bytes.extend_from_slice(&(head.flags | REQUEST).to_ne_bytes());
    w.bytes.extend_from_slice(&head.seq.to_ne_bytes());
    w.bytes.extend_from_slice(&[0; 4]);
    let resource = if matches!(head.kind, Kind::BATCH_BEGIN | Kind::BATCH_END) { SUBSYSTEM } else { 0 };
    w.bytes.extend_from_slice(&[head.family.map_or(0, family_number), 0]);
    w.bytes.extend_from_slice(&resource.to_be_bytes());
    fill(w);
    let len = (w.bytes.len() - start) as u32;
    w.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
}

/// A message as it was received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received<'a> {
    /// The number in the header.
    pub(super) kind: u16,
    /// The flags.
    pub(super) flags: u16,
    /// Which message it answers.
    pub(super) seq: u32,
    /// Everything after the netlink header.
    pub(super) payload: &'a [u8],
}

impl<'a> Received<'a> {
    /// The family number and the attributes behind the netfilter header.
    pub(super) fn body(&self) -> Option<(u8, &'a [u8])> {
        Some((*self.payload.first()?, self.payload.get(4..)?))
    }
}

/// The messages in a datagram, or in what we sent.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
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

/// Whether an object is in a table of our name: dumps of some kinds tell of every table.
pub(super) fn is_ours(body: &[u8]) -> bool {
    attrs(body).any(|(kind, value)| kind == TABLE_ATTR && str_of(Some(value)) == Some(TABLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_written() {
        let mut w = Writer::default();
        let head = |kind, seq| Head { kind, flags: ACK, family: Some(Family::V6), seq };
        message(&mut w, head(Kind::NEW_TABLE, 7), |w| w.put_str(TABLE_ATTR, "ferroproxy"));
        message(&mut w, head(Kind::DEL_TABLE, 8), |_| ());
        let read: Vec<_> = messages(&w.bytes).map(|m| (m.kind, m.flags, m.seq, m.body().unwrap().0)).collect();
        assert_eq!(read, [(0xa00, ACK | REQUEST, 7, 10), (0xa02, ACK | REQUEST, 8, 10)]);
    }

    #[test]
    fn batch_limits_name_the_subsystem() {
        let mut w = Writer::default();
        message(&mut w, Head { kind: Kind::BATCH_BEGIN, flags: 0, family: None, seq: 1 }, |_| ());
        assert_eq!(&w.bytes[NL_HEADER..], [0, 0, 0, 10]);
    }

    #[test]
    fn half_a_message_is_none() {
        let mut w = Writer::default();
        message(&mut w, Head { kind: Kind::BATCH_BEGIN, flags: 0, family: None, seq: 1 }, |_| ());
        assert_eq!(messages(&w.bytes[..HEADERS - 1]).count(), 0);
    }
}
