//! The packet of `explain`, as typed.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::model::Protocol;

/// Who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Some pod of this node.
    Pod,
    /// The node itself.
    Node,
    /// Someone outside the cluster.
    External,
    /// This address.
    Address(IpAddr),
}

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Address and port.
    pub address: SocketAddr,
    /// The protocol.
    pub protocol: Protocol,
}

impl FromStr for Sender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pod" => Ok(Sender::Pod),
            "node" => Ok(Sender::Node),
            "external" => Ok(Sender::External),
            address => address.parse().map(Sender::Address).map_err(|_| "not an address, pod, node or external".into()),
        }
    }
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let known = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        let protocol = known.into_iter().find(|known| known.to_string() == protocol.to_ascii_lowercase());
        let protocol = protocol.ok_or("the protocol is none of tcp, udp, sctp")?;
        let address = address.parse().map_err(|_| "not ADDRESS:PORT, as 10.96.0.10:80 or [fd00::10]:80")?;
        Ok(Goal { address, protocol })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_have_a_port_and_perhaps_a_protocol() {
        let goal = |text: &str| text.parse::<Goal>().map(|goal| (goal.address.to_string(), goal.protocol));
        assert_eq!(goal("10.96.0.1:80"), Ok(("10.96.0.1:80".into(), Protocol::Tcp)));
        assert_eq!(goal("[fd00::1]:53/UDP"), Ok(("[fd00::1]:53".into(), Protocol::Udp)));
        assert!(goal("10.96.0.1").unwrap_err().contains("ADDRESS:PORT"));
        assert!(goal("10.96.0.1:80/icmp").unwrap_err().contains("sctp"));
    }

    #[test]
    fn senders_are_words_or_addresses() {
        assert_eq!("pod".parse(), Ok(Sender::Pod));
        assert_eq!("10.0.0.1".parse(), Ok(Sender::Address([10, 0, 0, 1].into())));
        assert!("pods".parse::<Sender>().is_err());
    }
}
