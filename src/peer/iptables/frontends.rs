//! The frontends in kube-proxy's iptables rules, and what their chains say beside where packets go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::parse::Save;
use super::rule::{Match, Rule, Target};
use crate::model::{Family, Protocol};
use crate::peer::packet::Frontend;

/// Chains with a rule for each frontend.
const PORTALS: [(&str, &str); 5] = [
    ("nat", "KUBE-SERVICES"),
    ("nat", "KUBE-NODEPORTS"),
    ("filter", "KUBE-SERVICES"),
    ("filter", "KUBE-EXTERNAL-SERVICES"),
    ("filter", "KUBE-PROXY-FIREWALL"),
];

/// Every frontend, with the service port's name where a comment tells.
pub fn frontends(save: &Save, family: Family) -> BTreeMap<Frontend, Option<String>> {
    let mut found: BTreeMap<Frontend, Option<String>> = BTreeMap::new();
    for rule in PORTALS.iter().flat_map(|(table, chain)| save.rules(table, chain)) {
        let Some(frontend) = frontend(rule, family) else { continue };
        let known = found.entry(frontend).or_default();
        *known = known.take().or_else(|| rule.comment.as_deref().and_then(name_in));
    }
    found
}

/// For each frontend that only some sources may reach, an address of each range that may.
pub fn admitted(save: &Save, family: Family) -> BTreeMap<Frontend, BTreeSet<IpAddr>> {
    let told = save.rules("nat", "KUBE-SERVICES").iter().filter_map(|rule| {
        let chain = rule.target.chain().filter(|chain| chain.starts_with("KUBE-FW-"))?;
        let sources =
            save.rules("nat", chain).iter().flat_map(|rule| &rule.matches).filter_map(|condition| match condition {
                Match::Source(net, true) => Some(net.network()),
                _ => None,
            });
        Some((frontend(rule, family)?, sources.collect()))
    });
    told.collect()
}

/// The networks by which rules tell sources inside the cluster.
pub fn local_networks(save: &Save) -> BTreeSet<IpNet> {
    let chains = save.tables.get("nat").into_iter().flatten();
    let rules = chains.filter(|(name, _)| name.starts_with("KUBE-SV")).flat_map(|(_, chain)| &chain.rules);
    let marks = rules.filter(|rule| rule.target == Target::Jump("KUBE-MARK-MASQ".to_owned()));
    let told = marks.flat_map(|rule| &rule.matches).filter_map(|condition| match condition {
        Match::Source(net, false) => Some(*net),
        _ => None,
    });
    told.collect()
}

/// For each frontend that leads to endpoints how long clients stick to one, in seconds; `None` where they do not.
pub fn stickiness(save: &Save, family: Family) -> BTreeMap<Frontend, Option<u64>> {
    let rules = ["KUBE-SERVICES", "KUBE-NODEPORTS"].into_iter().flat_map(|chain| save.rules("nat", chain));
    rules.filter_map(|rule| Some((frontend(rule, family)?, affinity_from(save, rule.target.chain()?, 0)))).collect()
}

fn affinity_from(save: &Save, chain: &str, depth: usize) -> Option<u64> {
    let service =
        |chain: &&str| ["KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-"].iter().any(|p| chain.starts_with(p));
    save.rules("nat", chain).iter().filter(|_| depth < 4).find_map(|rule| {
        let learned = rule.matches.iter().find_map(|condition| match condition {
            Match::Learned(seconds) => Some(*seconds),
            _ => None,
        });
        learned.or_else(|| affinity_from(save, rule.target.chain().filter(service)?, depth + 1))
    })
}

/// What a rule with protocol and port is about: an address that stands alone, or any of the node's.
pub(super) fn frontend(rule: &Rule, family: Family) -> Option<Frontend> {
    let (mut ip, mut protocol, mut port) = (None, None, None);
    for condition in &rule.matches {
        match condition {
            Match::Destination(net, true) if net.prefix_len() == net.max_prefix_len() => ip = Some(net.addr()),
            // The narrower rule for loopback stands beside the general one.
            Match::Destination(..) => return None,
            Match::Protocol(number, true) => protocol = Protocol::from_number(*number),
            Match::DestinationPort(low, high, true) if low == high => port = Some(*low),
            _ => {}
        }
    }
    Some(Frontend { family, ip, protocol: protocol?, port: port? })
}

/// `ns/name:port` at the beginning of a comment.
fn name_in(comment: &str) -> Option<String> {
    comment.split(' ').next().filter(|name| name.contains('/')).map(str::to_owned)
}
