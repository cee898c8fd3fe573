//! The frame: the chains every table has, whatever the services.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::bytes::Bytes;
use super::layout::{Reach, SetId, frontend_fields, hairpin_fields};
use super::ruleset::{Chain, ChainKind, Element, Field, Hook, HookPoint, Name, Value, Verdict};
use super::settings::Settings;
use super::stmt::{Is, Rule, Stmt};
use super::treatment::{MARK_MASQ, REJECT};
use crate::model::{Family, Protocol};

/// `NF_IP_PRI_NAT_DST`.
const DSTNAT: i32 = -100;
/// `NF_IP_PRI_NAT_SRC`.
const SRCNAT: i32 = 100;
/// After every other agent's destination NAT had its turn.
const AFTER_DSTNAT: i32 = DSTNAT + 10;

const SERVICES: &str = "KUBE-SERVICES";
const NODEPORTS: &str = "KUBE-NODEPORTS";
const POSTROUTING: &str = "KUBE-POSTROUTING";
const MISS: &str = "KUBE-MISS";

/// The frame's chains in one family.
pub(super) fn chains(family: Family, settings: &Settings) -> Vec<(Name, Chain)> {
    let mut chains: Vec<(Name, Chain)> =
        base_chains().map(|(name, hook, to)| (Name::from(name), base(hook, to))).to_vec();
    let plain = [
        (SERVICES, services(family, settings)),
        (NODEPORTS, nodeports(settings)),
        (MARK_MASQ, vec![Rule::new([Stmt::MarkSet(settings.masquerade_mark)])]),
        (POSTROUTING, postrouting(family, settings)),
        (REJECT, reject()),
        (MISS, miss(family)),
    ];
    chains.extend(plain.map(|(name, rules)| (Name::from(name), Chain { hook: None, rules })));
    chains
}

fn base_chains() -> [(&'static str, Hook, &'static str); 5] {
    let hook = |point, priority| Hook { kind: ChainKind::Nat, point, priority };
    [
        ("nat-prerouting", hook(HookPoint::Prerouting, DSTNAT), SERVICES),
        ("nat-output", hook(HookPoint::Output, DSTNAT), SERVICES),
        ("nat-postrouting", hook(HookPoint::Postrouting, SRCNAT), POSTROUTING),
        ("nat-prerouting-late", hook(HookPoint::Prerouting, AFTER_DSTNAT), MISS),
        ("nat-output-late", hook(HookPoint::Output, AFTER_DSTNAT), MISS),
    ]
}

fn base(hook: Hook, to: &str) -> Chain {
    Chain { hook: Some(hook), rules: vec![Rule::new([Stmt::Verdict(Verdict::Jump(to.into()))])] }
}

fn services(family: Family, settings: &Settings) -> Vec<Rule> {
    let to_nodeports = Stmt::Verdict(Verdict::Goto(NODEPORTS.into()));
    let node_ports = match settings.node_port_ips(family).is_none() {
        true => {
            let not_loopback = Stmt::Net(Field::Daddr(family), Is::NotIn, loopback(family));
            Rule::new([Stmt::DestinationIsLocal(Is::In), not_loopback, to_nodeports])
        }
        false => {
            let ours = Stmt::InSet(vec![Field::Daddr(family)], Is::In, SetId::NodePortIps.name());
            Rule::new([ours, to_nodeports])
        }
    };
    let to_services = Rule::new([Stmt::Vmap(frontend_fields(family), SetId::Services.name())]);
    let counted = count(settings, frontend_fields(family), Reach::Address);
    counted.into_iter().chain([to_services, node_ports]).collect()
}

/// A rule that does nothing but look the frontend up: found elements count.
fn count(settings: &Settings, key: Vec<Field>, reach: Reach) -> Option<Rule> {
    let rule = || Rule::new([Stmt::InSet(key, Is::In, SetId::Counted(reach).name())]).comment("counts new connections");
    settings.count_connections.then(rule)
}

fn nodeports(settings: &Settings) -> Vec<Rule> {
    let key = || vec![Field::L4Proto, Field::Dport];
    let to_services = Rule::new([Stmt::Vmap(key(), SetId::NodePorts.name())]);
    count(settings, key(), Reach::NodePort).into_iter().chain([to_services]).collect()
}

fn postrouting(family: Family, settings: &Settings) -> Vec<Rule> {
    let mark = settings.masquerade_mark;
    let hairpin = Stmt::InSet(hairpin_fields(family), Is::In, SetId::Hairpin.name());
    vec![
        // Cleared as the packet is masqueraded: a tunnel that wraps the packet would carry the bit along and be masqueraded too.
        Rule::new([Stmt::MarkHas(mark), Stmt::MarkToggle(mark), Stmt::Masquerade]),
        Rule::new([Stmt::WasDnated, hairpin, Stmt::Masquerade]).comment("an endpoint that reaches itself"),
    ]
}

fn reject() -> Vec<Rule> {
    vec![
        Rule::new([Stmt::L4Proto(Protocol::Tcp.number()), Stmt::RejectTcpReset]),
        Rule::new([Stmt::RejectPortUnreachable]),
    ]
}

/// What is to a service range and was no frontend. Addresses of the node itself are spared: a node-local cache binds a cluster IP.
fn miss(family: Family) -> Vec<Rule> {
    // The route is looked up last: it costs more than both sets, and nearly no packet comes so far.
    let to = |set: SetId, verdict: Verdict| {
        let destination = Stmt::InSet(vec![Field::Daddr(family)], Is::In, set.name());
        Rule::new([destination, Stmt::DestinationIsLocal(Is::NotIn), Stmt::Verdict(verdict)])
    };
    vec![
        to(SetId::ClusterIps, Verdict::Goto(REJECT.into())).comment("other ports of active cluster IPs"),
        to(SetId::ServiceCidrs, Verdict::Drop).comment("unallocated cluster IPs"),
    ]
}

fn loopback(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
        Family::V6 => IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128),
    }
}

/// The elements of the sets that follow the settings.
pub(super) fn elements(family: Family, settings: &Settings) -> [(SetId, BTreeMap<Bytes, Element>); 2] {
    let cidrs = settings.joined_service_cidrs(family).into_iter().map(|net| {
        let until = Value::Until(Bytes::new().addr(net.broadcast()));
        (Bytes::new().addr(net.network()), Element { value: until, comment: None })
    });
    let ips = settings.node_port_ips(family).into_iter().flatten();
    let ips = ips.map(|ip| (Bytes::new().addr(*ip), Element { value: Value::Present, comment: None }));
    [(SetId::ServiceCidrs, cidrs.collect()), (SetId::NodePortIps, ips.collect())]
}
