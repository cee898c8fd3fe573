//! The frame: the chains every node has, whatever the services, and the jumps from the built-in chains.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::rule::Rule;
use super::settings::Settings;
use super::{Table, names};
use crate::model::Family;

/// Service addresses: `nat` sends them on, `filter` refuses those without endpoints.
pub(super) const SERVICES: &str = "KUBE-SERVICES";
/// Node ports in `nat`; health check node ports in `filter`.
pub(super) const NODEPORTS: &str = "KUBE-NODEPORTS";
/// Masquerades what is marked.
pub(super) const POSTROUTING: &str = "KUBE-POSTROUTING";
/// Marks what is to be masqueraded.
pub(super) const MARK_MASQ: &str = "KUBE-MARK-MASQ";
/// Lets pass what was sent on.
pub(super) const FORWARD: &str = "KUBE-FORWARD";
/// Refuses external addresses and node ports without endpoints.
pub(super) const EXTERNAL: &str = "KUBE-EXTERNAL-SERVICES";
/// Drops what source ranges do not admit.
pub(super) const PROXY_FIREWALL: &str = "KUBE-PROXY-FIREWALL";
/// Drops strangers that speak to loopback addresses; kubelet keeps the same chain.
pub(super) const FIREWALL: &str = "KUBE-FIREWALL";
/// Stands in every table, so that a flush can be told by its absence.
pub const CANARY: &str = "KUBE-PROXY-CANARY";

/// Stands in the mangle table where the chains are ferroproxy's: then another mode of ferroproxy may remove them.
pub const MARK: &str = "FERROPROXY-HINT";

/// A jump from a built-in chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Jump {
    /// The table.
    pub table: Table,
    /// The built-in chain.
    pub from: &'static str,
    /// The chain it goes to.
    pub to: &'static str,
    comment: &'static str,
    only_new: bool,
    /// Whether only the protection of loopback addresses needs it.
    protects_loopback: bool,
}

const fn jump(
    table: Table,
    from: &'static str,
    to: &'static str,
    comment: &'static str,
    only_new: bool,
    protects_loopback: bool,
) -> Jump {
    Jump { table, from, to, comment, only_new, protects_loopback }
}

const PORTALS: &str = "kubernetes service portals";
const VISIBLE: &str = "kubernetes externally-visible service portals";
const BALANCERS: &str = "kubernetes load balancer firewall";

/// The jumps, in the order in which each is put before the others: the last one of a built-in chain is its first rule.
pub const JUMPS: [Jump; 14] = [
    jump(Table::Filter, "INPUT", EXTERNAL, VISIBLE, true, false),
    jump(Table::Filter, "FORWARD", EXTERNAL, VISIBLE, true, false),
    jump(Table::Filter, "INPUT", NODEPORTS, "kubernetes health check service ports", false, false),
    jump(Table::Filter, "FORWARD", SERVICES, PORTALS, true, false),
    jump(Table::Filter, "OUTPUT", SERVICES, PORTALS, true, false),
    jump(Table::Filter, "FORWARD", FORWARD, "kubernetes forwarding rules", false, false),
    jump(Table::Filter, "INPUT", PROXY_FIREWALL, BALANCERS, true, false),
    jump(Table::Filter, "OUTPUT", PROXY_FIREWALL, BALANCERS, true, false),
    jump(Table::Filter, "FORWARD", PROXY_FIREWALL, BALANCERS, true, false),
    jump(Table::Filter, "INPUT", FIREWALL, "", false, true),
    jump(Table::Filter, "OUTPUT", FIREWALL, "", false, true),
    jump(Table::Nat, "OUTPUT", SERVICES, PORTALS, false, false),
    jump(Table::Nat, "PREROUTING", SERVICES, PORTALS, false, false),
    jump(Table::Nat, "POSTROUTING", POSTROUTING, "kubernetes postrouting rules", false, false),
];

impl Jump {
    /// The rule, without the chain it stands in.
    pub fn rule(&self) -> String {
        let mut rule = Rule::default();
        if self.only_new {
            rule = rule.with("-m conntrack --ctstate NEW");
        }
        if !self.comment.is_empty() {
            rule = rule.comment(self.comment);
        }
        rule.then(self.to).to_string()
    }

    /// Whether it is wanted under these settings.
    pub(super) fn is_wanted(&self, family: Family, settings: &Settings) -> bool {
        !self.protects_loopback || settings.answers_on_loopback(family)
    }

    /// Whether it is ours to remove: kubelet keeps the protection of loopback addresses too.
    pub fn is_ours(&self) -> bool {
        !self.protects_loopback
    }
}

/// The chains all services share, in one family. Bodies that follow the services are written elsewhere.
pub(super) fn chains(family: Family, settings: &Settings) -> Vec<(Table, &'static str)> {
    let mut chains = vec![
        (Table::Filter, SERVICES),
        (Table::Filter, EXTERNAL),
        (Table::Filter, FORWARD),
        (Table::Filter, NODEPORTS),
        (Table::Filter, PROXY_FIREWALL),
        (Table::Nat, SERVICES),
        (Table::Nat, NODEPORTS),
        (Table::Nat, POSTROUTING),
        (Table::Nat, MARK_MASQ),
    ];
    chains.extend(Table::ALL.map(|table| (table, CANARY)));
    chains.push((Table::Mangle, MARK));
    if settings.answers_on_loopback(family) {
        chains.push((Table::Filter, FIREWALL));
    }
    chains
}

/// Whether a chain is ours, and goes where another mode takes over. KUBE-FIREWALL stays: it is kubelet's too.
pub fn is_ours(table: Table, chain: &str) -> bool {
    match table {
        Table::Filter => [SERVICES, EXTERNAL, FORWARD, NODEPORTS, PROXY_FIREWALL, CANARY].contains(&chain),
        Table::Nat => {
            [SERVICES, NODEPORTS, POSTROUTING, MARK_MASQ, CANARY].contains(&chain) || names::is_of_a_service(chain)
        }
        Table::Mangle => [CANARY, MARK].contains(&chain),
    }
}

/// The rules of a chain that depends on no service.
pub(super) fn body(table: Table, chain: &str, settings: &Settings) -> Vec<Rule> {
    let mark = settings.common.masquerade_mark;
    let has_mark = format!("--mark {mark:#x}/{mark:#x}");
    match (table, chain) {
        (Table::Nat, POSTROUTING) => vec![
            Rule::default().with(format_args!("-m mark ! {has_mark}")).then("RETURN"),
            // Cleared as the packet is masqueraded: a tunnel that wraps the packet would carry the bit along and be masqueraded too.
            Rule::default().then(format_args!("MARK --set-xmark {mark:#x}/0x0")),
            Rule::default().comment("kubernetes service traffic requiring SNAT").then("MASQUERADE --random-fully"),
        ],
        (Table::Nat, MARK_MASQ) => vec![Rule::default().then(format_args!("MARK --set-xmark {mark:#x}/{mark:#x}"))],
        (Table::Filter, FORWARD) => forward(&has_mark, settings.tcp_be_liberal),
        (Table::Filter, FIREWALL) => {
            let strangers = Rule::default().not_source(loopback(Family::V4)).destination(loopback(Family::V4));
            let strangers = strangers.comment("block incoming localnet connections");
            vec![strangers.with("-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT").then("DROP")]
        }
        _ => Vec::new(),
    }
}

/// What conntrack calls invalid is dropped: un-translated, it would reset a client's connection.
fn forward(has_mark: &str, liberal: bool) -> Vec<Rule> {
    let invalid = Rule::default().with("-m conntrack --ctstate INVALID").then("DROP");
    let marked = Rule::default().comment("kubernetes forwarding rules").with(format_args!("-m mark {has_mark}"));
    let known = Rule::default().comment("kubernetes forwarding conntrack rule");
    let known = known.with("-m conntrack --ctstate RELATED,ESTABLISHED");
    let dropped = (!liberal).then_some(invalid);
    dropped.into_iter().chain([marked.then("ACCEPT"), known.then("ACCEPT")]).collect()
}

/// Loopback addresses.
pub(super) fn loopback(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
        Family::V6 => IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128),
    }
}
