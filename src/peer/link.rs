//! The interface kube-proxy's ipvs mode binds Services' addresses to.

use std::io;
use std::path::Path;

use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;

use super::socket::Socket;
use crate::netlink::attr::{Writer, attrs, by_kind, str_of};
use crate::netlink::message::{ACK, Header, write};

/// Its name.
pub const IPVS_LINK: &str = "kube-ipvs0";
/// Its kind, as rtnetlink calls it.
pub const IPVS_LINK_KIND: &str = "dummy";

/// `RTM_DELLINK`, `RTM_GETLINK`.
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
/// Bytes of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
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

/// How many virtual services ipvs has in this network namespace: a line each, that begins with a protocol.
pub fn ipvs_services(root: &Path) -> usize {
    let text = std::fs::read_to_string(root.join("proc/net/ip_vs")).unwrap_or_default();
    text.lines().filter(|line| ["TCP", "UDP", "SCTP", "FWM"].iter().any(|protocol| line.starts_with(protocol))).count()
}

fn request(kind: u16, name: &str) -> Vec<u8> {
    let mut w = Writer::default();
    write(&mut w, Header { kind, flags: ACK, seq: 1 }, &[0; LINK_HEADER], |w| w.put_str(NAME, name));
    w.bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_services_are_counted_without_their_servers() {
        let root = tempfile::TempDir::new().unwrap();
        assert_eq!(ipvs_services(root.path()), 0);
        std::fs::create_dir_all(root.path().join("proc/net")).unwrap();
        let table = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
                     TCP  0A600001:01BB rr\n  -> C000020A:192B      Masq    1      0          0\nUDP  0A60000A:0035 rr\n";
        std::fs::write(root.path().join("proc/net/ip_vs"), table).unwrap();
        assert_eq!(ipvs_services(root.path()), 2);
    }
}
