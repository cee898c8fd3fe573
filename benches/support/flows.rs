//! New flows of UDP or TCP, made as fast as one thread can: each from a client of its own, or from clients that came before.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

/// A socket that sends whole IPv4 packets.
pub struct Sender(OwnedFd);

impl Sender {
    /// Opens it in the calling thread's namespace.
    pub fn open() -> Sender {
        Sender(socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).expect("a raw socket"))
    }

    /// Sends the first packet of so many flows to `to`: flow n comes from client n and this source port. Answers the time of one.
    pub fn flows(&self, count: u32, source_port: u16, to: SocketAddrV4) -> Duration {
        self.send(packet(source_port, to), count, STRANGERS, to)
    }

    /// The same with the SYNs of TCP connections that are never answered, from pods.
    pub fn syns(&self, count: u32, source_port: u16, to: SocketAddrV4) -> Duration {
        self.send(syn(source_port, to), count, PODS, to)
    }

    fn send<const N: usize>(&self, mut packet: [u8; N], count: u32, first: Ipv4Addr, to: SocketAddrV4) -> Duration {
        let begun = Instant::now();
        for n in 0..count {
            packet[12..16].copy_from_slice(&client(first, n).octets());
            sendto(&self.0, &packet, SendFlags::empty(), &SocketAddr::V4(to)).expect("sent");
        }
        begun.elapsed() / count
    }
}

/// Gives the calling thread's namespace a link that swallows what is sent over it, as the default route.
pub fn link() {
    let lines = [
        "link set lo up",
        "link add sink type veth peer name drain",
        "link set sink arp off up",
        "link set drain arp off up",
        "route add default dev sink",
    ];
    for line in lines {
        assert!(Command::new("ip").args(line.split(' ')).status().expect("ip runs").success(), "ip {line}");
    }
}

/// The first client outside every range the rules know, and the first in 10.128.0.0/9.
const STRANGERS: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);
const PODS: Ipv4Addr = Ipv4Addr::new(10, 240, 0, 1);

fn client(first: Ipv4Addr, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(first) + n)
}

/// IP and UDP headers and two bytes.
fn packet(source_port: u16, to: SocketAddrV4) -> [u8; 30] {
    let mut packet = headed(17, source_port, to);
    packet[24..26].copy_from_slice(&10u16.to_be_bytes());
    packet
}

/// IP and TCP headers: SYN, no options. Checksums are looked at on the way in only.
fn syn(source_port: u16, to: SocketAddrV4) -> [u8; 40] {
    let mut packet = headed(6, source_port, to);
    (packet[27], packet[32], packet[33], packet[34]) = (1, 5 << 4, 2, 0xff);
    packet
}

/// The IP header and the ports; the kernel writes length and checksum of the first (`ip(7)`, IP_HDRINCL).
fn headed<const N: usize>(protocol: u8, source_port: u16, to: SocketAddrV4) -> [u8; N] {
    let mut packet = [0; N];
    (packet[0], packet[8], packet[9]) = (0x45, 64, protocol);
    packet[16..20].copy_from_slice(&to.ip().octets());
    packet[20..22].copy_from_slice(&source_port.to_be_bytes());
    packet[22..24].copy_from_slice(&to.port().to_be_bytes());
    packet
}
