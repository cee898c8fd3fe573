//! Classical chains in memory, by the programs' own rules of refusal.

use std::collections::BTreeMap;

use super::{LockWait, RestoreTarget, parse};
use crate::apply::target::{CommitError, Remedy};
use crate::compile::iptables::{CANARY, Existing, Table, TableRestore, words};
use crate::compile::ruleset::Name;
use crate::model::{Family, PerFamily};

const BUILT_IN: [&str; 5] = ["INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"];

/// Tables in memory, told and read as text.
#[derive(Clone, Debug, Default)]
pub struct IptablesMemory {
    /// What is in force.
    pub live: PerFamily<Existing>,
    /// Failures to answer next, first to last; each costs one restore.
    pub failures: Vec<CommitError>,
    /// How many of the next read-backs fail.
    pub unreadable: usize,
    /// What has been restored so far, in order.
    pub told: Vec<(Family, TableRestore)>,
    generation: u32,
}

impl IptablesMemory {
    /// Somebody else changes something.
    pub fn disturb(&mut self, family: Family, change: impl FnOnce(&mut Existing)) {
        change(self.live.get_mut(family));
        self.generation += 1;
    }
}

impl RestoreTarget for IptablesMemory {
    fn restore(&mut self, family: Family, table: &TableRestore) -> Result<usize, CommitError> {
        if !self.failures.is_empty() {
            return Err(self.failures.remove(0));
        }
        let text = table.to_string();
        let chains = self.live.get_mut(family).entry(table.table).or_default();
        let restored = restored(chains.clone(), &text).map_err(refused)?;
        *chains = restored;
        self.told.push((family, table.clone()));
        self.generation += 1;
        Ok(text.len())
    }

    fn save(&mut self, family: Family) -> Result<Existing, CommitError> {
        match self.unreadable.checked_sub(1) {
            Some(left) => {
                self.unreadable = left;
                Err(refused("unreadable".to_owned()))
            }
            None => Ok(self.live.get(family).clone()),
        }
    }

    fn flushed(&mut self, family: Family) -> Result<Vec<&'static str>, CommitError> {
        let live = self.live.get(family);
        let stands = |table: &Table| live.get(table).is_some_and(|chains| chains.contains_key(CANARY));
        Ok(Table::ALL.iter().filter(|table| !stands(table)).map(|table| table.name()).collect())
    }

    fn generation(&mut self) -> Option<u32> {
        Some(self.generation)
    }

    fn lock_wait(&mut self) -> LockWait {
        LockWait::default()
    }
}

fn refused(message: String) -> CommitError {
    CommitError { remedy: Remedy::Resync, errno: None, message, element: None }
}

/// What stands after a text for one table. The error names the line.
pub fn restored(mut chains: BTreeMap<Name, Vec<String>>, text: &str) -> Result<BTreeMap<Name, Vec<String>>, String> {
    for name in parse(text).into_keys().filter(|name| text.contains(&format!(":{name} "))) {
        chains.insert(name, Vec::new());
    }
    for line in text.lines() {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (chain, rule) = rest.split_once(' ').unwrap_or((rest, ""));
        let missing = || format!("no chain {chain}: {line}");
        if BUILT_IN.contains(&chain) {
            chains.entry(chain.into()).or_default();
        }
        match verb {
            "-A" => chains.get_mut(chain).ok_or_else(missing)?.push(rule.to_owned()),
            "-I" => chains.get_mut(chain).ok_or_else(missing)?.insert(0, rule.to_owned()),
            "-D" => {
                let rules = chains.get_mut(chain).ok_or_else(missing)?;
                let at = rules.iter().position(|there| there == rule).ok_or_else(|| format!("no rule: {line}"))?;
                rules.remove(at);
            }
            "-X" => {
                let used = chains.values().flatten().any(|rule| target(rule).as_deref() == Some(chain));
                let empty = chains.get(chain).ok_or_else(missing)?.is_empty();
                if used || !empty {
                    return Err(format!("in use: {line}"));
                }
                chains.remove(chain);
            }
            _ => {}
        }
    }
    let leads_nowhere = |rule: &&String| {
        let to = target(rule).unwrap_or_default();
        to.starts_with("KUBE-") && !chains.contains_key(to.as_str())
    };
    match chains.values().flatten().find(leads_nowhere) {
        Some(rule) => Err(format!("leads nowhere: {rule}")),
        None => Ok(chains),
    }
}

fn target(rule: &str) -> Option<String> {
    let words = words(rule);
    let at = words.iter().position(|word| word == "-j")?;
    words.get(at + 1).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_whole_or_refused() {
        let told = |text: &str| restored(BTreeMap::new(), text);
        assert!(told("*nat\n:KUBE-A - [0:0]\n-A KUBE-A -j KUBE-B\nCOMMIT\n").is_err(), "leads nowhere");
        assert!(told("*nat\n-A KUBE-A -j RETURN\nCOMMIT\n").is_err(), "no such chain");
        let both = told("*nat\n:KUBE-A - [0:0]\n:KUBE-B - [0:0]\n-A KUBE-A -j KUBE-B\nCOMMIT\n").expect("restored");
        assert!(restored(both.clone(), "*nat\n:KUBE-B - [0:0]\n-X KUBE-B\nCOMMIT\n").is_err(), "in use");
        let gone = restored(both, "*nat\n:KUBE-A - [0:0]\n:KUBE-B - [0:0]\n-X KUBE-A\n-X KUBE-B\nCOMMIT\n");
        assert_eq!(gone, Ok(BTreeMap::new()));
    }
}
