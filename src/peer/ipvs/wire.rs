//! What is said to ipvs and what it answers: generic netlink (`include/uapi/linux/{genetlink,ip_vs}.h`). Numbers are in host order, but for
//! addresses and ports, which are as they travel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::VirtualService;
use crate::model::Family;
use crate::netlink::attr::{Writer, attrs, by_kind};
use crate::netlink::message::{ACK, DUMP, Header, family_number as af, write};

/// `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_ID`, `CTRL_ATTR_FAMILY_NAME`.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// `IPVS_GENL_NAME`, `IPVS_GENL_VERSION`; the controller has the same version.
const NAME: &str = "IPVS";
const VERSION: u8 = 1;
/// Bytes of `struct genlmsghdr`.
const GENERIC_HEADER: usize = 4;

/// `IPVS_CMD_NEW_SERVICE` (the answer to a listing), `IPVS_CMD_DEL_SERVICE`, `IPVS_CMD_GET_SERVICE`.
const NEW_SERVICE: u8 = 1;
const DELETE_SERVICE: u8 = 3;
const GET_SERVICE: u8 = 4;

/// `IPVS_CMD_ATTR_SERVICE`.
const SERVICE: u16 = 1;
/// `IPVS_SVC_ATTR_AF`, `_PROTOCOL`, `_ADDR`, `_PORT`.
const AF: u16 = 1;
const PROTOCOL: u16 = 2;
const ADDRESS: u16 = 3;
const PORT: u16 = 4;
/// Bytes of `union nf_inet_addr`.
const ANY_ADDRESS: usize = 16;

/// Asks for ipvs' number.
pub(super) fn family_request() -> Vec<u8> {
    message(CONTROLLER, ACK, GET_FAMILY, |w| w.put_str(FAMILY_NAME, NAME))
}

/// The number in the answer.
pub(super) fn family_number(payload: &[u8]) -> Option<u16> {
    let id = attrs(payload.get(GENERIC_HEADER..)?).find(|(kind, _)| *kind == FAMILY_ID)?.1;
    Some(u16::from_ne_bytes(id.try_into().ok()?))
}

/// Asks for all virtual services.
pub(super) fn list_request(number: u16) -> Vec<u8> {
    message(number, DUMP, GET_SERVICE, |_| ())
}

/// Has one deleted: named by what tells it from others, and nothing more.
pub(super) fn delete_request(number: u16, service: &VirtualService) -> Vec<u8> {
    let mut address = [0; ANY_ADDRESS];
    match service.address.ip() {
        IpAddr::V4(ip) => address[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => address = ip.octets(),
    }
    message(number, ACK, DELETE_SERVICE, |w| {
        w.nest(SERVICE, |w| {
            w.put(AF, &u16::from(af(Family::of(service.address.ip()))).to_ne_bytes());
            w.put(PROTOCOL, &u16::from(service.protocol).to_ne_bytes());
            w.put(ADDRESS, &address);
            w.put(PORT, &service.address.port().to_be_bytes());
        });
    })
}

/// The virtual service in a message; `None` for one by a firewall mark.
pub(super) fn service(payload: &[u8]) -> Option<VirtualService> {
    let (head, body) = payload.split_at_checked(GENERIC_HEADER)?;
    let nested = attrs(body).find(|(kind, _)| *kind == SERVICE && head[0] == NEW_SERVICE)?.1;
    let [_, family, protocol, address, port] = by_kind::<5>(nested);
    let number = |value: Option<&[u8]>| Some(u16::from_ne_bytes(value?.try_into().ok()?));
    let ip: IpAddr = match number(family)? {
        family if family == u16::from(af(Family::V4)) => Ipv4Addr::from(*address?.first_chunk::<4>()?).into(),
        family if family == u16::from(af(Family::V6)) => Ipv6Addr::from(*address?.first_chunk::<16>()?).into(),
        _ => return None,
    };
    let port = u16::from_be_bytes(port?.try_into().ok()?);
    Some(VirtualService { protocol: number(protocol)?.try_into().ok()?, address: SocketAddr::new(ip, port) })
}

fn message(kind: u16, flags: u16, command: u8, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::default();
    write(&mut w, Header { kind, flags, seq: 1 }, &[command, VERSION, 0, 0], fill);
    w.bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(protocol: u8, address: &str) -> VirtualService {
        VirtualService { protocol, address: address.parse().unwrap() }
    }

    /// By hand, from `ip_vs.h`: what ipvsadm sends for `ipvsadm -D -t 10.96.0.1:443`.
    #[test]
    fn a_deletion_names_family_protocol_address_and_port() {
        let bytes: [u8; 68] = [
            68, 0, 0, 0, 0x1d, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, // to family 0x1d, NLM_F_REQUEST | NLM_F_ACK
            3, 1, 0, 0, // IPVS_CMD_DEL_SERVICE
            48, 0, 1, 0x80, // IPVS_CMD_ATTR_SERVICE, nested
            6, 0, 1, 0, 2, 0, 0, 0, // IPVS_SVC_ATTR_AF: AF_INET
            6, 0, 2, 0, 6, 0, 0, 0, // IPVS_SVC_ATTR_PROTOCOL: TCP
            20, 0, 3, 0, 10, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // IPVS_SVC_ATTR_ADDR
            6, 0, 4, 0, 0x01, 0xbb, 0, 0, // IPVS_SVC_ATTR_PORT
        ];
        assert_eq!(delete_request(0x1d, &of(6, "10.96.0.1:443")), bytes);
        let v6 = delete_request(0x1d, &of(17, "[fd00:10:96::a]:53"));
        assert_eq!(v6[24..40], [6, 0, 1, 0, 10, 0, 0, 0, 6, 0, 2, 0, 17, 0, 0, 0]);
        let address: Ipv6Addr = "fd00:10:96::a".parse().unwrap();
        assert_eq!(v6[44..60], address.octets());
    }

    #[test]
    fn the_number_is_asked_for_by_name() {
        let bytes: [u8; 32] = [
            32, 0, 0, 0, 0x10, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, // GENL_ID_CTRL
            3, 1, 0, 0, // CTRL_CMD_GETFAMILY
            9, 0, 2, 0, b'I', b'P', b'V', b'S', 0, 0, 0, 0, // CTRL_ATTR_FAMILY_NAME
        ];
        assert_eq!(family_request(), bytes);
        let answer = [1, 2, 0, 0, 9, 0, 2, 0, b'I', b'P', b'V', b'S', 0, 0, 0, 0, 6, 0, 1, 0, 0x1d, 0, 0, 0];
        assert_eq!(family_number(&answer), Some(0x1d));
        assert_eq!(family_number(&answer[..16]), None);
    }

    #[test]
    fn a_listing_asks_for_all() {
        assert_eq!(list_request(0x1d), [20, 0, 0, 0, 0x1d, 0, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0]);
    }

    /// The attributes as another implementation's tests have them: the address in four bytes, and a scheduler, flags, timeout and netmask.
    const WLC: [u8; 68] = [
        6, 0, 1, 0, 2, 0, 0, 0, 6, 0, 2, 0, 6, 0, 0, 0, 8, 0, 3, 0, 10, 107, 107, 0, 6, 0, 4, 0, 0x05, 0x39, 0,
        0, //
        8, 0, 6, 0, b'w', b'l', b'c', 0, 12, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 8, 0, 0, 0, 0, 0, 8, 0, 9, 0, 0, 0,
        0, 0,
    ];

    fn answer(command: u8, attributes: &[u8]) -> Vec<u8> {
        let mut w = Writer::default();
        w.bytes.extend([command, VERSION, 0, 0]);
        w.nest(SERVICE, |w| w.bytes.extend(attributes));
        w.bytes
    }

    #[test]
    fn a_service_is_read_whatever_else_is_said_of_it() {
        assert_eq!(service(&answer(NEW_SERVICE, &WLC)), Some(of(6, "10.107.107.0:1337")));
        // As the kernel tells it: the address takes 16 bytes in either family.
        let mut v4 = WLC[..16].to_vec();
        v4.extend([20, 0, 3, 0, 10, 96, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 4, 0, 0, 53, 0, 0]);
        assert_eq!(service(&answer(NEW_SERVICE, &v4)), Some(of(6, "10.96.0.10:53")));
        let sent = delete_request(0x1d, &of(132, "[fd00::1]:9000"));
        assert_eq!(service(&answer(NEW_SERVICE, &sent[24..])), Some(of(132, "[fd00::1]:9000")));
    }

    #[test]
    fn what_is_no_service_by_address_is_passed_over() {
        let by_mark = [6, 0, 1, 0, 2, 0, 0, 0, 8, 0, 5, 0, 7, 0, 0, 0];
        assert_eq!(service(&answer(NEW_SERVICE, &by_mark)), None);
        assert_eq!(service(&answer(5, &WLC)), None, "a server");
        for cut in 0..WLC.len() {
            let _ = service(&answer(NEW_SERVICE, &WLC[..cut]));
        }
        assert_eq!(service(&answer(NEW_SERVICE, &WLC[..28])), None, "no port");
        assert_eq!(service(&[]), None);
    }
}
