//! The interface kube-proxy's ipvs mode binds Services' addresses to.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;

use super::socket::{Kernel, Socket};
use crate::netlink::attr::{Writer, attrs, by_kind, str_of};
use crate::netlink::message::{ACK, DUMP, Header, write};

/// Its name.
pub const IPVS_LINK: &str = "kube-ipvs0";
/// Its kind, as rtnetlink calls it.
pub const IPVS_LINK_KIND: &str = "dummy";

/// `RTM_DELLINK`, `RTM_GETLINK`.
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
/// Bytes of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// Where in it the interface's number is.
const LINK_INDEX_AT: usize = 4;
/// `RTM_GETADDR`, the bytes of `struct ifaddrmsg`, and where in it the interface's number is.
const GET_ADDRESS: u16 = 22;
const ADDRESS_HEADER: usize = 8;
const ADDRESS_INDEX_AT: usize = 4;
/// `IFLA_IFNAME`, `IFLA_LINKINFO`, and `IFLA_INFO_KIND` inside.
const NAME: u16 = 3;
const LINK_INFO: u16 = 18;
const INFO_KIND: usize = 1;

/// The kind of an interface (`dummy`, `bridge`); `None` when there is no such interface.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn kind(name: &str) -> io::Result<Option<String>> {
    let mut found = None;
    let asked = Socket::open(NETLINK_ROUTE)?.ask(&request(GET_LINK, name), |message| {
        let info = attrs(message.payload.get(LINK_HEADER..).unwrap_or_default()).find(|(kind, _)| *kind == LINK_INFO);
        let kind = info.and_then(|(_, info)| str_of(by_kind::<2>(info)[INFO_KIND]).map(str::to_owned));
        found = Some(kind.unwrap_or_default());
    });
    match asked {
        Ok(()) => Ok(found),
        Err(Errno::NODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes an interface with its addresses. `false`: there is none.
///
/// # Errors
/// What the kernel says; EPERM without CAP_NET_ADMIN.
pub fn remove(name: &str) -> io::Result<bool> {
    match Socket::open(NETLINK_ROUTE)?.ask(&request(DEL_LINK, name), |_| ()) {
        Ok(()) => Ok(true),
        Err(Errno::NODEV) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The addresses on an interface; none when there is no such interface.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn addresses(name: &str) -> io::Result<BTreeSet<IpAddr>> {
    let mut socket = Socket::open(NETLINK_ROUTE)?;
    let mut index = None;
    match socket.ask(&request(GET_LINK, name), |message| index = index.or(word(message.payload, LINK_INDEX_AT))) {
        Ok(()) => {}
        Err(Errno::NODEV) => return Ok(BTreeSet::new()),
        Err(error) => return Err(error.into()),
    }
    let mut w = Writer::default();
    write(&mut w, Header { kind: GET_ADDRESS, flags: DUMP, seq: 1 }, &[0; ADDRESS_HEADER], |_| ());
    let found = socket.list(&w.bytes, |message| {
        let of = word(message.payload, ADDRESS_INDEX_AT)?;
        address(message.payload).filter(|_| Some(of) == index)
    })?;
    Ok(found.into_iter().collect())
}

/// The address in a message. Where an interface is one end of a line, the other end is told too, as the address.
fn address(payload: &[u8]) -> Option<IpAddr> {
    let [_, address, local] = by_kind::<3>(payload.get(ADDRESS_HEADER..)?);
    let bytes = local.or(address)?;
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

fn word(payload: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*payload.get(at..)?.first_chunk()?))
}

fn request(kind: u16, name: &str) -> Vec<u8> {
    let mut w = Writer::default();
    write(&mut w, Header { kind, flags: ACK, seq: 1 }, &[0; LINK_HEADER], |w| w.put_str(NAME, name));
    w.bytes
}
