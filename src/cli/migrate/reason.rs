//! Why two answers differ, where that is known: what the modes do not have in common, and what ferroproxy means to do otherwise.

use std::net::IpAddr;

use super::answer::Answer;
use crate::model::ProxyMode;
use crate::peer::Frontend;

/// The modes of the two that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modes {
    pub(super) kube_proxy: ProxyMode,
    pub(super) ferroproxy: ProxyMode,
}

/// Why answers differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reason {
    /// In words.
    pub(super) text: String,
    /// Whether whoever chooses another mode chooses this: it is told, and counts for nothing.
    pub(super) is_of_mode: bool,
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) frontend: &'a Frontend,
    /// The address it was asked at.
    pub(super) at: IpAddr,
    /// Whether the node itself asked.
    pub(super) from_node: bool,
    /// Whether it is a cluster IP at which nobody serves the port.
    pub(super) is_miss: bool,
}

/// The reason, if it is one that is known.
pub(super) fn reason(modes: Modes, asked: Asked<'_>, kube_proxy: &Answer, ferroproxy: &Answer) -> Option<Reason> {
    let counted = |text: String| Some(Reason { text, is_of_mode: false });
    match (asked.frontend.ip, kube_proxy, ferroproxy) {
        _ if asked.is_miss && modes.kube_proxy != modes.ferroproxy => Some(Reason {
            text: "nftables mode refuses other ports of a cluster IP and drops what no Service has; iptables mode does neither".to_owned(),
            is_of_mode: true,
        }),
        _ if asked.is_miss => None,
        (None, Answer::Dropped, Answer::LeftAlone) if modes.kube_proxy == ProxyMode::Iptables => counted(
            "kube-proxy's iptables mode drops node ports without local endpoints on every address of the node, ferroproxy only where node \
             ports answer"
                .to_owned(),
        ),
        (None, Answer::LeftAlone, _) => counted(node_ports(("ferroproxy", modes.ferroproxy), "kube-proxy", asked.at)),
        (None, _, Answer::LeftAlone) => counted(node_ports(("kube-proxy", modes.kube_proxy), "ferroproxy", asked.at)),
        (Some(_), Answer::Refused, Answer::Dropped) => {
            counted("ferroproxy looks at loadBalancerSourceRanges before it refuses for want of endpoints".to_owned())
        }
        (Some(_), Answer::LeftAlone, Answer::Refused) if asked.from_node => counted(
            "kube-proxy's iptables mode lets what the node itself sends to an external address without endpoints leave the node"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Node ports that only one of the two answers at an address.
fn node_ports((answers, mode): (&str, ProxyMode), other: &str, at: IpAddr) -> String {
    let where_else = match (mode, at.is_loopback()) {
        (_, true) => "on loopback addresses too (iptables.localhostNodePorts)",
        (ProxyMode::Iptables, false) => {
            "on every address of the node, as in iptables mode without nodePortAddresses, or on those it names"
        }
        (ProxyMode::Nftables, false) => {
            "on the node's primary address, as in nftables mode without nodePortAddresses, or on those it names"
        }
    };
    format!("{answers}'s node ports answer {where_else}; {other}'s do not answer here")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Family, Protocol};

    const PASSAGE: Modes = Modes { kube_proxy: ProxyMode::Nftables, ferroproxy: ProxyMode::Iptables };

    fn told(modes: Modes, node_port: bool, at: &str, kube_proxy: &Answer, ferroproxy: &Answer) -> Option<Reason> {
        let at = at.parse().unwrap();
        let ip = (!node_port).then_some(at);
        let frontend = Frontend { family: Family::V4, ip, protocol: Protocol::Tcp, port: 80 };
        reason(modes, Asked { frontend: &frontend, at, from_node: true, is_miss: false }, kube_proxy, ferroproxy)
    }

    #[test]
    fn node_ports_that_one_alone_answers_are_told_by_who_and_where() {
        let delivered = Answer::Delivered([].into());
        let told = |at, theirs, ours| told(PASSAGE, true, at, theirs, ours).unwrap().text;
        let more = told("192.0.2.11", &Answer::LeftAlone, &delivered);
        assert!(more.starts_with("ferroproxy's node ports answer on every address of the node"), "{more}");
        let loopback = told("127.0.0.1", &Answer::LeftAlone, &delivered);
        assert!(loopback.contains("localhostNodePorts"), "{loopback}");
        let less = told("192.0.2.11", &delivered, &Answer::LeftAlone);
        assert!(less.starts_with("kube-proxy's node ports answer on the node's primary address"), "{less}");
    }

    #[test]
    fn what_belongs_to_the_modes_counts_only_where_they_differ() {
        let frontend =
            Frontend { family: Family::V4, ip: Some([10, 96, 0, 1].into()), protocol: Protocol::Tcp, port: 1 };
        let asked = Asked { frontend: &frontend, at: [10, 96, 0, 1].into(), from_node: false, is_miss: true };
        let told = |modes| reason(modes, asked, &Answer::Refused, &Answer::LeftAlone);
        assert!(told(PASSAGE).is_some_and(|reason| reason.is_of_mode));
        assert_eq!(told(Modes { kube_proxy: ProxyMode::Iptables, ..PASSAGE }), None);
    }

    #[test]
    fn departures_are_named_and_count_and_anything_else_is_not_explained_away() {
        let named = |theirs, ours| told(PASSAGE, false, "198.51.100.7", theirs, ours);
        assert!(named(&Answer::Refused, &Answer::Dropped).is_some_and(|reason| !reason.is_of_mode));
        assert!(named(&Answer::LeftAlone, &Answer::Refused).is_some_and(|reason| !reason.is_of_mode));
        assert_eq!(named(&Answer::Delivered([].into()), &Answer::Refused), None);
        let from_iptables = Modes { kube_proxy: ProxyMode::Iptables, ferroproxy: ProxyMode::Iptables };
        let idle = told(from_iptables, true, "127.0.0.1", &Answer::Dropped, &Answer::LeftAlone).unwrap().text;
        assert!(idle.starts_with("kube-proxy's iptables mode drops node ports without local endpoints"), "{idle}");
    }
}
