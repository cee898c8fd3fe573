//! Everything that is wanted, as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Table;
use super::compiler::{IptablesCompiler, of};
use super::dispatch::{self, to_node_ports};
use super::frame::{self, JUMPS, SERVICES};
use super::restore::{Body, Restore, tables};
use super::rule::Rule;
use super::shared::{Chain, Shared};
use crate::compile::ruleset::Name;
use crate::model::{Family, PerFamily};

impl IptablesCompiler {
    /// A shared chain: the services' own in the order of their names, addresses before node ports.
    pub(super) fn shared(&self, family: Family, chain: Chain) -> Shared {
        let (table, name) = chain;
        let (mut by_address, mut by_node_port) = (Vec::new(), Vec::new());
        for port in self.services.values().flat_map(|ports| of(family, ports)) {
            let mut lines = dispatch::lines(port, &self.settings);
            by_address.extend(lines.by_address.remove(&chain));
            by_node_port.extend(lines.by_node_port.remove(&chain));
        }
        let last = if chain == (Table::Nat, SERVICES) { to_node_ports(family, &self.settings) } else { Vec::new() };
        Shared { frame: frame::body(table, name, &self.settings), by_address, by_node_port, last }
    }

    /// A shared chain that is wanted, by its name.
    pub(super) fn known(&self, family: Family, table: Table, name: &str) -> Option<Chain> {
        frame::chains(family, &self.settings).into_iter().find(|chain| *chain == (table, name))
    }

    pub(super) fn shared_body(&self, family: Family, table: Table, name: &Name) -> Option<Body> {
        Some(self.shared(family, self.known(family, table, name.as_str())?).body(name))
    }

    /// Everything wanted in a family.
    pub(super) fn wanted(&self, family: Family) -> BTreeMap<(Table, Name), Body> {
        let shared = frame::chains(family, &self.settings).into_iter().map(|chain| {
            let name = Name::from(chain.1);
            let body = self.shared(family, chain).body(&name);
            ((chain.0, name), body)
        });
        let own = self.services.values().flat_map(|ports| self.own_chains(family, ports));
        shared.chain(own.map(|(name, body)| ((Table::Nat, name), body))).collect()
    }

    /// Rules wanted in a table of a family, jumps included. Costs nothing that grows with the cluster.
    pub fn rule_count(&self, family: Family, table: Table) -> usize {
        let tally = self.tally.get(family);
        let of_services = match table {
            Table::Nat => tally.nat + to_node_ports(family, &self.settings).len(),
            Table::Filter => tally.filter,
            Table::Mangle => 0,
        };
        let shared = frame::chains(family, &self.settings).into_iter().filter(|(of, _)| *of == table);
        let shared: usize = shared.map(|(table, chain)| frame::body(table, chain, &self.settings).len()).sum();
        let jumps = JUMPS.iter().filter(|jump| jump.table == table && jump.is_wanted(family, &self.settings));
        of_services + shared + jumps.count()
    }

    /// Everything, as for a node on which nothing stands.
    pub fn render(&self) -> Restore {
        let everything = |family| {
            let chains = self.wanted(family).into_iter().map(|((table, name), body)| (table, name, Some(body)));
            let jumps = JUMPS.into_iter().filter(|jump| jump.is_wanted(family, &self.settings));
            tables(chains, std::iter::empty(), jumps, std::iter::empty())
        };
        Restore {
            families: PerFamily::from_fn(|family| match self.settings.common.families.contains(&family) {
                true => everything(family),
                false => Vec::new(),
            }),
        }
    }
}

/// The rules of a chain as `iptables-restore` reads them.
pub(super) fn text<'a>(name: &Name, rules: impl IntoIterator<Item = &'a Rule>) -> Body {
    let mut text = String::new();
    for rule in rules {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "-A {name} {rule}");
    }
    text.into()
}
