//! What a service port writes into the chains all services share.

use std::collections::BTreeMap;

use super::Table;
use super::frame::{EXTERNAL, NODEPORTS, PROXY_FIREWALL, SERVICES, loopback};
use super::port::Port;
use super::rule::Rule;
use super::settings::Settings;
use crate::compile::claims::Frontend;
use crate::model::{Family, Protocol};
use crate::policy::Route;

/// The rules of one port in the shared chains. Within a chain the rules of addresses stand before those of node ports: an address is the more
/// particular claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    /// By address.
    pub(super) by_address: BTreeMap<(Table, &'static str), Vec<Rule>>,
    /// By node port.
    pub(super) by_node_port: BTreeMap<(Table, &'static str), Vec<Rule>>,
}

/// The rules of a port in one chain: by address, by node port.
pub(super) type LinesOf<'a> = (Option<&'a Vec<Rule>>, Option<&'a Vec<Rule>>);

impl Lines {
    /// The chains it has rules in.
    pub(super) fn chains(&self) -> impl Iterator<Item = (Table, &'static str)> {
        self.by_address.keys().chain(self.by_node_port.keys()).copied()
    }

    /// Its rules in a chain.
    pub(super) fn of(&self, chain: (Table, &'static str)) -> LinesOf<'_> {
        (self.by_address.get(&chain), self.by_node_port.get(&chain))
    }

    /// How many rules it has in a table.
    pub(super) fn count(&self, table: Table) -> usize {
        let all = self.by_address.iter().chain(&self.by_node_port);
        all.filter(|((of, _), _)| *of == table).map(|(_, rules)| rules.len()).sum()
    }
}

/// What a port writes.
pub(super) fn lines(port: &Port, settings: &Settings) -> Lines {
    let mut lines = Lines::default();
    for frontend in &port.owned {
        match frontend.ip {
            Some(_) if port.is_internal(frontend) => lines.internal(port, frontend, settings),
            Some(_) => lines.external(port, frontend, settings),
            None => lines.node_port(port, frontend, settings),
        }
    }
    if let Some(number) = port.health_check {
        let rule = Rule::default().comment(&format!("{} health check node port", port.routes.name));
        lines.node(Table::Filter, NODEPORTS, rule.port(Protocol::Tcp, number).then("ACCEPT"));
    }
    lines
}

impl Lines {
    fn address(&mut self, table: Table, chain: &'static str, rule: Rule) {
        self.by_address.entry((table, chain)).or_default().push(rule);
    }

    fn node(&mut self, table: Table, chain: &'static str, rule: Rule) {
        self.by_node_port.entry((table, chain)).or_default().push(rule);
    }

    fn internal(&mut self, port: &Port, frontend: &Frontend, settings: &Settings) {
        let guarded = port.guards(frontend);
        if guarded {
            self.guard(port, frontend, settings);
        }
        match port.routes.internal {
            Route::Balance(pool) => {
                let to = |rule: Rule| {
                    let rule = to_frontend(rule, frontend).comment(&format!("{} cluster IP", port.routes.name));
                    rule.port(frontend.protocol, frontend.port).then(port.chain_of(pool))
                };
                // A cluster IP that is a load-balancer IP as well is guarded as such.
                let sources = guarded.then(|| port.routes.admitted_sources(node_ip(port, settings)));
                match sources {
                    None => self.address(Table::Nat, SERVICES, to(Rule::default())),
                    Some(ranges) => ranges
                        .into_iter()
                        .for_each(|range| self.address(Table::Nat, SERVICES, to(Rule::default().source(range)))),
                }
            }
            refused => self.refuse(SERVICES, port, frontend, refused, to_frontend(Rule::default(), frontend)),
        }
    }

    fn external(&mut self, port: &Port, frontend: &Frontend, settings: &Settings) {
        let guarded = port.guards(frontend);
        if guarded {
            self.guard(port, frontend, settings);
        }
        let balanced = frontend.ip.is_some_and(|ip| port.routes.load_balancer_ips.contains(&ip));
        if port.has_endpoints() {
            let (what, chain) = match (balanced, guarded) {
                (true, true) => ("loadbalancer IP", &port.names.fw),
                (true, false) => ("loadbalancer IP", &port.names.ext),
                (false, _) => ("external IP", &port.names.ext),
            };
            let rule = to_frontend(Rule::default(), frontend).comment(&format!("{} {what}", port.routes.name));
            self.address(Table::Nat, SERVICES, rule.port(frontend.protocol, frontend.port).then(chain));
        }
        // What the node itself sends leaves by OUTPUT, which never comes by KUBE-EXTERNAL-SERVICES.
        let chains: &[&'static str] = match port.routes.external {
            Route::Balance(_) => &[],
            Route::Drop => &[EXTERNAL],
            Route::Reject => &[EXTERNAL, SERVICES],
        };
        for chain in chains {
            self.refuse(chain, port, frontend, port.routes.external, to_frontend(Rule::default(), frontend));
        }
    }

    fn node_port(&mut self, port: &Port, frontend: &Frontend, settings: &Settings) {
        if port.has_endpoints() {
            let rule = Rule::default().comment(&port.routes.name.to_string());
            let rule = rule.port(frontend.protocol, frontend.port).then(&port.names.ext);
            self.node(Table::Nat, NODEPORTS, rule);
        }
        if !matches!(port.routes.external, Route::Balance(_)) {
            for here in where_node_ports_answer(frontend.family, settings) {
                self.refuse(EXTERNAL, port, frontend, port.routes.external, here);
            }
        }
    }

    /// Drops what the source ranges do not admit. What they admit was sent on in `nat`, and has another destination by now; without
    /// endpoints it was not, and is let through to be refused.
    fn guard(&mut self, port: &Port, frontend: &Frontend, settings: &Settings) {
        let here = |rule: Rule| {
            let said = format!("{} traffic not accepted by {}", port.routes.name, port.names.fw);
            to_frontend(rule, frontend).comment(&said).port(frontend.protocol, frontend.port)
        };
        if !port.has_endpoints() {
            for range in port.routes.admitted_sources(node_ip(port, settings)) {
                self.address(Table::Filter, PROXY_FIREWALL, here(Rule::default().source(range)).then("RETURN"));
            }
        }
        self.address(Table::Filter, PROXY_FIREWALL, here(Rule::default()).then("DROP"));
    }

    fn refuse(&mut self, chain: &'static str, port: &Port, frontend: &Frontend, route: Route, here: Rule) {
        let why = if route == Route::Drop { "local endpoints" } else { "endpoints" };
        let rule = here.comment(&format!("{} has no {why}", port.routes.name)).port(frontend.protocol, frontend.port);
        let rule = match route {
            Route::Drop => rule.then("DROP"),
            _ => rule.reject(frontend.family, frontend.protocol),
        };
        match frontend.ip {
            Some(_) => self.address(Table::Filter, chain, rule),
            None => self.node(Table::Filter, chain, rule),
        }
    }
}

fn node_ip(port: &Port, settings: &Settings) -> Option<std::net::IpAddr> {
    *settings.common.node_ips.get(port.routes.family)
}

fn to_frontend(rule: Rule, frontend: &Frontend) -> Rule {
    match frontend.ip {
        Some(ip) => rule.address(ip),
        None => rule,
    }
}

/// Matches for the addresses on which node ports answer: one for all, or one for each.
pub(super) fn where_node_ports_answer(family: Family, settings: &Settings) -> Vec<Rule> {
    match settings.common.node_port_ips(family) {
        None => {
            let any = match settings.answers_on_loopback(family) {
                true => Rule::default(),
                false => Rule::default().not_destination(loopback(family)),
            };
            vec![any.with("-m addrtype --dst-type LOCAL")]
        }
        Some(ips) => ips.iter().map(|ip| Rule::default().address(*ip)).collect(),
    }
}

/// The last rules of `nat` KUBE-SERVICES.
pub(super) fn to_node_ports(family: Family, settings: &Settings) -> Vec<Rule> {
    let last = "kubernetes service nodeports; NOTE: this must be the last rule in this chain";
    let comes = where_node_ports_answer(family, settings).into_iter();
    comes.map(|rule| rule.comment(last).then(NODEPORTS)).collect()
}
