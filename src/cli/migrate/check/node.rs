//! Findings about the kernel and the node.

use super::facts::Facts;
use super::finding::Finding;
use super::finding::Severity::{Breaks, Differs, Note};
use super::settings::Asked;

/// What the node alone tells, and with the configuration.
pub(super) fn findings(asked: &Asked<'_>, facts: &Facts) -> Vec<Finding> {
    let mut findings = kernel(facts);
    findings.extend(bridges(facts));
    findings.extend(conntrack(facts));
    findings.extend(loopback(asked, facts));
    findings.extend(running(asked, facts));
    findings.extend(nft(facts));
    findings
}

fn kernel(facts: &Facts) -> Vec<Finding> {
    let severity = if facts.is_able { Differs } else { Breaks };
    let meaning = match facts.is_able {
        true => "ferroproxy writes no rules for this family",
        false => "ferroproxy cannot run on this node",
    };
    let told = |complaint: &String| {
        let advice = "a kernel with nf_tables, 5.13 or later; 6.1 and later are what ferroproxy is tested for";
        Finding::new("kernel", severity, complaint.clone(), meaning, advice)
    };
    facts.complaints.iter().map(told).collect()
}

/// The answer between two ports of a bridge bypasses conntrack, unless the bridge calls netfilter.
fn bridges(facts: &Facts) -> Vec<Finding> {
    if facts.bridges.is_empty() {
        return Vec::new();
    }
    let unfiltered = facts.bridged_is_filtered.iter().filter(|(_, filtered)| !filtered);
    let told = |(family, _): &(crate::model::Family, bool)| {
        Finding::new(
            "bridge-netfilter",
            Differs,
            format!("{family} packets between ports of {} do not pass netfilter", facts.bridges.join(", ")),
            "a pod that reaches a pod of the same bridge through a Service gets answers from an address it did not ask, and drops them; kube-proxy \
             cannot help that either",
            "modprobe br_netfilter, and set net.bridge.bridge-nf-call-iptables and bridge-nf-call-ip6tables to 1, unless the bridge's ports are isolated",
        )
    };
    unfiltered.map(told).collect()
}

fn conntrack(facts: &Facts) -> Vec<Finding> {
    let told = |(name, now, wanted): &(&str, u64, u64)| {
        Finding::new(
            "conntrack",
            Note,
            format!("{name} is {now}; the configuration asks for {wanted}"),
            "somebody else has set it, or kube-proxy could not: ferroproxy will set it where it may",
            "nothing, or say in the conntrack section what it should be",
        )
    };
    facts.conntrack.iter().filter(|(_, now, wanted)| now != wanted).map(told).collect()
}

fn loopback(asked: &Asked<'_>, facts: &Facts) -> Option<Finding> {
    (facts.routes_loopback && asked.leaves_older_mode()).then(|| {
        Finding::new(
            "route-localnet",
            Note,
            "net.ipv4.conf.all.route_localnet is 1, as kube-proxy sets it for node ports on 127.0.0.1",
            "ferroproxy does not need it, and it lets neighbours reach what listens on loopback unless a firewall forbids it",
            "after the takeover: sysctl -w net.ipv4.conf.all.route_localnet=0, unless something else needs it",
        )
    })
}

fn running(asked: &Asked<'_>, facts: &Facts) -> Option<Finding> {
    let sign = facts.running.as_ref()?;
    let hard = asked.file().bind_address_hard_fail == Some(true);
    let meaning = match hard {
        true => "its ports are taken, and with bindAddressHardFail ferroproxy exits because of that",
        false => {
            "both can run for the time of the takeover; ferroproxy takes the health and metrics ports when kube-proxy is gone"
        }
    };
    let advice = "first `migrate verify`, then start ferroproxy, stop kube-proxy, and run `cleanup --kube-proxy`";
    Some(Finding::new("kube-proxy-runs", if hard { Breaks } else { Note }, sign.clone(), meaning, advice))
}

fn nft(facts: &Facts) -> Option<Finding> {
    (!facts.has_nft).then(|| {
        Finding::new(
            "nft",
            Note,
            "there is no nft binary on this node",
            "ferroproxy does without; only people would use it to look at the rules",
            "install nftables to look, or use `ferroproxy diff` and `ferroproxy explain --live`",
        )
    })
}
