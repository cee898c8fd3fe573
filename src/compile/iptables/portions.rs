//! A large restore in portions, for programs that take longer than in proportion to what they are told at once.

use super::frame::{MARK_MASQ, NODEPORTS, SERVICES};
use super::names;
use super::restore::{Body, TableRestore, lines};
use crate::compile::ruleset::Name;

/// How much one portion tells at most, in lines of its text. `iptables-nft-restore` keeps the chains it is told of in a list that it walks for every line,
/// and with every commit the kernel looks at every chain: more is slower by the first, less by the second.
const PORTION: usize = 2000;

/// When a chain's turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// What leads to no service.
    Frame,
    /// Chains of services: the n-th kind leads to those before it.
    Own(usize),
    /// What all services share, and the jumps. Always one portion: from here on packets meet all of it.
    Shared,
    /// Chains of services that go: each kind after those that lead to it.
    Gone(usize),
    /// What chains that go lead to.
    Last,
}

/// The kinds of chains a service has: each leads only to those before it.
const KINDS: [&[&str]; 4] = [&[names::SEP], &[names::SVC, names::SVL], &[names::EXT], &[names::FW]];

impl TableRestore {
    /// The same in portions, each of which takes effect whole: a chain comes after those it leads to, so a packet meets what is new only by the
    /// last portions. What is small enough is one portion.
    pub fn portions(&self) -> Vec<TableRestore> {
        let weight = |body: &Option<Body>| 2 + body.as_deref().map_or(0, lines);
        if self.chains.values().map(weight).sum::<usize>() <= PORTION {
            return vec![self.clone()];
        }
        let mut chains: Vec<_> = self.chains.iter().map(|(name, body)| (stage(name, body), name, body)).collect();
        // By the names' ends: a program that sorts the chains of the kernel, as `iptables-nft-save` does, takes longest where they stand sorted.
        chains.sort_by_cached_key(|(stage, name, _)| (*stage, name.as_str().bytes().rev().collect::<Vec<_>>()));
        let shared = TableRestore { chains: Default::default(), ..self.clone() };
        let mut portions = vec![(Stage::Shared, 0, shared)];
        for (stage, name, body) in chains {
            let weight = weight(body);
            let fits = |(of, sum, _): &&mut (Stage, usize, TableRestore)| {
                *of == stage && (sum + weight <= PORTION || stage == Stage::Shared)
            };
            match portions.iter_mut().rev().find(|portion| portion.0 == stage).filter(fits) {
                Some((_, sum, portion)) => {
                    *sum += weight;
                    portion.chains.insert(name.clone(), body.clone());
                }
                None => {
                    let chains = [(name.clone(), body.clone())].into();
                    portions.push((stage, weight, TableRestore { chains, ..TableRestore::new(self.table) }));
                }
            }
        }
        portions.sort_by_key(|(stage, ..)| *stage);
        portions.into_iter().map(|(_, _, portion)| portion).filter(|portion| !portion.is_empty()).collect()
    }
}

fn stage(name: &Name, body: &Option<Body>) -> Stage {
    let kind = KINDS.iter().position(|prefixes| prefixes.iter().any(|prefix| name.as_str().starts_with(prefix)));
    match (kind, body, name.as_str()) {
        (Some(kind), Some(_), _) => Stage::Own(kind),
        (Some(kind), None, _) => Stage::Gone(KINDS.len() - kind),
        (None, None, MARK_MASQ) => Stage::Last,
        (None, Some(_), SERVICES | NODEPORTS) | (None, None, _) => Stage::Shared,
        (None, Some(_), _) => Stage::Frame,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::compile::iptables::{JUMPS, Table};

    /// Chains of so many services of six endpoints: what each leads to.
    fn chains(services: usize) -> BTreeMap<String, Vec<String>> {
        let mut chains: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for n in 0..services {
            let name = |kind: &str| format!("{kind}{:05}", n * 7919 % 65_537);
            chains.entry(SERVICES.into()).or_default().extend([name(names::SVC), name(names::FW)]);
            chains.insert(name(names::FW), vec![name(names::EXT)]);
            chains.insert(name(names::EXT), vec![MARK_MASQ.into(), name(names::SVC)]);
            let endpoints: Vec<String> = (0..6).map(|m| format!("{}-{m}", name(names::SEP))).collect();
            endpoints.iter().for_each(|sep| drop(chains.insert(sep.clone(), vec![MARK_MASQ.into()])));
            chains.insert(name(names::SVC), endpoints);
        }
        chains.insert(MARK_MASQ.into(), Vec::new());
        chains
    }

    fn told(chains: &BTreeMap<String, Vec<String>>) -> TableRestore {
        let body = |name: &str, to: &[String]| -> Body {
            to.iter().map(|to| format!("-A {name} -j {to}\n")).collect::<String>().into()
        };
        let chains = chains.iter().map(|(name, to)| (Name::from(name.as_str()), Some(body(name, to))));
        let jumps = JUMPS.into_iter().filter(|jump| jump.table == Table::Nat).collect();
        TableRestore { chains: chains.collect(), jumps, ..TableRestore::new(Table::Nat) }
    }

    #[test]
    fn what_is_small_is_one_portion() {
        let small = told(&chains(50));
        assert_eq!(small.portions(), [small]);
    }

    #[test]
    fn every_chain_comes_after_those_it_leads_to_and_the_jumps_come_with_the_last_ones() {
        let (chains, all) = (chains(1000), told(&chains(1000)));
        let portions = all.portions();
        let (last, before) = portions.split_last().expect("portions");
        assert_eq!((&last.jumps, last.chains.len()), (&all.jumps, 1));
        assert!(last.chains.contains_key(SERVICES) && before.iter().all(|portion| portion.jumps.is_empty()));
        let mut there = BTreeSet::new();
        for portion in &portions {
            there.extend(portion.chains.keys().map(Name::as_str));
            let to = portion.chains.keys().flat_map(|name| &chains[name.as_str()]);
            to.for_each(|to| assert!(there.contains(to.as_str()), "{to} is not there yet"));
        }
        assert!(before.iter().all(|portion| portion.input().lines().count() <= PORTION + 2));
        assert!(before.len() < 20, "{}", before.len());
        let together = portions.into_iter().flat_map(|portion| portion.chains).collect::<BTreeMap<_, _>>();
        assert_eq!(together, all.chains);
    }

    #[test]
    fn what_goes_goes_after_those_that_led_to_it() {
        let (chains, mut all) = (chains(1000), told(&chains(1000)));
        all.chains.values_mut().for_each(|body| *body = None);
        all.unjumped = std::mem::take(&mut all.jumps);
        let portions = all.portions();
        assert_eq!(portions[0].unjumped, all.unjumped);
        let mut there: BTreeSet<&str> = chains.keys().map(String::as_str).collect();
        for portion in &portions {
            portion.chains.keys().for_each(|name| assert!(there.remove(name.as_str()), "{name} went twice"));
            let to = there.iter().flat_map(|name| &chains[*name]);
            to.for_each(|to| assert!(there.contains(to.as_str()), "{to} is led to"));
        }
        assert!(there.is_empty(), "{there:?}");
    }
}
