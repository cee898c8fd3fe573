//! Metrics: kube-proxy's names, types, labels and buckets, and ferroproxy's own.
//!
//! Every labelled series exists from the start, so that a rate can be taken over the first event.

mod iptables;
mod own;
mod proxy;
mod series;

use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use prometheus::core::Collector;
use prometheus::{Encoder, IntGaugeVec, Registry, TextEncoder};
use tracing::warn;

use super::process::Process;
use crate::model::{
    Connections, Family, FamilyOutcome, IptablesFigures, MapFill, ModeReason, ObjectKind, ProxyMode, Rejection,
    SyncReport,
};

use iptables::Iptables;
use own::Own;
use proxy::Proxy;
use series::Series;

/// All metrics, with a registry of their own. Cheap to share; counters and gauges are atomic.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    proxy: Proxy,
    own: Own,
    process: Process,
    iptables: OnceLock<Option<Iptables>>,
    mode: IntGaugeVec,
}

impl Metrics {
    /// Registers everything. An error would be a name registered twice.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let proxy = Proxy::register(&registry)?;
        let own = Own::register(&registry)?;
        let process = Process::register(&registry)?;
        let why = "The mode that runs, and why: asked, default or fallback";
        let mode = Series::of_ferroproxy(&registry).gauges("mode", why, &["mode", "reason"])?;
        Ok(Metrics { registry, proxy, own, process, iptables: OnceLock::new(), mode })
    }

    /// A change for these families waits for a sync.
    pub fn queued(&self, now: Timestamp, families: &[Family]) {
        self.proxy.queued(now, families);
    }

    /// So many Service and EndpointSlice events wait for a sync.
    pub fn pending(&self, services: usize, endpoints: usize) {
        self.proxy.pending(services, endpoints);
    }

    /// A sync ended.
    pub fn report(&self, report: &SyncReport) {
        self.proxy.report(report);
        self.own.report(report);
        report.rejections.iter().for_each(|rejection| self.rejected(rejection));
    }

    /// This mode runs, for this reason.
    pub fn mode(&self, mode: ProxyMode, reason: ModeReason) {
        self.mode.with_label_values(&[mode.name(), reason.name()]).set(1);
    }

    /// A sync in iptables mode had these figures. Their metrics are there from the first of them on.
    pub fn iptables(&self, figures: &IptablesFigures) {
        let register = || Iptables::register(&self.registry).inspect_err(|error| warn!(%error, "metrics")).ok();
        if let Some(iptables) = self.iptables.get_or_init(register) {
            iptables.report(figures);
        }
    }

    /// An object could not be used, in whole or in part.
    pub fn rejected(&self, rejection: &Rejection) {
        self.own.rejected(rejection.kind);
    }

    /// The watch of a kind ended and began anew.
    pub fn watch_restarted(&self, kind: ObjectKind) {
        self.own.watch_restarted(kind);
    }

    /// Stale rules of a family could not be removed.
    pub fn cleanup_failed(&self, family: Family) {
        self.proxy.cleanup_failed(family);
    }

    /// Conntrack entries of a family were compared with the endpoints.
    pub fn conntrack_reconciled(&self, family: Family, took: Duration, deleted: usize) {
        self.proxy.conntrack_reconciled(family, took, deleted);
    }

    /// `/healthz` was answered with this code.
    pub(super) fn healthz(&self, code: u16) {
        self.proxy.healthz.with_label_values(&[&code.to_string()]).inc();
    }

    /// `/livez` was answered with this code.
    pub(super) fn livez(&self, code: u16) {
        self.proxy.livez.with_label_values(&[&code.to_string()]).inc();
    }

    /// New connections to service ports, told apart for at most so many of them.
    pub fn connections(&self, new: &[Connections], most: usize) {
        self.own.connections(new, most);
    }

    /// How full maps and sets are.
    pub fn fill(&self, maps: &[MapFill]) {
        self.own.fill(maps);
    }

    /// All of it in Prometheus' text format. The process's own figures are read now.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        self.process.refresh();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

/// Registers a metric and hands it back.
pub(super) fn registered<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<M, prometheus::Error>,
) -> Result<M, prometheus::Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// The families that a sync is about: those the kernel has.
fn present(report: &SyncReport) -> impl Iterator<Item = (Family, &FamilyOutcome)> {
    report.families.iter().filter(|(_, outcome)| **outcome != FamilyOutcome::Absent)
}

/// Unix time in seconds, as gauges hold it.
fn seconds(time: Timestamp) -> f64 {
    time.as_microsecond() as f64 / 1e6
}

/// A report of nothing, for tests to fill.
#[cfg(test)]
pub(super) fn test_report(kind: crate::model::SyncKind) -> SyncReport {
    SyncReport {
        kind,
        ended: Timestamp::UNIX_EPOCH,
        families: crate::model::PerFamily::default(),
        stages: Vec::new(),
        duration: Duration::ZERO,
        programming_latencies: Vec::new(),
        event_latencies: Vec::new(),
        service_changes: 0,
        endpoint_changes: 0,
        commit_bytes: 0,
        operations: 0,
        services: 0,
        elements: 0,
        maps: Vec::new(),
        no_local_endpoints: crate::model::PerFamily::default(),
        hints_unused: crate::model::PerFamily::default(),
        rejections: Vec::new(),
        quarantined: Vec::new(),
        audited: false,
        drift: Vec::new(),
    }
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
