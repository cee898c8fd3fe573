//! What takes kube-proxy's chains out of a set of tables and leaves the rest as it is.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::chains::{is_jump_of_kube_proxy, is_of_kube_proxy};
use super::parse::{Chain, Save};

/// The removal, as text for `iptables-restore --noflush`: one transaction a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// What iptables-restore reads.
    pub text: String,
    /// What goes, a line each: table and chain, or table and jump.
    pub removed: Vec<String>,
    /// Rules of others that lead to kube-proxy's chains: those chains are emptied and stay, because the rule stays.
    pub referring: Vec<String>,
}

/// The removal; `None` when nothing of kube-proxy is there.
pub fn cut(save: &Save) -> Option<Cut> {
    if save.is_ferroproxys() {
        return None;
    }
    let mut cut = Cut { text: String::new(), removed: Vec::new(), referring: Vec::new() };
    for (table, chains) in &save.tables {
        let ours: BTreeSet<&str> =
            chains.keys().map(String::as_str).filter(|name| is_of_kube_proxy(table, name)).collect();
        if !ours.is_empty() {
            cut.table(table, chains.iter().map(|(name, chain)| (name.as_str(), chain)).collect(), &ours);
        }
    }
    (!cut.removed.is_empty()).then_some(cut)
}

impl Cut {
    fn table(&mut self, table: &str, chains: Vec<(&str, &Chain)>, ours: &BTreeSet<&str>) {
        let (mut jumps, mut held) = (Vec::new(), BTreeSet::new());
        for (name, chain) in chains.iter().filter(|(name, _)| !ours.contains(name)) {
            for rule in &chain.rules {
                match rule.target.chain().filter(|target| ours.contains(target)) {
                    Some(_) if is_jump_of_kube_proxy(table, name, rule) => jumps.push(format!("{name} {}", rule.text)),
                    Some(target) => {
                        held.insert(target);
                        self.referring.push(format!("{table}: -A {name} {}", rule.text));
                    }
                    None => {}
                }
            }
        }
        let (mut stay, gone): (Vec<&str>, Vec<&str>) = ours.iter().partition(|chain| held.contains(*chain));
        // One that an earlier cleanup has emptied is done.
        let is_empty = |name: &str| chains.iter().any(|(other, chain)| *other == name && chain.rules.is_empty());
        stay.retain(|name| !is_empty(name));
        // A chain that is declared is emptied. Writing to a string does not fail.
        let _ = writeln!(self.text, "*{table}");
        for chain in stay.iter().chain(&gone) {
            let _ = writeln!(self.text, ":{chain} - [0:0]");
        }
        for jump in &jumps {
            let _ = writeln!(self.text, "-D {jump}");
        }
        for chain in &gone {
            let _ = writeln!(self.text, "-X {chain}");
        }
        self.text.push_str("COMMIT\n");
        self.removed.extend(jumps.iter().map(|jump| format!("{table}: -A {jump}")));
        self.removed.extend(gone.iter().map(|chain| format!("{table}: chain {chain}")));
        self.removed.extend(stay.iter().map(|chain| format!("{table}: the rules of chain {chain}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::iptables::parse;

    #[test]
    fn jumps_and_chains_go_and_everything_else_stays() {
        let save = parse(
            "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-A - [0:0]\n:KUBE-MARK-DROP - [0:0]\n\
             -A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
             -A PREROUTING -p tcp -j DOCKER\n\
             -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-A\nCOMMIT\n\
             *filter\n:INPUT ACCEPT [0:0]\n:KUBE-FIREWALL - [0:0]\n-A INPUT -j KUBE-FIREWALL\nCOMMIT\n",
        );
        let cut = cut(&save).unwrap();
        assert_eq!(
            cut.text,
            "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-A - [0:0]\n\
             -D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
             -X KUBE-SERVICES\n-X KUBE-SVC-A\nCOMMIT\n"
        );
        assert_eq!(cut.referring, Vec::<String>::new());
        assert_eq!(cut.removed.len(), 3);
    }

    #[test]
    fn a_chain_somebody_else_leads_to_is_emptied_and_named() {
        let text = "*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-MARK-MASQ - [0:0]\n:CNI-HOSTPORT - [0:0]\n\
             -A CNI-HOSTPORT -s 10.1.0.0/16 -j KUBE-MARK-MASQ\nCOMMIT\n";
        let save = parse(text);
        // Emptied before, it is done.
        assert_eq!(super::cut(&save), None);
        let mark = "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\nCOMMIT\n";
        let cut = cut(&parse(&text.replace("COMMIT\n", mark))).unwrap();
        assert_eq!(cut.text, "*nat\n:KUBE-MARK-MASQ - [0:0]\nCOMMIT\n");
        assert_eq!(cut.referring, ["nat: -A CNI-HOSTPORT -s 10.1.0.0/16 -j KUBE-MARK-MASQ"]);
        assert_eq!(cut.removed, ["nat: the rules of chain KUBE-MARK-MASQ"]);
    }

    #[test]
    fn where_kube_proxy_left_nothing_there_is_nothing_to_do() {
        let ours = "*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n*mangle\n:FERROPROXY-HINT - [0:0]\nCOMMIT\n";
        assert_eq!(super::cut(&parse(ours)), None, "ferroproxy's, in iptables mode");
        assert_eq!(super::cut(&parse("*filter\n:INPUT ACCEPT [0:0]\n:KUBE-FIREWALL - [0:0]\nCOMMIT\n")), None);
    }
}
