//! Which addresses are the node's own, asked of routing: the same answer as `fib daddr type local` gives to the rules.

use std::collections::HashMap;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::socket::Socket;
use crate::model::Family;
use crate::netlink::attr::Writer;
use crate::netlink::message::{Header, family_number, write};

/// `RTM_NEWROUTE`.
const ROUTE: u16 = 24;
/// `RTM_GETROUTE`.
const GET_ROUTE: u16 = 26;
/// `RTA_DST`.
const DESTINATION: u16 = 1;
/// `RTN_LOCAL`.
const LOCAL: u8 = 2;
/// Where in `struct rtmsg` the type is.
const TYPE_AT: usize = 7;
/// So many answers are remembered.
const REMEMBERED: usize = 4096;

/// Answers of one sweep, remembered.
#[derive(Debug, Default)]
pub(super) struct Locality {
    socket: Option<Socket>,
    known: HashMap<IpAddr, bool>,
}

impl Locality {
    /// Forgets the answers: addresses come and go.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// Whether the address is the node's own; no when it cannot be known.
    pub(super) fn is_local(&mut self, ip: IpAddr) -> bool {
        if let Some(answer) = self.known.get(&ip) {
            return *answer;
        }
        let answer = self.ask(ip).unwrap_or(false);
        if self.known.len() < REMEMBERED {
            self.known.insert(ip, answer);
        }
        answer
    }

    fn ask(&mut self, ip: IpAddr) -> Option<bool> {
        if self.socket.is_none() {
            self.socket = Socket::open(NETLINK_ROUTE).ok();
        }
        let socket = self.socket.as_mut()?;
        let mut w = Writer::default();
        request(&mut w, ip, socket.take_numbers(1));
        let mut answer = None;
        let asked = socket.ask(&w.bytes, |message| {
            if message.kind == ROUTE {
                answer = message.payload.get(TYPE_AT).map(|kind| *kind == LOCAL);
            }
        });
        if asked.is_err() {
            self.socket = None;
        }
        answer
    }
}

fn request(w: &mut Writer, ip: IpAddr, seq: u32) {
    let mut body = [0; 12];
    let family = Family::of(ip);
    body[0] = family_number(family);
    body[1] = 8 * family.addr_len() as u8;
    write(w, Header { kind: GET_ROUTE, flags: 0, seq }, &body, |w| match ip {
        IpAddr::V4(ip) => w.put(DESTINATION, &ip.octets()),
        IpAddr::V6(ip) => w.put(DESTINATION, &ip.octets()),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_local_and_a_documentation_address_is_not() {
        let mut locality = Locality::default();
        assert!(locality.is_local([127, 0, 0, 1].into()));
        assert!(!locality.is_local([198, 51, 100, 77].into()));
        assert_eq!(locality.known.len(), 2, "remembered");
    }
}
