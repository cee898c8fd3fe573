//! The metrics of kube-proxy in nftables mode, under its names: dashboards keep working.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use prometheus::{Registry, exponential_buckets, linear_buckets};

use super::series::Series;
use super::{present, seconds};
use crate::model::{Family, FamilyOutcome, SyncKind, SyncReport};

type Result<T> = std::result::Result<T, prometheus::Error>;

const FAMILY: &[&str] = &["ip_family"];
const CODE: &[&str] = &["code"];

/// kube-proxy's metrics. The fields bear their names without `kubeproxy_` and, where they have it, `sync_proxy_rules_`.
#[derive(Debug)]
pub(super) struct Proxy {
    duration: HistogramVec,
    full_duration: HistogramVec,
    partial_duration: HistogramVec,
    network_programming: HistogramVec,
    last_timestamp: GaugeVec,
    last_queued_timestamp: GaugeVec,
    endpoint_changes_pending: IntGauge,
    endpoint_changes_total: IntCounter,
    service_changes_pending: IntGauge,
    service_changes_total: IntCounter,
    no_local_endpoints: IntGaugeVec,
    sync_failures: IntCounterVec,
    cleanup_failures: IntCounterVec,
    conntrack_duration: HistogramVec,
    conntrack_deleted: IntCounterVec,
    pub(super) healthz: IntCounterVec,
    pub(super) livez: IntCounterVec,
}

impl Proxy {
    pub(super) fn register(registry: &Registry) -> Result<Proxy> {
        let r = Series::of_kube_proxy(registry);
        let latencies = exponential_buckets(0.001, 2.0, 15)?;
        let latency = |name, help| r.histograms(name, help, FAMILY, &latencies);
        let proxy = Proxy {
            duration: latency("sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds")?,
            full_duration: latency("sync_full_proxy_rules_duration_seconds", "Latency of full syncs in seconds")?,
            partial_duration: latency(
                "sync_partial_proxy_rules_duration_seconds",
                "Latency of partial syncs in seconds",
            )?,
            network_programming: r.histograms(
                "network_programming_duration_seconds",
                "From a change in the cluster to the rules in force, in seconds",
                FAMILY,
                &programming_buckets()?,
            )?,
            last_timestamp: r.times("sync_proxy_rules_last_timestamp_seconds", "The last successful sync", FAMILY)?,
            last_queued_timestamp: r.times(
                "sync_proxy_rules_last_queued_timestamp_seconds",
                "The last sync queued",
                FAMILY,
            )?,
            endpoint_changes_pending: r
                .gauge("sync_proxy_rules_endpoint_changes_pending", "EndpointSlice changes waiting")?,
            endpoint_changes_total: r
                .counter("sync_proxy_rules_endpoint_changes_total", "EndpointSlice changes seen")?,
            service_changes_pending: r.gauge("sync_proxy_rules_service_changes_pending", "Service changes waiting")?,
            service_changes_total: r.counter("sync_proxy_rules_service_changes_total", "Service changes seen")?,
            no_local_endpoints: r.gauges(
                "sync_proxy_rules_no_local_endpoints_total",
                "Service ports with a Local traffic policy and no local endpoint",
                &["traffic_policy", "ip_family"],
            )?,
            sync_failures: r.counters("sync_proxy_rules_nftables_sync_failures_total", "Failed commits", FAMILY)?,
            cleanup_failures: r.counters(
                "sync_proxy_rules_nftables_cleanup_failures_total",
                "Failed removals of stale rules",
                FAMILY,
            )?,
            conntrack_duration: latency(
                "conntrack_reconciler_sync_duration_seconds",
                "Latency of conntrack reconciliation in seconds",
            )?,
            conntrack_deleted: r.counters(
                "conntrack_reconciler_deleted_entries_total",
                "Conntrack entries deleted",
                FAMILY,
            )?,
            healthz: r.counters("proxy_healthz_total", "Answers of /healthz by HTTP status", CODE)?,
            livez: r.counters("proxy_livez_total", "Answers of /livez by HTTP status", CODE)?,
        };
        proxy.touch();
        Ok(proxy)
    }

    /// Makes every labelled series exist.
    fn touch(&self) {
        for code in ["200", "503"] {
            self.healthz.with_label_values(&[code]);
            self.livez.with_label_values(&[code]);
        }
        for family in Family::ALL.map(Family::kubernetes) {
            for histogram in [
                &self.duration,
                &self.full_duration,
                &self.partial_duration,
                &self.network_programming,
                &self.conntrack_duration,
            ] {
                histogram.with_label_values(&[family]);
            }
            self.last_timestamp.with_label_values(&[family]);
            self.last_queued_timestamp.with_label_values(&[family]);
            for counter in [&self.sync_failures, &self.cleanup_failures, &self.conntrack_deleted] {
                counter.with_label_values(&[family]);
            }
            for policy in ["internal", "external"] {
                self.no_local_endpoints.with_label_values(&[policy, family]);
            }
        }
    }

    pub(super) fn queued(&self, now: Timestamp, families: &[Family]) {
        for family in families {
            self.last_queued_timestamp.with_label_values(&[family.kubernetes()]).set(seconds(now));
        }
    }

    pub(super) fn pending(&self, services: usize, endpoints: usize) {
        self.service_changes_pending.set(services as i64);
        self.endpoint_changes_pending.set(endpoints as i64);
    }

    pub(super) fn report(&self, report: &SyncReport) {
        for (family, outcome) in present(report) {
            self.family(family, outcome, report);
        }
        self.service_changes_total.inc_by(report.service_changes as u64);
        self.endpoint_changes_total.inc_by(report.endpoint_changes as u64);
        self.pending(0, 0);
    }

    fn family(&self, family: Family, outcome: &FamilyOutcome, report: &SyncReport) {
        let label = &[family.kubernetes()];
        let took = report.duration.as_secs_f64();
        self.duration.with_label_values(label).observe(took);
        match report.kind {
            SyncKind::Full => self.full_duration.with_label_values(label).observe(took),
            SyncKind::Partial => self.partial_duration.with_label_values(label).observe(took),
        }
        if outcome.is_ok() {
            self.last_timestamp.with_label_values(label).set(seconds(report.ended));
        } else {
            self.sync_failures.with_label_values(label).inc();
        }
        if *outcome == FamilyOutcome::Committed {
            let histogram = self.network_programming.with_label_values(label);
            report.programming_latencies.iter().for_each(|latency| histogram.observe(latency.as_secs_f64()));
        }
        let without = report.no_local_endpoints.get(family);
        for (policy, count) in [("internal", without.internal), ("external", without.external)] {
            self.no_local_endpoints.with_label_values(&[policy, family.kubernetes()]).set(count as i64);
        }
    }

    pub(super) fn cleanup_failed(&self, family: Family) {
        self.cleanup_failures.with_label_values(&[family.kubernetes()]).inc();
    }

    pub(super) fn conntrack_reconciled(&self, family: Family, took: Duration, deleted: usize) {
        let label = &[family.kubernetes()];
        self.conntrack_duration.with_label_values(label).observe(took.as_secs_f64());
        self.conntrack_deleted.with_label_values(label).inc_by(deleted as u64);
    }
}

/// 0.25 s to 5 min, finest where most clusters are.
fn programming_buckets() -> Result<Vec<f64>> {
    let ranges = [(0.25, 0.25, 2), (1.0, 1.0, 59), (60.0, 5.0, 12), (120.0, 30.0, 7)];
    ranges.into_iter().try_fold(Vec::new(), |mut buckets, (start, width, count)| {
        buckets.extend(linear_buckets(start, width, count)?);
        Ok(buckets)
    })
}
