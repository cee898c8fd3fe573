//! Which chains and jumps are kube-proxy's: those its own cleanup removes, in its iptables and its ipvs mode
//! (`pkg/proxy/iptables/cleanup.go` and `pkg/proxy/ipvs/cleanup.go` of Kubernetes 1.36).
//!
//! kubelet's chains are none of them: KUBE-FIREWALL, KUBE-KUBELET-CANARY, KUBE-IPTABLES-HINT, KUBE-MARK-DROP.

use super::rule::Rule;

/// Chains by table.
const CHAINS: &[(&str, &[&str])] = &[
    (
        "nat",
        &[
            "KUBE-SERVICES",
            "KUBE-NODEPORTS",
            "KUBE-POSTROUTING",
            "KUBE-MARK-MASQ",
            "KUBE-PROXY-CANARY",
            "KUBE-NODE-PORT",
            "KUBE-LOAD-BALANCER",
        ],
    ),
    (
        "filter",
        &[
            "KUBE-SERVICES",
            "KUBE-EXTERNAL-SERVICES",
            "KUBE-FORWARD",
            "KUBE-NODEPORTS",
            "KUBE-PROXY-FIREWALL",
            "KUBE-PROXY-CANARY",
            "KUBE-NODE-PORT",
            "KUBE-SOURCE-RANGES-FIREWALL",
            "KUBE-IPVS-FILTER",
            "KUBE-IPVS-OUT-FILTER",
        ],
    ),
    ("mangle", &["KUBE-PROXY-CANARY"]),
];

/// Stands in the mangle table where chains of these names are ferroproxy's own, in its iptables mode.
pub(in crate::peer) const OF_FERROPROXY: &str = "FERROPROXY-HINT";

/// How the names of the nat chains of one service or endpoint begin.
const OF_SERVICES: [&str; 5] = ["KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-"];

/// Where kube-proxy jumps from, with the comment it writes: table, chain, target, comment.
const JUMPS: &[(&str, &str, &str, &str)] = &[
    ("filter", "INPUT", "KUBE-EXTERNAL-SERVICES", "kubernetes externally-visible service portals"),
    ("filter", "FORWARD", "KUBE-EXTERNAL-SERVICES", "kubernetes externally-visible service portals"),
    ("filter", "INPUT", "KUBE-NODEPORTS", "kubernetes health check service ports"),
    ("filter", "FORWARD", "KUBE-SERVICES", "kubernetes service portals"),
    ("filter", "OUTPUT", "KUBE-SERVICES", "kubernetes service portals"),
    ("filter", "FORWARD", "KUBE-FORWARD", "kubernetes forwarding rules"),
    ("filter", "INPUT", "KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall"),
    ("filter", "OUTPUT", "KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall"),
    ("filter", "FORWARD", "KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall"),
    ("nat", "OUTPUT", "KUBE-SERVICES", "kubernetes service portals"),
    ("nat", "PREROUTING", "KUBE-SERVICES", "kubernetes service portals"),
    ("nat", "POSTROUTING", "KUBE-POSTROUTING", "kubernetes postrouting rules"),
    ("filter", "INPUT", "KUBE-NODE-PORT", "kubernetes health check rules"),
    ("filter", "INPUT", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
    ("filter", "FORWARD", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
    ("filter", "INPUT", "KUBE-IPVS-FILTER", "kubernetes ipvs access filter"),
    ("filter", "OUTPUT", "KUBE-IPVS-OUT-FILTER", "kubernetes ipvs access filter"),
];

/// Whether a chain of a table is one of kube-proxy's.
pub fn is_of_kube_proxy(table: &str, chain: &str) -> bool {
    let named = CHAINS.iter().any(|(of, chains)| *of == table && chains.contains(&chain));
    named || (table == "nat" && OF_SERVICES.iter().any(|prefix| chain.starts_with(prefix)))
}

/// Whether a rule of a built-in chain is one of kube-proxy's jumps to its own chains.
pub(super) fn is_jump_of_kube_proxy(table: &str, chain: &str, rule: &Rule) -> bool {
    let Some(target) = rule.target.chain() else { return false };
    let comment = rule.comment.as_deref().unwrap_or_default();
    JUMPS.contains(&(table, chain, target, comment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelets_chains_are_left_alone() {
        for (table, chain) in [
            ("filter", "KUBE-FIREWALL"),
            ("mangle", "KUBE-KUBELET-CANARY"),
            ("nat", "KUBE-KUBELET-CANARY"),
            ("mangle", "KUBE-IPTABLES-HINT"),
            ("nat", "KUBE-MARK-DROP"),
            ("mangle", "KUBE-SERVICES"),
            ("filter", "KUBE-SVC-ABCDEFGHIJKLMNOP"),
            ("nat", "cali-PREROUTING"),
        ] {
            assert!(!is_of_kube_proxy(table, chain), "{table} {chain}");
        }
    }

    #[test]
    fn service_chains_are_told_by_their_prefix() {
        for kind in ["SVC", "SVL", "SEP", "FW", "EXT"] {
            assert!(is_of_kube_proxy("nat", &format!("KUBE-{kind}-ABCDEFGHIJKLMNOP")));
        }
        assert!(is_of_kube_proxy("filter", "KUBE-FORWARD") && is_of_kube_proxy("mangle", "KUBE-PROXY-CANARY"));
    }
}
