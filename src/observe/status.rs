//! What `ferroproxy status` shows of a running process: plain data, collected from what the agent told.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::HealthStatus;
use crate::model::{Config, DriftKind, FamilyOutcome, MapFill, SourceConfig, SyncReport};

/// Latencies are told of so many of the newest events.
const KEPT: usize = 4096;
/// So many of the newest repairs are told of in words.
const REPAIRS: usize = 5;

/// One screen about a running ferroproxy. Times are milliseconds where the name says so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// ferroproxy's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// The own Node's name.
    pub node: String,
    /// The mode, as `/proxyMode` answers it.
    pub mode: String,
    /// `API` or the directory of manifests.
    pub source: String,
    /// When it was asked.
    pub now: Timestamp,
    /// Seconds since the process started.
    pub uptime_seconds: u64,
    /// What `/healthz` answers: 200 or not.
    pub ready: bool,
    /// Whether the node should get traffic.
    pub node_eligible: bool,
    /// Each family by `IPv4` and `IPv6`: `in force`, `absent`, or why its last commit failed.
    pub families: BTreeMap<String, String>,
    /// Services known.
    pub services: usize,
    /// Elements in force over all maps and sets.
    pub elements: usize,
    /// The last sync that changed or tried anything; none yet: absent.
    pub last_sync: Option<LastSync>,
    /// From an event received to its commit acknowledged, over the newest events.
    pub latency: Latency,
    /// What others did to the tables.
    pub drift: DriftStatus,
    /// Services the kernel refused and that are left out.
    pub quarantined: Vec<String>,
    /// How full maps and sets are that have a capacity.
    pub maps: Vec<MapStatus>,
    /// Watches that ended and began anew, over all kinds.
    pub watch_restarts: u64,
}

/// The last sync.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastSync {
    /// When it ended, in milliseconds before now.
    pub ago_ms: u64,
    /// How long it took.
    pub took_ms: f64,
    /// Elements, rules and other objects added or removed.
    pub operations: usize,
    /// Bytes sent to the kernel.
    pub bytes: usize,
    /// Syncs so far.
    pub count: u64,
}

/// A distribution in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// How many events it is about.
    pub events: usize,
    /// Half are faster.
    pub p50_ms: f64,
    /// Nine of ten are faster.
    pub p90_ms: f64,
    /// All but one of a hundred are faster.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// What others did to the tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftStatus {
    /// Objects that differ and are not repaired yet.
    pub left: usize,
    /// Objects repaired so far, by kind.
    pub repaired: BTreeMap<String, u64>,
    /// Comparisons of the whole tables so far.
    pub audits: u64,
    /// The newest repairs in words, newest last.
    pub newest: Vec<String>,
}

/// How full a map or set is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MapStatus {
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// Its name in the table.
    pub name: String,
    /// Elements in it.
    pub elements: usize,
    /// How many fit; it is made anew, larger, when that is not enough.
    pub capacity: u32,
}

/// What is collected between two questions. Knows no clock: time is handed in.
#[derive(Debug)]
pub(super) struct Board {
    started: Instant,
    about: Status,
    last: Option<(Instant, LastSync)>,
    latencies: VecDeque<Duration>,
    /// The fill of maps as last told.
    pub(super) maps: Vec<MapFill>,
    /// The same of maps that rules fill by themselves.
    pub(super) learned: Vec<MapFill>,
}

impl Board {
    pub(super) fn new(started: Instant) -> Board {
        let about =
            Status { version: env!("CARGO_PKG_VERSION").to_owned(), pid: std::process::id(), ..Status::default() };
        Board { started, about, last: None, latencies: VecDeque::new(), maps: Vec::new(), learned: Vec::new() }
    }

    /// What runs.
    pub(super) fn configure(&mut self, config: &Config) {
        self.about.node = config.node_name.clone();
        self.about.mode = config.mode.name().to_owned();
        self.about.source = match &config.source {
            SourceConfig::Api(_) => "API".to_owned(),
            SourceConfig::Manifests(dir) => dir.display().to_string(),
        };
    }

    pub(super) fn watch_restarted(&mut self) {
        self.about.watch_restarts += 1;
    }

    /// A sync ended.
    pub(super) fn report(&mut self, report: &SyncReport, now: Instant) {
        let about = &mut self.about;
        about.services = report.services;
        about.elements = report.elements;
        about.quarantined.clone_from(&report.quarantined);
        for (family, outcome) in report.families.iter() {
            let words = match outcome {
                FamilyOutcome::Unchanged | FamilyOutcome::Committed => "in force".to_owned(),
                FamilyOutcome::Absent => "absent".to_owned(),
                FamilyOutcome::Failed(reason) => format!("failed: {reason}"),
            };
            about.families.insert(family.kubernetes().to_owned(), words);
        }
        self.drift(report);
        let count = self.last.as_ref().map_or(0, |(_, last)| last.count) + 1;
        let took_ms = report.duration.as_secs_f64() * 1e3;
        let (operations, bytes) = (report.operations, report.commit_bytes);
        self.last = Some((now, LastSync { ago_ms: 0, took_ms, operations, bytes, count }));
        self.latencies.extend(&report.event_latencies);
        self.latencies.drain(..self.latencies.len().saturating_sub(KEPT));
        if !report.maps.is_empty() {
            self.maps.clone_from(&report.maps);
        }
    }

    fn drift(&mut self, report: &SyncReport) {
        let drift = &mut self.about.drift;
        let is_ok = report.families.iter().all(|(_, outcome)| outcome.is_ok());
        drift.audits += u64::from(report.audited);
        match is_ok {
            true => drift.left = 0,
            false => drift.left = drift.left.max(report.drift.len()),
        }
        for found in report.drift.iter().filter(|_| is_ok) {
            *drift.repaired.entry(found.kind.name().to_owned()).or_default() += 1;
            drift.newest.push(format!("{} {found}", report.ended));
        }
        drift.newest.drain(..drift.newest.len().saturating_sub(REPAIRS));
    }

    /// The screen at this time.
    pub(super) fn status(&self, health: &HealthStatus, now: Instant) -> Status {
        let last_sync = self.last.as_ref().map(|(at, last)| {
            let ago = now.saturating_duration_since(*at).as_millis();
            LastSync { ago_ms: u64::try_from(ago).unwrap_or(u64::MAX), ..last.clone() }
        });
        let mut status = Status {
            now: health.current_time,
            uptime_seconds: now.saturating_duration_since(self.started).as_secs(),
            ready: health.is_ok(),
            node_eligible: health.node_eligible != Some(false),
            last_sync,
            latency: distribution(self.latencies.iter().copied().collect()),
            maps: self.maps.iter().chain(&self.learned).filter_map(map_status).collect(),
            ..self.about.clone()
        };
        for kind in DriftKind::ALL {
            status.drift.repaired.entry(kind.name().to_owned()).or_default();
        }
        status
    }
}

fn map_status(fill: &MapFill) -> Option<MapStatus> {
    let (family, name) = (fill.family.kubernetes().to_owned(), fill.name.clone());
    Some(MapStatus { family, name, elements: fill.elements, capacity: fill.capacity? })
}

fn distribution(mut times: Vec<Duration>) -> Latency {
    times.sort_unstable();
    let at = |part: usize| {
        let index = (times.len() * part).div_ceil(100).saturating_sub(1);
        times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    Latency { events: times.len(), p50_ms: at(50), p90_ms: at(90), p99_ms: at(99), max_ms: at(100) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Drift, Family, PerFamily, SyncKind};
    use crate::observe::metrics::test_report;
    use crate::observe::{Health, Moment};

    fn ask(board: &Board, at: Instant) -> Status {
        let now = Moment { wall: Timestamp::UNIX_EPOCH, steady: at };
        board.status(&Health::new(Duration::from_secs(60)).healthz(now), at)
    }

    #[test]
    fn percentiles_are_those_of_the_newest_events() {
        let ms = |n: u64| Duration::from_millis(n);
        assert_eq!(distribution(Vec::new()), Latency::default());
        let hundred = distribution((1..=100).map(ms).collect());
        let expected = Latency { events: 100, p50_ms: 50.0, p90_ms: 90.0, p99_ms: 99.0, max_ms: 100.0 };
        assert_eq!(hundred, expected);
        assert_eq!(distribution(vec![ms(7)]).p50_ms, 7.0);
        let (now, mut board) = (Instant::now(), Board::new(Instant::now()));
        let many = SyncReport { event_latencies: vec![ms(1); KEPT], ..test_report(SyncKind::Partial) };
        board.report(&many, now);
        board.report(&SyncReport { event_latencies: vec![ms(9)], ..test_report(SyncKind::Partial) }, now);
        let latency = ask(&board, now).latency;
        assert_eq!((latency.events, latency.max_ms), (KEPT, 9.0));
    }

    #[test]
    fn drift_is_left_while_its_family_fails_and_repaired_when_it_is_well() {
        let (now, mut board) = (Instant::now(), Board::new(Instant::now()));
        let drift =
            Drift { family: Family::V4, kind: DriftKind::Chain, object: "chain x".into(), change: "is gone".into() };
        let failed = PerFamily { v4: FamilyOutcome::Failed("no".into()), v6: FamilyOutcome::Unchanged };
        let report = SyncReport { audited: true, drift: vec![drift], ..test_report(SyncKind::Full) };
        board.report(&SyncReport { families: failed, ..report.clone() }, now);
        let status = ask(&board, now);
        assert_eq!((status.drift.left, status.drift.repaired["chain"]), (1, 0));
        assert_eq!(status.families["IPv4"], "failed: no");
        board.report(&report, now);
        let status = ask(&board, now + Duration::from_secs(3));
        assert_eq!((status.drift.left, status.drift.repaired["chain"], status.drift.audits), (0, 1, 2));
        assert!(status.drift.newest[0].ends_with("ip chain x: is gone"), "{:?}", status.drift.newest);
        assert_eq!(status.last_sync.map(|last| (last.ago_ms, last.count)), Some((3000, 2)));
    }

    #[test]
    fn maps_without_a_capacity_are_not_shown_and_a_sync_that_tells_none_keeps_them() {
        let (now, mut board) = (Instant::now(), Board::new(Instant::now()));
        let fill = |name: &str, capacity| MapFill { family: Family::V6, name: name.into(), elements: 3, capacity };
        let maps = vec![fill("services", Some(8)), fill("service-cidrs", None)];
        board.report(&SyncReport { maps, ..test_report(SyncKind::Full) }, now);
        board.report(&test_report(SyncKind::Partial), now);
        let told = ask(&board, now).maps;
        assert_eq!(told, [MapStatus { family: "IPv6".into(), name: "services".into(), elements: 3, capacity: 8 }]);
    }
}
