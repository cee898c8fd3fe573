//! Where the chains in force still differ from the wanted ones.

use std::collections::{BTreeMap, BTreeSet};

use super::Table;
use super::frame::Jump;
use super::restore::Body;
use crate::compile::ruleset::Name;

/// What differs in one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    /// Chains of services that are to be written or to go.
    pub(super) own: BTreeMap<Name, Option<Body>>,
    /// Shared chains that are to be written, or to go where no body is wanted.
    pub(super) shared: BTreeSet<(Table, Name)>,
    /// Jumps that are missing.
    pub(super) jumps: BTreeSet<Jump>,
    /// Jumps that are to go.
    pub(super) unjumped: BTreeSet<Jump>,
}

impl Pending {
    /// A table is in force as wanted.
    pub(super) fn committed(&mut self, table: Table) {
        if table == Table::Nat {
            self.own.clear();
        }
        self.shared.retain(|(of, _)| *of != table);
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
