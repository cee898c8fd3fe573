//! What a sync in iptables mode adds to its report.

use std::collections::BTreeMap;
use std::time::Duration;

use super::PerFamily;

/// The figures of one sync in iptables mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IptablesFigures {
    /// Restores that were refused.
    pub restore_failures: PerFamily<u64>,
    /// Of these, how many carried only what changed.
    pub partial_restore_failures: PerFamily<u64>,
    /// Rules wanted in each table; by the table's name.
    pub rules: PerFamily<BTreeMap<&'static str, usize>>,
    /// Rules written in this sync to each table; by the table's name.
    pub written: PerFamily<BTreeMap<&'static str, usize>>,
    /// How often another program had the lock.
    pub lock_waits: u64,
    /// How long it was waited for.
    pub lock_waited: Duration,
}
