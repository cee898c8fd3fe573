//! What `iptables-save` prints, as tables of chains.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::chains::OF_FERROPROXY;
use super::rule::{Match, Rule, rule};

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
    /// Which of them can match by what they ask of the packet first.
    index: Index,
}

/// The numbers of rules that ask for one address, else for one port, else for neither. A chain may have a rule for each of thousands of frontends.
#[derive(Clone, Debug, Default, PartialEq)]
struct Index {
    by_address: HashMap<IpAddr, Vec<usize>>,
    by_port: HashMap<u16, Vec<usize>>,
    others: Vec<usize>,
}

impl Chain {
    fn push(&mut self, rule: Rule) {
        let number = self.rules.len();
        let asks = |condition: &Match| match condition {
            Match::Destination(net, true) if net.prefix_len() == net.max_prefix_len() => Some((Some(net.addr()), None)),
            Match::DestinationPort(low, high, true) if low == high => Some((None, Some(*low))),
            _ => None,
        };
        let asked: Vec<_> = rule.matches.iter().filter_map(asks).collect();
        let address = asked.iter().find_map(|(address, _)| *address);
        match (address, asked.iter().find_map(|(_, port)| *port)) {
            (Some(address), _) => self.index.by_address.entry(address).or_default().push(number),
            (None, Some(port)) => self.index.by_port.entry(port).or_default().push(number),
            (None, None) => self.index.others.push(number),
        }
        self.rules.push(rule);
    }

    /// Puts rules before all others, each before those that came earlier.
    fn put_in_front(&mut self, rules: Vec<Rule>) {
        let after = std::mem::take(&mut self.rules);
        self.index = Index::default();
        rules.into_iter().rev().chain(after).for_each(|rule| self.push(rule));
    }

    /// The rules that may match a packet to this address and port, in order, with their numbers from 0.
    pub(super) fn candidates(&self, address: IpAddr, port: u16) -> impl Iterator<Item = (usize, &Rule)> {
        let Index { by_address, by_port, others } = &self.index;
        let exact = by_address.get(&address).into_iter().chain(by_port.get(&port)).flatten();
        let mut numbers: Vec<usize> = exact.chain(others).copied().collect();
        numbers.sort_unstable();
        numbers.into_iter().filter_map(|number| Some((number, self.rules.get(number)?)))
    }
}

impl Save {
    pub(super) fn chain(&self, table: &str, chain: &str) -> Option<&Chain> {
        self.tables.get(table)?.get(chain)
    }

    /// The rules of a chain; none when it is not there.
    pub(super) fn rules(&self, table: &str, chain: &str) -> &[Rule] {
        self.chain(table, chain).map_or(&[], |chain| &chain.rules)
    }

    /// Whether ferroproxy has taken the chains over, in its iptables mode.
    pub fn is_ferroproxys(&self) -> bool {
        self.chain("mangle", OF_FERROPROXY).is_some()
    }

    /// Whether kube-proxy has chains here.
    pub fn has_kube_proxy(&self) -> bool {
        if self.is_ferroproxys() {
            return false;
        }
        let mut names = self.tables.iter().flat_map(|(table, chains)| chains.keys().map(move |chain| (table, chain)));
        names.any(|(table, chain)| super::is_of_kube_proxy(table, chain))
    }

    /// Whether packets to Services pass chains of kube-proxy's here. A chain that somebody else holds on to stays after a cleanup.
    pub fn serves(&self) -> bool {
        !self.is_ferroproxys() && self.chain("nat", "KUBE-SERVICES").is_some()
    }

    /// Whether the ipvs mode wrote them.
    pub fn is_ipvs(&self) -> bool {
        self.chain("nat", "KUBE-LOAD-BALANCER").is_some()
    }
}

/// Reads it. Comments and counters are left out; lines of no known form too.
///
/// What `iptables-restore` is told on an empty node is read as well, rules put in front (`-I`) among it. Built-in chains are not declared
/// there: all of their rules are the writer's own.
pub fn parse(text: &str) -> Save {
    let mut save = Save::default();
    let mut table = String::new();
    let mut fronts = BTreeMap::<(String, String), Vec<Rule>>::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.trim().to_owned();
            save.tables.entry(table.clone()).or_default();
        } else if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split(' ');
            let (name, policy) = (words.next().unwrap_or_default(), words.next().unwrap_or("-"));
            let chain = Chain { policy: (policy != "-").then(|| policy.to_owned()), ..Chain::default() };
            save.tables.entry(table.clone()).or_default().insert(name.to_owned(), chain);
        } else if let Some((chain, text)) =
            without_counters(line).strip_prefix("-A ").and_then(|rest| rest.split_once(' '))
        {
            let chains = save.tables.entry(table.clone()).or_default();
            chains.entry(chain.to_owned()).or_default().push(rule(text.trim_end()));
        } else if let Some((chain, text)) = line.strip_prefix("-I ").and_then(|rest| rest.split_once(' ')) {
            fronts.entry((table.clone(), chain.to_owned())).or_default().push(rule(text));
        }
    }
    for ((table, chain), rules) in fronts {
        save.tables.entry(table).or_default().entry(chain).or_default().put_in_front(rules);
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
    fn only_rules_that_may_match_are_tried_and_in_order() {
        let lines = [
            "-d 10.0.0.1/32 -p tcp -m tcp --dport 80 -j a",
            "-p tcp -m tcp --dport 81 -j b",
            "-j c",
            "-d 10.0.0.0/8 -j d",
            "! -d 10.0.0.1/32 -j e",
        ];
        let text: String = lines.iter().map(|line| format!("-A X {line}\n")).collect();
        let save = parse(&format!("*nat\n:X - [0:0]\n{text}COMMIT\n"));
        let tried = |last: u8, port| {
            let rules = save.chain("nat", "X").unwrap().candidates([10, 0, 0, last].into(), port);
            rules.map(|(_, rule)| rule.target.chain().unwrap_or_default().to_owned()).collect::<Vec<_>>().concat()
        };
        assert_eq!([tried(1, 80), tried(1, 81), tried(2, 80)], ["acde", "abcde", "cde"]);
    }

    #[test]
    fn what_is_put_in_front_stands_before_what_was_there_and_the_last_first() {
        let save = parse("*nat\n:X - [0:0]\n-A OUTPUT -j c\n-I OUTPUT -j b\n-I OUTPUT -d 10.0.0.1/32 -j a\nCOMMIT\n");
        let chain = save.chain("nat", "OUTPUT").unwrap();
        let tried = |last: u8| {
            let rules = chain.candidates([10, 0, 0, last].into(), 80);
            rules.map(|(number, rule)| (number, rule.target.chain().unwrap_or_default())).collect::<Vec<_>>()
        };
        assert_eq!(tried(1), [(0, "a"), (1, "b"), (2, "c")]);
        assert_eq!(tried(2), [(1, "b"), (2, "c")]);
        assert_eq!(chain.policy, None);
    }

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
        let ours = parse("*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n*mangle\n:FERROPROXY-HINT - [0:0]\nCOMMIT\n");
        assert!(ours.is_ferroproxys() && !ours.has_kube_proxy() && !ours.serves());
    }
}
