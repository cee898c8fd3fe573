//! Where a transaction goes, and what comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::transaction::Transaction;
use crate::compile::bytes::Bytes;
use crate::compile::elements::Elements;
use crate::compile::expr::Expr;
use crate::compile::ruleset::{Hook, Name, SetDef};
use crate::model::{Family, PerFamily};

/// A place that holds tables: the kernel, or memory in tests.
pub trait Target: Send {
    /// Commits a transaction whole. On a refusal of a transaction that touches both families, each is tried alone; the receipt
    /// tells how each fared.
    fn commit(&mut self, transaction: &Transaction) -> Receipt;

    /// Reads our tables back as they are.
    ///
    /// # Errors
    /// [`CommitError`] when the kernel does not answer, or something in our table cannot be understood.
    fn read_back(&mut self) -> Result<Live, CommitError>;

    /// The generation of the whole namespace's ruleset: it changes with every commit by anyone.
    ///
    /// # Errors
    /// [`CommitError`] when the kernel does not answer.
    fn generation(&mut self) -> Result<u32, CommitError>;

    /// What the elements of a family's counting set have counted.
    ///
    /// # Errors
    /// [`CommitError`] when the kernel does not answer.
    fn counted(&mut self, _family: Family, _set: &Name, _def: &SetDef) -> Result<Vec<Counted>, CommitError> {
        Ok(Vec::new())
    }

    /// Reads what can be seen of our tables without their elements: cheap whatever they hold.
    ///
    /// # Errors
    /// As [`Target::read_back`].
    fn outline(&mut self) -> Result<Outline, CommitError> {
        let live = self.read_back()?;
        Ok(PerFamily { v4: live.v4.map(TableOutline::of), v6: live.v6.map(TableOutline::of) })
    }
}

/// An element that counts the packets which find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its key.
    pub key: Bytes,
    /// Its comment.
    pub comment: Arc<str>,
    /// Packets since it was made.
    pub packets: u64,
}

/// What became of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// How each family fared; `Ok` also when there was nothing to do.
    pub families: PerFamily<Outcome>,
    /// Bytes sent to the kernel.
    pub bytes: usize,
    /// How many batches took effect: each moves the generation by one.
    pub batches: u32,
}

impl Receipt {
    /// What became of both, where the second was tried only as far as the first was done.
    pub fn followed_by(self, then: Receipt) -> Receipt {
        let mut families = then.families;
        for (family, outcome) in self.families.iter().filter(|(_, outcome)| **outcome != Outcome::Done) {
            *families.get_mut(family) = outcome.clone();
        }
        Receipt { families, bytes: self.bytes + then.bytes, batches: self.batches + then.batches }
    }
}

/// How one family fared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// In force (or nothing to do).
    #[default]
    Done,
    /// Nothing of it is in force, but perhaps chains and sets that nothing leads to.
    Failed(CommitError),
}

/// Why the kernel did not do it, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (next: {remedy})")]
pub struct CommitError {
    /// What to do next, from the errno.
    pub remedy: Remedy,
    /// The errno, when the kernel gave one (positive).
    pub errno: Option<i32>,
    /// Which operation, on which object, and the kernel's words if it gave any.
    pub message: String,
    /// The set and key of the element that was refused, if it was an element.
    pub element: Option<(Name, Bytes)>,
}

/// What to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Send the same again soon (EINTR, EAGAIN, ENOBUFS, ERESTART).
    Retry,
    /// The kernel's state is not what we believed: read back and take the difference anew (ENOENT, EEXIST, EBUSY).
    Resync,
    /// A map is full or the shape is wrong: build the table's contents anew (ENFILE, EINVAL).
    Rebuild,
    /// It will not work without a person (EPERM, EAFNOSUPPORT, EOPNOTSUPP).
    GiveUp,
}

impl Remedy {
    /// What is to be done instead where a part of what was told may be in force: to send the same again could do that part twice.
    pub fn or_resync(self) -> Remedy {
        if self == Remedy::Retry { Remedy::Resync } else { self }
    }
}

impl std::fmt::Display for Remedy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Remedy::Retry => "retry",
            Remedy::Resync => "read back and compare",
            Remedy::Rebuild => "rebuild",
            Remedy::GiveUp => "give up until something changes",
        })
    }
}

/// Our tables as the kernel holds them. `None`: there is no such table.
pub type Live = PerFamily<Option<LiveTable>>;

/// One table as read back: sets are typed as ours, rules are the kernel's expressions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveTable {
    /// Whether its flags are the wanted ones.
    pub flags: TableFlags,
    /// Sets and maps.
    pub sets: BTreeMap<Name, LiveSet>,
    /// Chains.
    pub chains: BTreeMap<Name, LiveChain>,
}

/// How a table's flags stand to the wanted ones: awake, and owned by this process where that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableFlags {
    /// As wanted.
    #[default]
    AsWanted,
    /// Others; making the table once more sets them.
    ToSet,
    /// Others, and the kernel sets the wanted ones only on a new table.
    ToRebuild,
}

/// Our tables without elements. `None`: there is no such table.
pub type Outline = PerFamily<Option<TableOutline>>;

/// Sets and maps by name: shape and number of elements. See [`TableOutline::sets`].
pub type SetOutlines = BTreeMap<Name, (Option<SetDef>, Option<usize>)>;

/// One table without its sets' elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableOutline {
    /// Flags and chains with their rules; its sets are in `sets`.
    pub frame: LiveTable,
    /// Sets and maps: their shape (`None`: none that ferroproxy makes), and how many elements they hold where the kernel tells.
    pub sets: SetOutlines,
}

impl TableOutline {
    /// The outline of a table that was read whole.
    fn of(mut table: LiveTable) -> TableOutline {
        let sets = std::mem::take(&mut table.sets);
        let sets = sets.into_iter().map(|(name, set)| (name, (set.def, Some(set.elements.len()))));
        TableOutline { sets: sets.collect(), frame: table }
    }
}

/// A set as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSet {
    /// Its shape; `None` when it is none that ferroproxy makes.
    pub def: Option<SetDef>,
    /// Its elements.
    pub elements: Elements,
}

/// A chain as read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveChain {
    /// Where it is hooked; `None` in a chain that is only jumped to.
    pub hook: Option<Hook>,
    /// The expressions of each rule; `None` for a rule with an expression ferroproxy never writes.
    pub rules: Vec<Option<Vec<Expr>>>,
}
