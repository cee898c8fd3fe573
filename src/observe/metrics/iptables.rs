//! What iptables mode adds, under kube-proxy's names; and the lock, under ours. Registered when that mode runs.

use prometheus::{Counter, IntCounter, IntCounterVec, IntGaugeVec, Registry};

use super::series::Series;
use crate::model::{Family, IptablesFigures};

type Result<T> = std::result::Result<T, prometheus::Error>;

const FAMILY: &[&str] = &["ip_family"];
const TABLE: &[&str] = &["table", "ip_family"];

/// The metrics of iptables mode.
#[derive(Debug)]
pub(super) struct Iptables {
    restore_failures: IntCounterVec,
    partial_restore_failures: IntCounterVec,
    rules: IntGaugeVec,
    rules_last: IntGaugeVec,
    lock_waits: IntCounter,
    lock_wait_seconds: Counter,
}

impl Iptables {
    pub(super) fn register(registry: &Registry) -> Result<Iptables> {
        let (theirs, ours) = (Series::of_kube_proxy(registry), Series::of_ferroproxy(registry));
        let iptables = Iptables {
            restore_failures: theirs.counters(
                "sync_proxy_rules_iptables_restore_failures_total",
                "Restores that were refused",
                FAMILY,
            )?,
            partial_restore_failures: theirs.counters(
                "sync_proxy_rules_iptables_partial_restore_failures_total",
                "Restores of what changed that were refused; a full one followed",
                FAMILY,
            )?,
            rules: theirs.gauges("sync_proxy_rules_iptables_total", "Rules wanted", TABLE)?,
            rules_last: theirs.gauges("sync_proxy_rules_iptables_last", "Rules written by the last sync", TABLE)?,
            lock_waits: ours.counter("iptables_lock_waits_total", "How often another program had the xtables lock")?,
            lock_wait_seconds: ours
                .seconds("iptables_lock_wait_seconds_total", "How long the xtables lock was waited for")?,
        };
        for family in Family::ALL.map(Family::kubernetes) {
            iptables.restore_failures.with_label_values(&[family]);
            iptables.partial_restore_failures.with_label_values(&[family]);
        }
        Ok(iptables)
    }

    pub(super) fn report(&self, figures: &IptablesFigures) {
        for family in Family::ALL {
            let label = family.kubernetes();
            self.restore_failures.with_label_values(&[label]).inc_by(*figures.restore_failures.get(family));
            let partial = *figures.partial_restore_failures.get(family);
            self.partial_restore_failures.with_label_values(&[label]).inc_by(partial);
            for (table, count) in figures.rules.get(family) {
                self.rules.with_label_values(&[*table, label]).set(*count as i64);
                let written = figures.written.get(family).get(table).copied().unwrap_or_default();
                self.rules_last.with_label_values(&[*table, label]).set(written as i64);
            }
        }
        self.lock_waits.inc_by(figures.lock_waits);
        self.lock_wait_seconds.inc_by(figures.lock_waited.as_secs_f64());
    }
}
