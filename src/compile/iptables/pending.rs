//! Where the chains in force still differ from the wanted ones.

use std::collections::{BTreeMap, BTreeSet};

use super::Table;
use super::frame::Jump;
use super::restore::{Body, Edited, TableRestore};
use super::shared::{Chain, Edits};
use crate::compile::ruleset::Name;

/// What differs in one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    /// Chains of services that are to be written or to go.
    pub(super) own: BTreeMap<Name, Option<Body>>,
    /// Shared chains that are to be written, or to go where no body is wanted.
    pub(super) shared: BTreeSet<(Table, Name)>,
    /// Changes within shared chains that are not written whole; never empty ones.
    pub(super) edits: BTreeMap<Chain, Edits>,
    /// Jumps that are missing.
    pub(super) jumps: BTreeSet<Jump>,
    /// Jumps that are to go.
    pub(super) unjumped: BTreeSet<Jump>,
    /// What happens to the rules that refuse.
    pub(super) refusals: Refusals,
}

/// Which rules of the filter table come and go. They concern packets that `nat` does not send on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusals {
    /// Chains in which some come: a service has lost its endpoints, or guards an address from now on.
    come: BTreeSet<Name>,
    /// Those that go, by chain: a service has its first endpoint, or guards an address no more.
    gone: BTreeMap<Name, Vec<String>>,
}

impl Refusals {
    /// What two lists of a chain's rules differ in is noted. `key` tells rules apart.
    pub(super) fn note(&mut self, chain: &str, before: &[String], after: &[String], key: impl Fn(&str) -> String) {
        let keys = |rules: &[String]| rules.iter().map(|rule| key(rule)).collect::<BTreeSet<_>>();
        let (old, new) = (keys(before), keys(after));
        if !new.is_subset(&old) {
            self.come.insert(chain.into());
        }
        let mut gone = before.iter().filter(|rule| !new.contains(&key(rule))).peekable();
        if gone.peek().is_some() {
            self.gone.entry(chain.into()).or_default().extend(gone.cloned());
        }
    }

    /// Puts what tables are told into an order in which no packet is lost.
    ///
    /// One that is neither sent on nor refused is: and conntrack keeps its sender's later ones from being sent on. So a refusal comes before
    /// what it replaces goes, and goes after what replaces it stands. Where some come and others go, the filter table is told twice.
    pub(super) fn order(&self, mut told: Vec<TableRestore>) -> Vec<TableRestore> {
        let at = |table| told.iter().position(|told: &TableRestore| told.table == table);
        if let (Some(filter), Some(nat), false) = (at(Table::Filter), at(Table::Nat), self.gone.is_empty()) {
            let between = Some(self.both(&told[filter])).filter(|both| !both.is_empty());
            // Lines that came are not told again.
            told[filter].edits.values_mut().for_each(|edited| {
                *edited = Edited { gone: std::mem::take(&mut edited.gone), ..Edited::default() };
            });
            told[filter].edits.retain(|_, edited| *edited != Edited::default());
            told[filter..=nat].rotate_left(1);
            told.splice(filter..filter, between);
            told.retain(|told| !told.is_empty());
        }
        told
    }

    /// What comes beside what is to go.
    fn both(&self, filter: &TableRestore) -> TableRestore {
        let with_gone = |(name, body): (&Name, &Option<Body>)| {
            let gone = self.gone.get(name).into_iter().flatten();
            let text: String = gone.map(|rule| format!("-A {name} {rule}\n")).collect();
            Some((name.clone(), Some(format!("{}{text}", body.as_ref()?).into())))
        };
        let chains = filter.chains.iter().filter(|(name, _)| self.come.contains(*name)).filter_map(with_gone).collect();
        let come =
            filter.edits.iter().map(|(name, edited)| (name.clone(), Edited { gone: Vec::new(), ..edited.clone() }));
        let edits = come.filter(|(_, edited)| *edited != Edited::default()).collect();
        TableRestore { chains, edits, ..TableRestore::new(Table::Filter) }
    }
}

impl Pending {
    /// A table is in force as wanted.
    pub(super) fn committed(&mut self, table: Table) {
        match table {
            Table::Nat => self.own.clear(),
            Table::Filter => self.refusals = Refusals::default(),
            Table::Mangle => {}
        }
        self.shared.retain(|(of, _)| *of != table);
        self.edits.retain(|(of, _), _| *of != table);
        self.jumps.retain(|jump| jump.table != table);
        self.unjumped.retain(|jump| jump.table != table);
    }
}

/// A family's chains as `iptables-save` tells them: of every chain its rules, without the chain's name.
pub type Existing = BTreeMap<Table, BTreeMap<Name, Vec<String>>>;

/// How much of what is wanted is to be written after a look at what is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// What differs.
    Difference,
    /// Everything, whatever stands there.
    Everything,
}
