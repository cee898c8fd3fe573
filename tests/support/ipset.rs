//! Making ipsets as kube-proxy's ipvs mode does, without the `ipset` program. Run it inside the namespace.

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

/// `IPSET_CMD_CREATE`, `IPSET_CMD_ADD`.
const CREATE: u8 = 2;
const ADD: u8 = 9;

/// A set of ports from 0 to 65535 with these in it.
pub fn ports(name: &str, ports: &[u16]) {
    let range = [(4, 0u16), (5, 65535)].map(|(kind, port)| attr(kind | BIG_ENDIAN, &port.to_be_bytes())).concat();
    create(name, "bitmap:port", 0, &range);
    for port in ports {
        ask(ADD, &[text(2, name), attr(7 | NESTED, &attr(4 | BIG_ENDIAN, &port.to_be_bytes()))].concat());
    }
}

/// An empty set of addresses of a family (2 or 10).
pub fn addresses(name: &str, family: u8) {
    create(name, "hash:ip", family, &[]);
}

const NESTED: u16 = 1 << 15;
const BIG_ENDIAN: u16 = 1 << 14;

/// `IPSET_ATTR_SETNAME`, `_TYPENAME`, `_REVISION`, `_FAMILY`, `_DATA`.
fn create(name: &str, kind: &str, family: u8, data: &[u8]) {
    ask(CREATE, &[text(2, name), text(3, kind), attr(4, &[0]), attr(5, &[family]), attr(7 | NESTED, data)].concat());
}

fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::from(((4 + value.len()) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn text(kind: u16, value: &str) -> Vec<u8> {
    attr(kind, &[value.as_bytes(), &[0]].concat())
}

/// To subsystem 6, with protocol 6; the kernel must say yes.
fn ask(command: u8, attributes: &[u8]) {
    let body = [&[2, 0, 0, 0][..], &attr(1, &[6]), attributes].concat();
    let mut message = Vec::from(((16 + body.len()) as u32).to_ne_bytes());
    message.extend([command, 6, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(body);
    let mut socket = Socket::new(NETLINK_NETFILTER).expect("a socket");
    socket.bind(&SocketAddr::new(0, 0)).expect("bound");
    socket.send(&message, 0).expect("sent");
    let (answer, _) = socket.recv_from_full().expect("an answer");
    assert_eq!(answer[16..20], [0; 4], "refused: {answer:?}");
}
