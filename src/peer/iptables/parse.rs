//! What `iptables-save` prints, as tables of chains.

use std::collections::BTreeMap;

use super::rule::{Rule, rule};

/// All tables of one family, as printed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Save {
    pub(super) tables: BTreeMap<String, BTreeMap<String, Chain>>,
}

/// One chain.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Chain {
    /// `ACCEPT` or `DROP` for a built-in chain.
    pub(super) policy: Option<String>,
    /// Its rules in order.
    pub(super) rules: Vec<Rule>,
}

impl Save {
    pub(super) fn chain(&self, table: &str, chain: &str) -> Option<&Chain> {
        self.tables.get(table)?.get(chain)
    }

    /// The rules of a chain; none when it is not there.
    pub(super) fn rules(&self, table: &str, chain: &str) -> &[Rule] {
        self.chain(table, chain).map_or(&[], |chain| &chain.rules)
    }

    /// Whether kube-proxy has chains here.
    pub fn has_kube_proxy(&self) -> bool {
        let mut names = self.tables.iter().flat_map(|(table, chains)| chains.keys().map(move |chain| (table, chain)));
        names.any(|(table, chain)| super::is_of_kube_proxy(table, chain))
    }

    /// Whether packets to Services pass chains of kube-proxy's here. A chain that somebody else holds on to stays after a cleanup.
    pub fn serves(&self) -> bool {
        self.chain("nat", "KUBE-SERVICES").is_some()
    }

    /// Whether the ipvs mode wrote them.
    pub fn is_ipvs(&self) -> bool {
        self.chain("nat", "KUBE-LOAD-BALANCER").is_some()
    }
}

/// Reads it. Comments and counters are left out; lines of no known form too.
pub fn parse(text: &str) -> Save {
    let mut save = Save::default();
    let mut table = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.trim().to_owned();
            save.tables.entry(table.clone()).or_default();
        } else if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split(' ');
            let (name, policy) = (words.next().unwrap_or_default(), words.next().unwrap_or("-"));
            let chain = Chain { policy: (policy != "-").then(|| policy.to_owned()), rules: Vec::new() };
            save.tables.entry(table.clone()).or_default().insert(name.to_owned(), chain);
        } else if let Some((chain, text)) =
            without_counters(line).strip_prefix("-A ").and_then(|rest| rest.split_once(' '))
        {
            let chains = save.tables.entry(table.clone()).or_default();
            chains.entry(chain.to_owned()).or_default().rules.push(rule(text.trim_end()));
        }
    }
    save
}

/// `[packets:bytes] ` before a rule, with `-c`.
fn without_counters(line: &str) -> &str {
    match line.strip_prefix('[') {
        Some(rest) => rest.split_once("] ").map_or(line, |(_, rule)| rule),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_chains_and_rules_are_told_apart() {
        let save = parse(
            "# made up\n*nat\n:PREROUTING ACCEPT [1:2]\n:KUBE-SERVICES - [0:0]\n[3:4] -A PREROUTING -j KUBE-SERVICES\nCOMMIT\n\
             *filter\n:FORWARD DROP [0:0]\nCOMMIT\n",
        );
        assert_eq!(save.chain("nat", "PREROUTING").unwrap().rules, [rule("-j KUBE-SERVICES")]);
        assert_eq!(save.chain("filter", "FORWARD").unwrap().policy.as_deref(), Some("DROP"));
        assert!(save.has_kube_proxy() && save.serves() && !save.is_ipvs());
        let held = parse("*nat\n:KUBE-MARK-MASQ - [0:0]\nCOMMIT\n");
        assert!(held.has_kube_proxy() && !held.serves());
    }
}
