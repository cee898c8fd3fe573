//! The chains a service port has for itself, all in `nat`.

use std::collections::BTreeMap;

use super::frame::MARK_MASQ;
use super::names;
use super::port::Port;
use super::rule::Rule;
use super::settings::Settings;
use crate::compile::ruleset::Name;
use crate::model::{EndpointAddr, Family, TrafficPolicy};
use crate::policy::{Pool, Route};

/// What the chains of a port depend on besides its routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    pub(super) settings: &'a Settings,
    /// Whether rules of endpoints say whose they are. In a large cluster that is nearly half of all text, and left out.
    pub(super) comments: bool,
}

/// The chains of a port with their rules.
pub(super) fn chains(port: &Port, manner: Manner<'_>) -> BTreeMap<Name, Vec<Rule>> {
    let mut chains = BTreeMap::new();
    if port.has_external_chain() {
        chains.insert(port.names.ext.clone(), external(port, manner.settings));
    }
    if guards_a_chain(port) {
        chains.insert(port.names.fw.clone(), firewall(port, manner.settings));
    }
    for (pool, name) in [(Pool::Cluster, &port.names.svc), (Pool::Local, &port.names.svl)] {
        if !port.routes.pool(pool).is_empty() {
            chains.insert(name.clone(), balance(port, pool, manner));
        }
    }
    for addr in port.endpoints() {
        chains.insert(endpoint_name(port, addr), endpoint(port, addr, manner));
    }
    chains
}

fn endpoint_name(port: &Port, addr: EndpointAddr) -> Name {
    names::endpoint(&port.routes.name.to_string(), port.routes.protocol, addr)
}

/// Whether some load-balancer IP leads to the chain of the source ranges.
fn guards_a_chain(port: &Port) -> bool {
    port.has_external_chain() && port.owned.iter().any(|f| port.guards(f) && !port.is_internal(f))
}

/// External traffic: masqueraded under the Cluster policy; under the Local policy the cluster's own and the node's goes to any endpoint.
fn external(port: &Port, settings: &Settings) -> Vec<Rule> {
    let (routes, name) = (&port.routes, port.routes.name.to_string());
    let mut rules = Vec::new();
    let said = |what: &str, rule: Rule| rule.comment(&format!("{what} traffic for {name} external destinations"));
    match routes.external_policy {
        TrafficPolicy::Cluster => {
            rules.push(said("masquerade", Rule::default()).then(MARK_MASQ));
        }
        TrafficPolicy::Local if !routes.cluster.is_empty() => {
            let local = "-m addrtype --src-type LOCAL";
            let of_pods = Rule::default().local(settings.common.locality.get(routes.family), true);
            rules.extend(of_pods.map(|rule| said("pod", rule).then(&port.names.svc)));
            rules.push(said("masquerade LOCAL", Rule::default()).with(local).then(MARK_MASQ));
            rules.push(said("route LOCAL", Rule::default()).with(local).then(&port.names.svc));
        }
        TrafficPolicy::Local => {}
    }
    if let Route::Balance(pool) = routes.external {
        rules.push(Rule::default().then(port.chain_of(pool)));
    }
    rules
}

/// Load-balancer traffic: whom the source ranges admit goes on, the rest falls out and is dropped by `filter`.
fn firewall(port: &Port, settings: &Settings) -> Vec<Rule> {
    let name = port.routes.name.to_string();
    let node_ip = *settings.common.node_ips.get(port.routes.family);
    let admitted = port.routes.admitted_sources(node_ip).into_iter();
    let on = |rule: Rule| rule.comment(&format!("{name} loadbalancer IP")).then(&port.names.ext);
    let rest = Rule::default().comment(&format!("other traffic to {name} will be dropped by KUBE-PROXY-FIREWALL"));
    admitted.map(|range| on(Rule::default().source(range))).chain([rest]).collect()
}

/// One endpoint of a pool: the one this client had, else any with equal chance.
fn balance(port: &Port, pool: Pool, manner: Manner<'_>) -> Vec<Rule> {
    let endpoints = port.routes.pool(pool);
    let named: Vec<(EndpointAddr, Name)> = endpoints.iter().map(|addr| (*addr, endpoint_name(port, *addr))).collect();
    let mut rules: Vec<Rule> = masquerade(port, pool, manner.settings).into_iter().collect();
    let to = |addr: &EndpointAddr| match manner.comments {
        true => Rule::default().comment(&format!("{} -> {addr}", port.routes.name)),
        false => Rule::default(),
    };
    if let Some(seconds) = port.routes.affinity {
        let mask = mask(port.routes.family);
        let had = |name: &Name| {
            format!("-m recent --rcheck --seconds {seconds} --reap --name {name} --mask {mask} --rsource")
        };
        rules.extend(named.iter().map(|(addr, name)| to(addr).with(had(name)).then(name)));
    }
    for (index, (addr, name)) in named.iter().enumerate() {
        let rule = match named.len() - index {
            1 => to(addr),
            left => to(addr).one_in(left),
        };
        rules.push(rule.then(name));
    }
    rules
}

/// Cluster-IP traffic whose source is not local to the cluster is masqueraded: its answer must come back this way.
fn masquerade(port: &Port, pool: Pool, settings: &Settings) -> Option<Rule> {
    let routes = &port.routes;
    if routes.internal != Route::Balance(pool) {
        return None;
    }
    let here = Rule::default().address(routes.cluster_ip);
    let here = match settings.common.masquerade_all {
        true => here,
        false => here.local(settings.common.locality.get(routes.family), false)?,
    };
    let here = here.comment(&format!("{} cluster IP", routes.name)).port(routes.protocol, routes.port);
    Some(here.then(MARK_MASQ))
}

/// One endpoint: its traffic to itself is masqueraded, then all of it is sent there.
fn endpoint(port: &Port, addr: EndpointAddr, manner: Manner<'_>) -> Vec<Rule> {
    let named = || match manner.comments {
        true => Rule::default().comment(&port.routes.name.to_string()),
        false => Rule::default(),
    };
    let mut there = named();
    if port.routes.affinity.is_some() {
        let (name, mask) = (endpoint_name(port, addr), mask(port.routes.family));
        there = there.with(format_args!("-m recent --set --name {name} --mask {mask} --rsource"));
    }
    let there = there.of_its_protocol(port.routes.protocol).dnat(addr);
    vec![named().source(addr.ip.into()).then(MARK_MASQ), there]
}

/// The mask of all bits, as `recent` writes it.
fn mask(family: Family) -> &'static str {
    match family {
        Family::V4 => "255.255.255.255",
        Family::V6 => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    }
}
