//! Findings in the firewall: what kube-proxy's chains do for others.

use std::net::IpAddr;

use ipnet::IpNet;

use super::facts::Facts;
use super::finding::Finding;
use super::finding::Severity::{Breaks, Differs, Note};
use super::settings::Asked;
use crate::model::{Family, LocalDetector, Protocol};
use crate::peer::iptables::{Save, cut, forward};
use crate::peer::{Fate, Packet};

/// What goes with kube-proxy's chains.
pub(super) fn findings(asked: &Asked<'_>, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (family, name, save) in &facts.saves {
        findings.extend(forwarding(asked, facts, *family, name, save));
        findings.extend(referring(name, save));
        findings.extend(stale(asked, name, save));
    }
    findings.extend(strict(facts));
    findings
}

/// Does the FORWARD chain accept Services' packets only because of KUBE-FORWARD?
fn forwarding(asked: &Asked<'_>, facts: &Facts, family: Family, name: &str, save: &Save) -> Vec<Finding> {
    let mark = asked.written.lowered.as_ref().map_or(1 << 14, |lowered| 1u32 << lowered.masquerade_bit);
    let (pod, outside) = (pod(asked, family), outside(family));
    let kinds = [
        ("from outside to a pod, by a node port or another external address (marked for masquerade)", outside, mark),
        ("from a pod to another", neighbour(pod), 0),
    ];
    let mut findings = Vec::new();
    for (kind, source, mark) in kinds {
        let packet =
            Packet { source, destination: pod, protocol: Protocol::Tcp, port: 8080, interface: None, from_node: false };
        let Ok(told) = forward(save, &packet, mark, &facts.local) else { continue };
        if told.with != Fate::Delivered || told.without == Fate::Delivered {
            continue;
        }
        let unread = match told.unread.len() {
            0 => String::new(),
            count => format!(" ({count} rules of others were not understood and taken not to match)"),
        };
        findings.push(Finding::new(
            "forward-policy",
            Breaks,
            format!("{name}: the FORWARD chain drops packets {kind}, but for kube-proxy's KUBE-FORWARD{unread}"),
            "with kube-proxy's chains gone such packets are dropped; ferroproxy accepts nothing on the forward path",
            format!(
                "{name} -P FORWARD ACCEPT, or rules that accept the pods' network: {name} -A FORWARD -d {net} -j ACCEPT; {name} -A FORWARD -s {net} -j ACCEPT",
                net = network(asked, family).map_or_else(|| "<pods' network>".to_owned(), |net| net.to_string())
            ),
        ));
    }
    findings
}

/// Rules of others that lead to chains of kube-proxy's.
fn referring(name: &str, save: &Save) -> Vec<Finding> {
    let rules = cut(save).map(|cut| cut.referring).unwrap_or_default();
    let told = |rule: String| {
        Finding::new(
            "foreign-reference",
            Breaks,
            format!("{name}: a rule that is not kube-proxy's leads to one of its chains: {rule}"),
            "the chain is emptied at cleanup: what the rule does by it (as a masquerade mark by KUBE-MARK-MASQ) no longer happens",
            "let its owner do without (for CNI portmap: externalSetMarkChain), or give it a chain of its own",
        )
    };
    rules.into_iter().map(told).collect()
}

fn stale(asked: &Asked<'_>, name: &str, save: &Save) -> Option<Finding> {
    (cut(save).is_some() && asked.kube_proxy == "nftables").then(|| {
        Finding::new(
            "stale-rules",
            Note,
            format!("{name} has chains of kube-proxy's, which runs in nftables mode"),
            "an earlier mode left them; they may still act on packets",
            "`ferroproxy cleanup --kube-proxy --dry-run` shows them, without --dry-run it removes them",
        )
    })
}

/// Chains of nftables that are not iptables' own: their rules are not walked.
fn strict(facts: &Facts) -> Vec<Finding> {
    let mut others: Vec<_> = facts
        .strict
        .iter()
        .filter(|(_, chain)| (chain.table.as_str(), chain.chain.as_str()) != ("filter", "FORWARD"))
        .collect();
    others.dedup_by_key(|(_, chain)| chain);
    let has_kube_forward = facts.saves.iter().any(|(_, _, save)| save.has_kube_proxy());
    let told = |(_, chain): &(Family, crate::peer::nft::Strict)| {
        Finding::new(
            "strict-forward",
            if has_kube_forward { Differs } else { Note },
            format!("chain {} of the nftables table {} forwards only what its rules accept", chain.chain, chain.table),
            "its rules were not judged; kube-proxy's accepts in iptables do not count there, and ferroproxy accepts nothing either",
            "make sure it accepts the pods' network",
        )
    };
    others.into_iter().map(told).collect()
}

/// The pods' network, if the configuration tells.
fn network(asked: &Asked<'_>, family: Family) -> Option<IpNet> {
    match &asked.written.lowered.as_ref().ok()?.detector {
        LocalDetector::ClusterCidr(nets) => *nets.get(family),
        _ => None,
    }
}

/// Some pod: of the configured network, else of one that is often taken.
fn pod(asked: &Asked<'_>, family: Family) -> IpAddr {
    let usual = || match family {
        Family::V4 => IpAddr::from([10, 244, 0, 10]),
        Family::V6 => IpAddr::from([0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0x10]),
    };
    network(asked, family).and_then(|net| net.hosts().nth(9)).unwrap_or_else(usual)
}

/// A pod besides: the address before.
fn neighbour(pod: IpAddr) -> IpAddr {
    match pod {
        IpAddr::V4(ip) => std::net::Ipv4Addr::from_bits(ip.to_bits().saturating_sub(1)).into(),
        IpAddr::V6(ip) => std::net::Ipv6Addr::from_bits(ip.to_bits().saturating_sub(1)).into(),
    }
}

/// An address for documentation.
fn outside(family: Family) -> IpAddr {
    match family {
        Family::V4 => [198, 51, 100, 77].into(),
        Family::V6 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77].into(),
    }
}
