//! Messages of nf_tables: the netlink header, the netfilter header, and which message does what
//! (`include/uapi/linux/netlink.h`, `include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h`).

use super::attr::{Writer, attrs, str_of};
use crate::compile::ruleset::TABLE;
use crate::model::Family;
use crate::netlink::message::{Header, NL_HEADER, write};

pub(super) use crate::netlink::message::{
    ACK, ACK_TLVS, CAPPED, DONE, DUMP, DUMP_INTERRUPTED, ERROR, FLAGS_AT, Received, family_number, messages,
};

/// The table of a message: attribute 1 of every kind of object.
pub(super) const TABLE_ATTR: u16 = 1;

/// Bytes of the netlink and the netfilter header.
pub(super) const HEADERS: usize = NL_HEADER + 4;

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;

/// `NLM_F_CREATE`: make it if it is not there.
pub(super) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: a rule goes to the end of its chain.
pub(super) const APPEND: u16 = 0x800;

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
    /// `NFT_MSG_GETTABLE`, answered by a [`Kind::NEW_TABLE`].
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
    let resource = if matches!(head.kind, Kind::BATCH_BEGIN | Kind::BATCH_END) { SUBSYSTEM } else { 0 };
    let [high, low] = resource.to_be_bytes();
    let netfilter = [head.family.map_or(0, family_number), 0, high, low];
    write(w, Header { kind: head.kind.0, flags: head.flags, seq: head.seq }, &netfilter, fill);
}

/// Whether an object is in a table of our name: dumps of some kinds tell of every table.
pub(super) fn is_ours(body: &[u8]) -> bool {
    attrs(body).any(|(kind, value)| kind == TABLE_ATTR && str_of(Some(value)) == Some(TABLE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::message::REQUEST;

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
