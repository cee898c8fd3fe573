//! The packet and the node around it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::Family;

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// It came in over an interface: from a pod, another node or outside.
    Forwarded,
    /// A process of the node itself sent it.
    FromNode,
}

/// The first packet of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The source address.
    pub source: IpAddr,
    /// The destination address, of the same family.
    pub destination: IpAddr,
    /// The IANA protocol number.
    pub protocol: u8,
    /// The source port, host order; without meaning for protocols that have none.
    pub source_port: u16,
    /// The destination port, host order.
    pub destination_port: u16,
    /// The mark it starts with.
    pub mark: u32,
    /// The interface it came in on; of no account for packets of the node itself.
    pub input_interface: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// What the rules can ask about the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The addresses `fib ... type local` holds for. Loopback addresses are local without standing here.
    pub local_addresses: BTreeSet<IpAddr>,
}

impl Environment {
    /// Whether an address is local to the node.
    pub fn is_local(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.local_addresses.contains(&ip)
    }

    /// The route type of an address as the fib expression gives it (`RTN_*`, `linux/rtnetlink.h`); what is neither local nor
    /// multicast counts as unicast.
    pub(super) fn route_type(&self, ip: IpAddr) -> u32 {
        const RTN_UNICAST: u32 = 1;
        const RTN_MULTICAST: u32 = 5;
        match ip {
            ip if self.is_local(ip) => crate::compile::expr::RTN_LOCAL,
            ip if ip.is_multicast() => RTN_MULTICAST,
            _ => RTN_UNICAST,
        }
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl Packet {
    /// The family of its addresses.
    pub fn family(&self) -> Family {
        Family::of(self.destination)
    }

    /// Whether its protocol has ports that NAT can rewrite.
    pub(super) fn has_ports(&self) -> bool {
        matches!(self.protocol, TCP | UDP | SCTP)
    }

    /// Whether it can be answered by a TCP reset.
    pub(super) fn is_tcp(&self) -> bool {
        self.protocol == TCP
    }

    /// The IP header without options; fields no rule of ours reads are zero.
    pub(super) fn network_header(&self) -> Vec<u8> {
        let mut header = vec![0; if self.family() == Family::V4 { 20 } else { 40 }];
        match self.family() {
            Family::V4 => (header[0], header[9]) = (0x45, self.protocol),
            Family::V6 => (header[0], header[6]) = (0x60, self.protocol),
        }
        let addresses: Vec<u8> = [self.source, self.destination].into_iter().flat_map(octets).collect();
        let start = header.len().saturating_sub(addresses.len());
        header.truncate(start);
        header.extend(addresses);
        header
    }

    /// The transport header: ports first, or an echo request for ICMP.
    pub(super) fn transport_header(&self) -> Vec<u8> {
        let mut header = vec![0; if self.protocol == TCP { 20 } else { 8 }];
        match self.protocol {
            ICMP => header[0] = 8,
            ICMPV6 => header[0] = 128,
            _ if self.has_ports() => {
                header[..2].copy_from_slice(&self.source_port.to_be_bytes());
                header[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
            }
            _ => {}
        }
        header
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
