//! Entries of the conntrack table in netlink's words (`include/uapi/linux/netfilter/nfnetlink_conntrack.h`).

use std::net::IpAddr;

use super::flow::Flow;
use crate::model::{EndpointAddr, Family, Protocol};
use crate::netlink::attr::{Writer, by_kind, u32_of};
use crate::netlink::message::{ACK, DUMP, Header, family_number, write};

/// `NFNL_SUBSYS_CTNETLINK`.
const SUBSYSTEM: u16 = 1;
/// `IPCTNL_MSG_CT_NEW`: what an entry of a dump is called.
pub(super) const ENTRY: u16 = SUBSYSTEM << 8;
/// `IPCTNL_MSG_CT_GET`.
const GET: u16 = SUBSYSTEM << 8 | 1;
/// `IPCTNL_MSG_CT_DELETE`.
const DELETE: u16 = SUBSYSTEM << 8 | 2;

/// `CTA_TUPLE_ORIG`: addresses of the flow's first direction.
const ORIGINAL: usize = 1;
/// `CTA_TUPLE_REPLY`: addresses as replies carry them.
const REPLY: usize = 2;
/// `CTA_ID`.
const ID: usize = 12;
/// `CTA_ZONE`: told only when it is not the default zone.
const ZONE: usize = 18;
/// `CTA_FILTER`: which parts of the tuple select the entries of a dump (since 5.8; older kernels dump everything).
const FILTER: u16 = 25;
/// `CTA_FILTER_ORIG_FLAGS`.
const FILTER_ORIGINAL: u16 = 1;
/// `CTA_FILTER_F_CTA_PROTO_NUM`.
const BY_PROTOCOL: u32 = 1 << 3;
/// `CTA_FILTER_F_CTA_PROTO_DST_PORT`.
const BY_DESTINATION_PORT: u32 = 1 << 5;

/// `CTA_TUPLE_IP`.
const TUPLE_IP: usize = 1;
/// `CTA_TUPLE_PROTO`.
const TUPLE_PROTOCOL: usize = 2;
/// `CTA_TUPLE_ZONE`: a direction in a zone of its own.
const TUPLE_ZONE: usize = 3;
/// `CTA_PROTO_NUM`.
const NUMBER: usize = 1;
/// `CTA_PROTO_SRC_PORT`.
const SOURCE_PORT: usize = 2;
/// `CTA_PROTO_DST_PORT`.
const DESTINATION_PORT: usize = 3;

/// Which entries to dump. What an old kernel sends besides is sorted out by whoever reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// All of the family.
    Everything,
    /// Those of a protocol.
    Of(Protocol),
    /// Those of a protocol to a port.
    To(Protocol, u16),
}

/// Writes the request for a dump.
pub(super) fn dump(w: &mut Writer, family: Family, question: Question, seq: u32) {
    let (protocol, port, flags) = match question {
        Question::Everything => (None, None, 0),
        Question::Of(protocol) => (Some(protocol), None, BY_PROTOCOL),
        Question::To(protocol, port) => (Some(protocol), Some(port), BY_PROTOCOL | BY_DESTINATION_PORT),
    };
    write(w, Header { kind: GET, flags: DUMP, seq }, &head(family), |w| {
        let Some(protocol) = protocol else { return };
        w.nest(ORIGINAL as u16, |w| {
            w.nest(TUPLE_PROTOCOL as u16, |w| {
                w.put(NUMBER as u16, &[protocol.number()]);
                if let Some(port) = port {
                    w.put(DESTINATION_PORT as u16, &port.to_be_bytes());
                }
            });
        });
        // The only numbers here in host order.
        w.nest(FILTER, |w| w.put(FILTER_ORIGINAL, &flags.to_ne_bytes()));
    });
}

/// Writes the request to delete exactly this entry. Without a tuple the kernel would flush the table: there always is one.
pub(super) fn delete(w: &mut Writer, family: Family, flow: &Flow, seq: u32, acknowledge: bool) {
    let flags = if acknowledge { ACK } else { 0 };
    write(w, Header { kind: DELETE, flags, seq }, &head(family), |w| {
        tuple(w, ORIGINAL as u16, flow.protocol, flow.source, flow.destination);
        w.put_u32(ID as u16, flow.id);
    });
}

/// The netfilter header: family, version 0, no resource.
fn head(family: Family) -> [u8; 4] {
    [family_number(family), 0, 0, 0]
}

fn tuple(w: &mut Writer, kind: u16, protocol: Protocol, source: EndpointAddr, destination: EndpointAddr) {
    w.nest(kind, |w| {
        w.nest(TUPLE_IP as u16, |w| {
            let [from, to] = ip_kinds(Family::of(source.ip));
            put_ip(w, from as u16, source.ip);
            put_ip(w, to as u16, destination.ip);
        });
        w.nest(TUPLE_PROTOCOL as u16, |w| {
            w.put(NUMBER as u16, &[protocol.number()]);
            w.put(SOURCE_PORT as u16, &source.port.to_be_bytes());
            w.put(DESTINATION_PORT as u16, &destination.port.to_be_bytes());
        });
    });
}

/// `CTA_IP_V4_SRC` and `_DST`, or `CTA_IP_V6_SRC` and `_DST`.
fn ip_kinds(family: Family) -> [usize; 2] {
    match family {
        Family::V4 => [1, 2],
        Family::V6 => [3, 4],
    }
}

fn put_ip(w: &mut Writer, kind: u16, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => w.put(kind, &ip.octets()),
        IpAddr::V6(ip) => w.put(kind, &ip.octets()),
    }
}

/// An entry of a dump; `None` unless it is UDP or SCTP, of the family, in the default zone, and complete.
pub(super) fn entry(body: &[u8], family: Family) -> Option<Flow> {
    let attrs = by_kind::<{ ZONE + 1 }>(body);
    if attrs[ZONE].is_some() {
        return None;
    }
    let (protocol, source, destination) = read_tuple(attrs[ORIGINAL]?, family)?;
    let (_, reply_source, _) = read_tuple(attrs[REPLY]?, family)?;
    let id = u32_of(attrs[ID])?;
    let is_reconciled = matches!(protocol, Protocol::Udp | Protocol::Sctp);
    is_reconciled.then_some(Flow { protocol, source, destination, reply_source, id })
}

fn read_tuple(bytes: &[u8], family: Family) -> Option<(Protocol, EndpointAddr, EndpointAddr)> {
    let parts = by_kind::<{ TUPLE_ZONE + 1 }>(bytes);
    if parts[TUPLE_ZONE].is_some() {
        return None;
    }
    let protocol = by_kind::<{ DESTINATION_PORT + 1 }>(parts[TUPLE_PROTOCOL]?);
    let ips = by_kind::<5>(parts[TUPLE_IP]?);
    let [from, to] = ip_kinds(family).map(|kind| read_ip(ips[kind]?));
    let port = |at: usize| Some(u16::from_be_bytes(protocol[at]?.try_into().ok()?));
    let [number] = protocol[NUMBER]? else { return None };
    let source = EndpointAddr { ip: from?, port: port(SOURCE_PORT)? };
    let destination = EndpointAddr { ip: to?, port: port(DESTINATION_PORT)? };
    Some((Protocol::from_number(*number)?, source, destination))
}

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::message::messages;

    /// The entry as the kernel would dump it.
    fn told(flow: &Flow, more: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut w = Writer::default();
        tuple(&mut w, ORIGINAL as u16, flow.protocol, flow.source, flow.destination);
        tuple(&mut w, REPLY as u16, flow.protocol, flow.reply_source, flow.source);
        w.put_u32(3, 0x1b8);
        w.put_u32(ID as u16, flow.id);
        more(&mut w);
        w.bytes
    }

    fn addr(family: Family) -> BoxedStrategy<EndpointAddr> {
        let ip = match family {
            Family::V4 => any::<[u8; 4]>().prop_map(IpAddr::from).boxed(),
            Family::V6 => any::<[u8; 16]>().prop_map(IpAddr::from).boxed(),
        };
        (ip, any::<u16>()).prop_map(|(ip, port)| EndpointAddr { ip, port }).boxed()
    }

    fn flow() -> impl Strategy<Value = (Family, Flow)> {
        prop_oneof![Just(Family::V4), Just(Family::V6)].prop_flat_map(|family| {
            let protocol = prop_oneof![Just(Protocol::Udp), Just(Protocol::Sctp)];
            (protocol, addr(family), addr(family), addr(family), any::<u32>()).prop_map(
                move |(protocol, source, destination, reply_source, id)| {
                    (family, Flow { protocol, source, destination, reply_source, id })
                },
            )
        })
    }

    proptest! {
        #[test]
        fn entries_are_read_as_told((family, flow) in flow()) {
            let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
            prop_assert_eq!(entry(&told(&flow, |_| ()), family), Some(flow));
            prop_assert_eq!(entry(&told(&flow, |_| ()), other), None);
        }

        #[test]
        fn a_deletion_names_the_entrys_own_tuple_and_id((family, flow) in flow()) {
            let mut w = Writer::default();
            delete(&mut w, family, &flow, 7, true);
            let sent: Vec<_> = messages(&w.bytes).collect();
            prop_assert_eq!(sent.len(), 1);
            prop_assert_eq!((sent[0].kind, sent[0].seq, sent[0].flags), (DELETE, 7, ACK | 1));
            let (number, body) = sent[0].body().unwrap();
            prop_assert_eq!(number, family_number(family));
            let attrs = by_kind::<{ ZONE + 1 }>(body);
            let named = read_tuple(attrs[ORIGINAL].unwrap(), family);
            prop_assert_eq!(named, Some((flow.protocol, flow.source, flow.destination)));
            prop_assert_eq!(u32_of(attrs[ID]), Some(flow.id));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = entry(&bytes, Family::V4);
        }
    }

    #[test]
    fn other_zones_and_tcp_are_not_ours() {
        let at = |port| EndpointAddr { ip: [10, 0, 0, 1].into(), port };
        let flow = Flow { protocol: Protocol::Udp, source: at(1), destination: at(2), reply_source: at(3), id: 4 };
        assert_eq!(entry(&told(&flow, |w| w.put(ZONE as u16, &[0, 9])), Family::V4), None);
        assert_eq!(entry(&told(&Flow { protocol: Protocol::Tcp, ..flow }, |_| ()), Family::V4), None);
        assert_eq!(entry(&told(&flow, |_| ()), Family::V4), Some(flow));
    }
}
