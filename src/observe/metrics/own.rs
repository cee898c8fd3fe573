//! ferroproxy's own metrics.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::series::Series;
use crate::model::{
    Connections, DriftKind, Family, FamilyOutcome, HintsUnused, MapFill, ObjectKind, Stage, SyncReport,
};

type Result<T> = std::result::Result<T, prometheus::Error>;

/// 0.1 ms to 10 s, three a decade.
const BUCKETS: [f64; 16] = [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

const KINDS: [ObjectKind; 5] =
    [ObjectKind::Service, ObjectKind::EndpointSlice, ObjectKind::Node, ObjectKind::ServiceCidr, ObjectKind::Manifest];

const KIND: &[&str] = &["kind"];
const MAP: &[&str] = &["ip_family", "map"];

/// Metrics named `ferroproxy_...`.
#[derive(Debug)]
pub(super) struct Own {
    stages: HistogramVec,
    event_to_commit: Histogram,
    commit_bytes: IntCounter,
    operations: IntCounter,
    services: IntGauge,
    elements: IntGauge,
    quarantined: IntGauge,
    hints_unused: IntGaugeVec,
    connections: IntCounterVec,
    /// The service ports that have a series.
    told_apart: Mutex<BTreeSet<Arc<str>>>,
    map_elements: IntGaugeVec,
    map_capacity: IntGaugeVec,
    audits: IntCounter,
    drift: IntGauge,
    drift_repairs: IntCounterVec,
    rejected: IntCounterVec,
    watch_restarts: IntCounterVec,
}

impl Own {
    pub(super) fn register(registry: &Registry) -> Result<Own> {
        let r = Series::of_ferroproxy(registry);
        let own = Own {
            stages: r.histograms(
                "sync_stage_duration_seconds",
                "Latency of a sync by stage: queue, compile, commit",
                &["stage"],
                &BUCKETS,
            )?,
            event_to_commit: r.histogram(
                "event_to_commit_duration_seconds",
                "From an event received to its commit acknowledged by the kernel",
                &BUCKETS,
            )?,
            commit_bytes: r.counter("commit_bytes_total", "Bytes of netlink batches sent")?,
            operations: r.counter("commit_operations_total", "Elements, rules and other objects added or removed")?,
            services: r.gauge("services", "Services known")?,
            elements: r.gauge("endpoint_elements", "Endpoint elements in force over all maps")?,
            quarantined: r.gauge("quarantined_services", "Services left out because the kernel refused them")?,
            told_apart: Mutex::default(),
            connections: r.counters(
                "service_new_connections_total",
                "New connections to a service port's frontends, refused and dropped ones included (--count-connections); those beyond its MAX \
                 service ports have `other` as port and no Service",
                &["ip_family", "namespace", "service", "port"],
            )?,
            hints_unused: r.gauges(
                "topology_hints_unused_ports",
                "Service ports whose endpoints carry topology hints that are not used: a ready endpoint has none (incomplete), the node has no \
                 zone (no_zone), none names this node or its zone (not_for_us)",
                &["ip_family", "reason"],
            )?,
            map_elements: r.gauges("map_elements", "Elements wanted in a map or set", MAP)?,
            map_capacity: r.gauges("map_capacity", "Elements a map or set holds before it is made anew, larger", MAP)?,
            audits: r.counter("audits_total", "Comparisons of the whole tables with the kernel's")?,
            drift: r.gauge("drift_objects", "Objects of ours that others changed and that are not repaired yet")?,
            drift_repairs: r.counters(
                "drift_repairs_total",
                "Objects of ours that others changed and that were repaired",
                KIND,
            )?,
            rejected: r.counters("rejected_objects_total", "Objects that could not be used, in whole or in part", KIND)?,
            watch_restarts: r.counters("watch_restarts_total", "Watches that ended and began anew", KIND)?,
        };
        r.gauges("build_info", "Always 1; the version is a label", &["version"])?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        own.touch();
        Ok(own)
    }

    /// Makes every labelled series exist.
    fn touch(&self) {
        for stage in [Stage::Queue, Stage::Compile, Stage::Commit] {
            self.stages.with_label_values(&[stage_name(stage)]);
        }
        Family::ALL.into_iter().for_each(|family| self.hints(family, HintsUnused::default()));
        for kind in DriftKind::ALL {
            self.drift_repairs.with_label_values(&[kind.name()]);
        }
        for kind in KINDS.map(|kind| kind.to_string()) {
            self.rejected.with_label_values(&[&kind]);
            self.watch_restarts.with_label_values(&[&kind]);
        }
    }

    pub(super) fn report(&self, report: &SyncReport) {
        for (stage, took) in &report.stages {
            self.stages.with_label_values(&[stage_name(*stage)]).observe(took.as_secs_f64());
        }
        report.event_latencies.iter().for_each(|latency| self.event_to_commit.observe(latency.as_secs_f64()));
        self.commit_bytes.inc_by(report.commit_bytes as u64);
        self.operations.inc_by(report.operations as u64);
        self.services.set(report.services as i64);
        self.elements.set(report.elements as i64);
        self.quarantined.set(report.quarantined.len() as i64);
        report.hints_unused.iter().for_each(|(family, unused)| self.hints(family, *unused));
        if report.audited {
            self.audited(report);
        } else if report.families.iter().all(|(_, outcome)| outcome.is_ok()) {
            self.drift.set(0);
        }
    }

    fn hints(&self, family: Family, HintsUnused { incomplete, no_zone, not_for_us }: HintsUnused) {
        for (reason, count) in [("incomplete", incomplete), ("no_zone", no_zone), ("not_for_us", not_for_us)] {
            self.hints_unused.with_label_values(&[family.kubernetes(), reason]).set(count as i64);
        }
    }

    /// Counts new connections. A port that has a series keeps it; a gone one's stays at what it was.
    pub(super) fn connections(&self, new: &[Connections], most: usize) {
        let mut told = self.told_apart.lock().unwrap_or_else(PoisonError::into_inner);
        for Connections { family, port, count } in new {
            let has_series = told.contains(port) || told.len() < most && told.insert(port.clone());
            let (namespace, service, port) = if has_series { labels(port) } else { ("", "", "other") };
            self.connections.with_label_values(&[family.kubernetes(), namespace, service, port]).inc_by(*count);
        }
    }

    /// How full maps and sets are. Their number does not grow with the cluster.
    pub(super) fn fill(&self, maps: &[MapFill]) {
        for map in maps {
            let labels = [map.family.kubernetes(), &map.name];
            self.map_elements.with_label_values(&labels).set(map.elements as i64);
            if let Some(capacity) = map.capacity {
                self.map_capacity.with_label_values(&labels).set(capacity.into());
            }
        }
    }

    fn audited(&self, report: &SyncReport) {
        self.audits.inc();
        let mut left = 0;
        for drift in &report.drift {
            match report.families.get(drift.family) {
                FamilyOutcome::Failed(_) => left += 1,
                _ => self.drift_repairs.with_label_values(&[drift.kind.name()]).inc(),
            }
        }
        self.drift.set(left);
    }

    pub(super) fn rejected(&self, kind: ObjectKind) {
        self.rejected.with_label_values(&[&kind.to_string()]).inc();
    }

    pub(super) fn watch_restarted(&self, kind: ObjectKind) {
        self.watch_restarts.with_label_values(&[&kind.to_string()]).inc();
    }
}

/// Namespace, Service and port of `namespace/name:port`.
fn labels(port: &str) -> (&str, &str, &str) {
    let (namespace, rest) = port.split_once('/').unwrap_or(("", port));
    let (service, port) = rest.split_once(':').unwrap_or((rest, ""));
    (namespace, service, port)
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Queue => "queue",
        Stage::Compile => "compile",
        Stage::Commit => "commit",
    }
}
