//! Would the node still forward Services' packets without kube-proxy's chains? Its KUBE-FORWARD accepts what is marked for masquerade, and
//! every packet of a connection that was let through: that can make up for a FORWARD policy of DROP.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::machine::{Machine, Which};
use super::parse::Save;
use crate::peer::draws::Draws;
use crate::peer::packet::{Fate, Packet, Unread};
use crate::peer::way::Flow;

/// What the FORWARD chain does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardVerdict {
    /// With kube-proxy's chains.
    pub with: Fate,
    /// Without them.
    pub without: Fate,
    /// Rules of others that were not understood, and taken not to match.
    pub unread: Vec<String>,
}

/// Sends a packet (after DNAT) through the filter table's FORWARD chain; `mark` is what it carries by then.
///
/// # Errors
/// When chains call each other without end.
pub fn forward(save: &Save, packet: &Packet, mark: u32, local: &BTreeSet<IpAddr>) -> Result<ForwardVerdict, Unread> {
    let run = |which| {
        let mut flow = Flow::new(packet.clone(), local);
        (flow.mark, flow.is_dnated) = (mark, true);
        let mut draws = Draws::default();
        let mut machine =
            Machine { save, table: "filter", flow: &mut flow, draws: &mut draws, which, unread: Vec::new() };
        let fate = machine.chain("FORWARD", 0)?.unwrap_or_else(|| policy(save));
        Ok((fate, machine.unread))
    };
    let ((with, _), (without, mut unread)) = (run(Which::All)?, run(Which::Others)?);
    unread.dedup();
    Ok(ForwardVerdict { with, without, unread })
}

fn policy(save: &Save) -> Fate {
    match save.chain("filter", "FORWARD").and_then(|chain| chain.policy.as_deref()) {
        Some("DROP") => Fate::Dropped,
        _ => Fate::Delivered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;
    use crate::peer::iptables::parse;

    const KUBE: &str = "*filter\n:FORWARD DROP [0:0]\n:KUBE-FORWARD - [0:0]\n\
        -A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD\n";
    const ACCEPTS: &str = "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\n";

    fn verdict(more: &str, mark: u32) -> ForwardVerdict {
        let packet = Packet {
            source: [203, 0, 113, 9].into(),
            destination: [10, 244, 0, 10].into(),
            protocol: Protocol::Tcp,
            port: 8080,
            interface: Some("eth0".to_owned()),
            from_node: false,
        };
        forward(&parse(&format!("{KUBE}{ACCEPTS}{more}COMMIT\n")), &packet, mark, &BTreeSet::new()).unwrap()
    }

    #[test]
    fn a_policy_of_drop_is_made_up_for_by_kube_proxys_accept_alone() {
        let told = verdict("", 0x4000);
        assert_eq!((told.with, told.without), (Fate::Delivered, Fate::Dropped));
        assert_eq!((verdict("", 0).with, verdict("", 0).without), (Fate::Dropped, Fate::Dropped));
    }

    #[test]
    fn somebody_elses_accept_carries_on() {
        let told = verdict(
            ":FLANNEL-FWD - [0:0]\n-A FORWARD -j FLANNEL-FWD\n-A FLANNEL-FWD -d 10.244.0.0/16 -j ACCEPT\n",
            0x4000,
        );
        assert_eq!((told.with, told.without), (Fate::Delivered, Fate::Delivered));
    }

    #[test]
    fn what_is_not_understood_does_not_match_and_is_named() {
        let told = verdict("-A FORWARD -m set --match-set good src -j ACCEPT\n", 0x4000);
        assert_eq!(told.without, Fate::Dropped);
        assert_eq!(told.unread, ["-A FORWARD -m set --match-set good src -j ACCEPT"]);
    }
}
