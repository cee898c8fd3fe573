//! What is in force, and what is to be done about it.

use super::compiler::IptablesCompiler;
use super::frame::{JUMPS, Jump, MARK};
use super::pending::{Existing, Measure, Pending};
use super::restore::{Body, Restore, TableRestore, lines, tables};
use super::rule::canonical;
use super::{Table, is_ours, names};
use crate::compile::ruleset::Name;
use crate::model::{Family, PerFamily};

impl IptablesCompiler {
    /// Learns what is in force in a family, and puts pending what differs: nothing else is pending afterwards.
    pub fn learn(&mut self, family: Family, existing: &Existing, measure: Measure) {
        let mut pending = Pending::default();
        let wanted = self.wanted(family);
        for ((table, name), body) in &wanted {
            let there = existing.get(table).and_then(|chains| chains.get(name.as_str()));
            let is_right = |rules: &Vec<String>| is_same(rules, body) || self.stands(family, *table, name, rules);
            let same = there.is_some_and(|rules| measure == Measure::Difference && is_right(rules));
            match (same, *table == Table::Nat && names::is_of_a_service(name.as_str())) {
                (true, _) => {}
                (false, true) => drop(pending.own.insert(name.clone(), Some(body.clone()))),
                (false, false) => {
                    if *table == Table::Filter {
                        let rules: Vec<String> = rules_of(body).map(str::to_owned).collect();
                        let there = there.map_or(&[][..], Vec::as_slice);
                        pending.refusals.note(name.as_str(), there, &rules, canonical);
                    }
                    pending.shared.insert((*table, name.clone()));
                }
            }
        }
        for (table, name) in existing.iter().flat_map(|(table, chains)| chains.keys().map(move |name| (*table, name))) {
            let ours = table == Table::Nat && names::is_of_a_service(name.as_str());
            if ours && !wanted.contains_key(&(table, name.clone())) {
                pending.own.insert(name.clone(), None);
            }
        }
        for jump in JUMPS.into_iter().filter(|jump| jump.is_wanted(family, &self.settings)) {
            let said = canonical(&jump.rule());
            let there = existing.get(&jump.table).and_then(|chains| chains.get(jump.from));
            if !there.is_some_and(|rules| rules.iter().any(|rule| canonical(rule) == said)) {
                pending.jumps.insert(jump);
            }
        }
        *self.pending.get_mut(family) = pending;
    }

    /// Whether a shared chain is as wanted but for the order of what says nothing by its order.
    fn stands(&self, family: Family, table: Table, name: &Name, rules: &[String]) -> bool {
        self.known(family, table, name.as_str()).is_some_and(|chain| self.shared(family, chain).stands(rules))
    }

    /// A table of a family is in force as wanted.
    pub fn committed(&mut self, family: Family, table: Table) {
        self.pending.get_mut(family).committed(table);
    }

    /// Whether a family has something pending.
    pub fn is_pending(&self, family: Family) -> bool {
        *self.pending.get(family) != Pending::default()
    }

    /// What is pending.
    pub fn restore(&self) -> Restore {
        Restore { families: PerFamily::from_fn(|family| self.restore_family(family)) }
    }

    /// What is pending in a family, in the order in which it is to be brought into force. A table may stand there twice: it is as wanted after
    /// the second time.
    pub fn restore_family(&self, family: Family) -> Vec<TableRestore> {
        let pending = self.pending.get(family);
        let own = pending.own.iter().map(|(name, body)| (Table::Nat, name.clone(), body.clone()));
        let shared = pending.shared.iter();
        let shared = shared.map(|(table, name)| (*table, name.clone(), self.shared_body(family, *table, name)));
        // In their own order: each goes before those before it.
        let edits = pending.edits.iter().map(|((table, chain), edits)| (*table, (*chain).into(), edits.edited()));
        let jumps = JUMPS.into_iter().filter(|jump| pending.jumps.contains(jump));
        pending.refusals.order(tables(own.chain(shared), edits, jumps, pending.unjumped.iter().copied()))
    }
}

/// Everything that is to go where another mode takes over: our chains and jumps, of those that exist.
pub fn removal(existing: &Existing) -> Vec<TableRestore> {
    let ours = existing.iter().flat_map(|(table, chains)| {
        chains.keys().filter(|name| is_ours(*table, name.as_str())).map(|name| (*table, name.clone(), None))
    });
    let there = |jump: &Jump| {
        let rules = existing.get(&jump.table).and_then(|chains| chains.get(jump.from));
        rules.is_some_and(|rules| rules.iter().any(|rule| canonical(rule) == canonical(&jump.rule())))
    };
    tables(ours, std::iter::empty(), std::iter::empty(), JUMPS.into_iter().filter(|jump| jump.is_ours() && there(jump)))
}

/// The mark alone is to go: the chains are somebody else's by now.
pub fn unmark() -> TableRestore {
    let mut told = TableRestore::new(Table::Mangle);
    told.chains.insert(MARK.into(), None);
    told
}

/// The rules of a body, without the chain's name.
fn rules_of(body: &Body) -> impl Iterator<Item = &str> {
    body.lines().map(|line| line.splitn(3, ' ').nth(2).unwrap_or_default())
}

/// Whether rules as `iptables-save` tells them are those of a body.
fn is_same(rules: &[String], body: &Body) -> bool {
    let same = |(rule, line): (&String, &str)| rule == line || canonical(rule) == canonical(line);
    rules.len() == lines(body) && rules.iter().zip(rules_of(body)).all(same)
}
