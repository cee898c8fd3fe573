//! Which of the two iptables this node uses. Rules of one are not seen by the other: the wrong one is worse than none.

use std::fs;

use super::command::run;
use super::save::parse;
use crate::apply::target::{CommitError, Remedy};
use crate::compile::iptables::{CANARY, MARK, Table, is_ours};
use crate::model::Family;

/// What kubelet leaves in the mangle table for others to see.
const HINT: &str = "KUBE-IPTABLES-HINT";
const KUBELET: &str = "KUBE-KUBELET-CANARY";

/// A variant of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// `iptables-nft`: the chains stand in nf_tables.
    Nft,
    /// `iptables-legacy`: the chains stand where they always did.
    Legacy,
}

/// What was found of one variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Whether its programs can be run, and the kernel answers them.
    pub works: bool,
    /// Whether kubelet's hint stands there.
    pub hinted: bool,
    /// Whether chains of a kube-proxy stand there.
    pub proxied: bool,
    /// Rules of anybody.
    pub rules: usize,
}

impl Variant {
    /// The variants, the newer one first.
    pub const ALL: [Variant; 2] = [Variant::Nft, Variant::Legacy];

    /// The word in the programs' names.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Nft => "nft",
            Variant::Legacy => "legacy",
        }
    }

    /// A program's name: `what` is empty, `-save` or `-restore`.
    pub(super) fn program(self, family: Family, what: &str) -> String {
        let ip = if family == Family::V4 { "iptables" } else { "ip6tables" };
        format!("{ip}-{}{what}", self.name())
    }

    /// Whether chains of iptables mode stand here that ferroproxy has made, perhaps after a kube-proxy.
    pub fn is_marked(self) -> bool {
        let marked = |family| {
            let known = self == Variant::Nft || legacy_tables().iter().any(|name| name == Table::Mangle.name());
            let text = known.then(|| run(&self.program(family, "-save"), &["-t", Table::Mangle.name()], None).ok());
            text.flatten().is_some_and(|text| parse(&text).contains_key(MARK))
        };
        Family::ALL.into_iter().any(marked)
    }

    /// Finds out which one this node uses: that of kubelet's hint, else the one in which a kube-proxy has been, else the one with more rules, else
    /// the newer one.
    ///
    /// # Errors
    /// [`CommitError`] when neither works: how the first failed.
    pub fn find() -> Result<Variant, CommitError> {
        let (nft, trouble) = survey(Variant::Nft);
        let (legacy, _) = survey(Variant::Legacy);
        choose(nft, legacy).ok_or_else(|| trouble.unwrap_or_else(neither))
    }
}

fn neither() -> CommitError {
    let message = "neither iptables-nft nor iptables-legacy works here".to_owned();
    CommitError { remedy: Remedy::GiveUp, errno: None, message, element: None }
}

/// The choice between two surveys.
pub(super) fn choose(nft: Survey, legacy: Survey) -> Option<Variant> {
    let key = |of: Survey| (of.works, of.hinted, of.proxied, of.rules);
    match (nft.works || legacy.works, key(legacy) > key(nft)) {
        (false, _) => None,
        (true, true) => Some(Variant::Legacy),
        (true, false) => Some(Variant::Nft),
    }
}

fn survey(variant: Variant) -> (Survey, Option<CommitError>) {
    // To ask the old programs for a table is to make it: where the kernel has none, there is nothing to find.
    let holds = |table: Table| variant == Variant::Nft || legacy_tables().iter().any(|name| name == table.name());
    let mut found = Survey::default();
    for family in Family::ALL {
        for table in Table::ALL.into_iter().filter(|table| holds(*table)) {
            let text = match run(&variant.program(family, "-save"), &["-t", table.name()], None) {
                Ok(text) => text,
                // An IPv6 that is switched off is no reason against a variant.
                Err(_) if family == Family::V6 => continue,
                Err(error) => return (found, Some(error)),
            };
            found.works = true;
            let chains = parse(&text);
            found.rules += chains.values().map(Vec::len).sum::<usize>();
            found.hinted |= table == Table::Mangle && [HINT, KUBELET].iter().any(|name| chains.contains_key(*name));
            found.proxied |= chains.keys().any(|name| is_ours(table, name.as_str()) || name.as_str() == CANARY);
        }
    }
    if variant == Variant::Legacy && !found.works {
        found.works = run(&variant.program(Family::V4, ""), &["--version"], None).is_ok();
    }
    (found, None)
}

/// The tables the old programs have made in this network namespace.
fn legacy_tables() -> Vec<String> {
    let read = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    ["ip_tables_names", "ip6_tables_names"].map(read).iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Survey = Survey { works: true, hinted: false, proxied: false, rules: 0 };

    #[test]
    fn kubelets_hint_decides_before_anything_else() {
        let hinted = Survey { hinted: true, ..HERE };
        let busy = Survey { proxied: true, rules: 900, ..HERE };
        assert_eq!(choose(hinted, busy), Some(Variant::Nft));
        assert_eq!(choose(busy, hinted), Some(Variant::Legacy));
    }

    #[test]
    fn without_a_hint_the_proxys_own_chains_and_then_the_rules_decide() {
        let (proxied, busy) = (Survey { proxied: true, ..HERE }, Survey { rules: 900, ..HERE });
        assert_eq!(choose(busy, proxied), Some(Variant::Legacy));
        assert_eq!(choose(HERE, busy), Some(Variant::Legacy));
        assert_eq!(choose(HERE, HERE), Some(Variant::Nft));
    }

    #[test]
    fn what_does_not_work_is_not_chosen() {
        assert_eq!(choose(Survey::default(), HERE), Some(Variant::Legacy));
        assert_eq!(choose(Survey::default(), Survey::default()), None);
    }
}
