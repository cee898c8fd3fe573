use std::sync::LazyLock;
use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::model::{SyncKind, Taint};
use crate::observe::metrics::test_report;

const V4: &[Family] = &[Family::V4];
const BOTH: &[Family] = &Family::ALL;

const EPOCH: i64 = 1_700_000_000;

/// A moment so many seconds after the beginning, by both clocks.
fn at(secs: i64) -> Moment {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(|| Instant::now() + Duration::from_secs(3600));
    let wall = Timestamp::from_second(EPOCH + secs).unwrap();
    Moment { wall, steady: *BEGINNING + Duration::from_secs(secs.try_into().unwrap()) }
}

fn tell(health: &mut Health, report: &SyncReport) {
    health.report(report, at(report.ended.as_second() - EPOCH).steady);
}

fn failed() -> FamilyOutcome {
    FamilyOutcome::Failed("no memory".to_owned())
}

fn report(ended: i64, v4: FamilyOutcome, v6: FamilyOutcome) -> SyncReport {
    SyncReport { ended: at(ended).wall, families: PerFamily { v4, v6 }, ..test_report(SyncKind::Partial) }
}

fn synced(ended: i64) -> SyncReport {
    report(ended, FamilyOutcome::Committed, FamilyOutcome::Unchanged)
}

/// Both families synced at 0; a change may wait 60 s.
fn health() -> Health {
    let mut health = Health::new(Duration::from_secs(60));
    tell(&mut health, &synced(0));
    health
}

#[test]
fn nothing_is_healthy_before_the_first_sync() {
    let mut health = Health::new(Duration::from_secs(60));
    assert!(health.livez(at(0)).is_ok(), "alive, though not ready");
    assert!(!health.healthz(at(0)).is_ok());
    tell(&mut health, &synced(1));
    assert!(health.livez(at(2)).is_ok());
    assert!(health.healthz(at(2)).is_ok());
}

#[test]
fn a_change_may_wait_until_the_timeout() {
    let mut health = health();
    health.queued(at(10).steady, V4);
    health.queued(at(50).steady, V4);
    assert!(health.livez(at(69)).is_ok());
    let late = health.livez(at(70));
    assert!(!late.healthy);
    assert_eq!((late.status["IPv4"].healthy, late.status["IPv6"].healthy), (false, true));
    tell(&mut health, &synced(71));
    assert!(health.livez(at(200)).is_ok());
}

#[test]
fn a_quiet_cluster_stays_healthy() {
    assert!(health().livez(at(1_000_000)).is_ok());
}

#[test]
fn a_change_that_came_while_a_sync_ran_still_waits() {
    let mut health = health();
    health.queued(at(10).steady, BOTH);
    health.queued(at(19).steady, BOTH);
    tell(&mut health, &SyncReport { duration: Duration::from_secs(5), ..synced(20) });
    assert!(health.livez(at(74)).is_ok());
    assert!(!health.livez(at(75)).is_ok(), "counted from the start of the sync that missed it");
    tell(&mut health, &synced(76));
    assert!(health.livez(at(500)).is_ok());
}

#[test]
fn a_failed_commit_is_unhealthy_until_one_succeeds() {
    let mut health = health();
    tell(&mut health, &report(1, FamilyOutcome::Committed, failed()));
    let answer = health.healthz(at(1));
    assert!(!answer.is_ok());
    assert_eq!((answer.status["IPv4"].healthy, answer.status["IPv6"].healthy), (true, false));
    assert_eq!(answer.status["IPv6"].last_updated, Some(at(0).wall));
    tell(&mut health, &synced(2));
    assert!(health.healthz(at(2)).is_ok());
}

#[test]
fn a_first_commit_that_fails_is_shown_without_a_time() {
    let mut health = Health::new(Duration::from_secs(60));
    tell(&mut health, &report(1, failed(), FamilyOutcome::Absent));
    let answer = health.livez(at(1));
    assert!(!answer.is_ok());
    assert_eq!(answer.status["IPv4"], FamilyHealth { last_updated: None, healthy: false });
}

#[test]
fn an_absent_family_is_left_out() {
    let mut health = Health::new(Duration::from_secs(60));
    tell(&mut health, &report(1, FamilyOutcome::Committed, FamilyOutcome::Absent));
    health.queued(at(2).steady, &[Family::V6]);
    let answer = health.livez(at(900));
    assert!(answer.is_ok());
    assert_eq!(answer.status.keys().collect::<Vec<_>>(), [&"IPv4"]);
}

#[test]
fn a_node_on_its_way_out_is_not_eligible() {
    let taint = |key: &str| Taint { key: key.to_owned(), value: String::new(), effect: "NoSchedule".to_owned() };
    let tainted = Node { taints: vec![taint("other"), taint(TO_BE_DELETED)], ..Node::default() };
    let deleting = Node { deleting: true, ..Node::default() };
    let plain = Node { taints: vec![taint("other")], ..Node::default() };
    for (node, eligible) in [(Some(&plain), true), (Some(&tainted), false), (Some(&deleting), false), (None, false)] {
        let mut health = health();
        health.node(Some(&plain));
        health.node(node);
        assert_eq!(health.healthz(at(1)).node_eligible, Some(eligible), "{node:?}");
        assert_eq!(health.healthz(at(1)).is_ok(), eligible, "{node:?}");
        assert!(health.livez(at(1)).is_ok(), "livez does not look at the node");
    }
}

#[test]
fn a_node_nobody_told_of_is_eligible() {
    let mut health = health();
    health.node(None);
    assert!(health.healthz(at(1)).is_ok());
}

#[test]
fn the_json_is_kube_proxys() {
    let mut health = health();
    health.node(Some(&Node::default()));
    let json = |answer: &HealthStatus| serde_json::to_value(answer).unwrap();
    assert_eq!(
        json(&health.healthz(at(5))),
        serde_json::json!({
            "lastUpdated": "2023-11-14T22:13:25Z", "currentTime": "2023-11-14T22:13:25Z", "nodeEligible": true, "healthy": true,
            "status": {
                "IPv4": {"lastUpdated": "2023-11-14T22:13:20Z", "healthy": true},
                "IPv6": {"lastUpdated": "2023-11-14T22:13:20Z", "healthy": true},
            },
        })
    );
    health.queued(at(5).steady, V4);
    let late = json(&health.livez(at(100)));
    assert_eq!(late["lastUpdated"], "2023-11-14T22:13:20Z", "an answer of 503 tells the truth");
    assert_eq!(late.get("nodeEligible"), None);
    let never = json(&Health::new(Duration::from_secs(60)).healthz(at(0)));
    assert_eq!(never["lastUpdated"], NEVER);
    assert_eq!(never.get("status"), None);
}

#[test]
fn an_ineligible_node_keeps_the_time_of_the_last_sync() {
    let mut health = health();
    health.node(Some(&Node { deleting: true, ..Node::default() }));
    let answer = health.healthz(at(30));
    assert_eq!((answer.healthy, answer.last_updated), (true, Some(at(0).wall)));
}

#[test]
fn a_wall_clock_that_jumps_changes_nothing() {
    for jump in [-1_000_000, 1_000_000] {
        let mut health = health();
        health.queued(at(10).steady, V4);
        let jumped = Moment { wall: at(10).wall + SignedDuration::from_secs(jump), ..at(20) };
        assert!(health.healthz(jumped).is_ok(), "a change has waited for ten seconds, whatever the wall clock says");
        assert!(!health.healthz(Moment { wall: jumped.wall, ..at(71) }).is_ok(), "and now for too long");
        health.report(&SyncReport { ended: jumped.wall, ..synced(0) }, at(72).steady);
        assert!(health.healthz(Moment { wall: jumped.wall, ..at(73) }).is_ok());
    }
}

#[test]
fn readiness_names_the_services_left_out_and_is_not_harmed() {
    let mut health = health();
    tell(&mut health, &SyncReport { quarantined: vec!["default/web".into()], ..synced(1) });
    let answer = health.healthz(at(2));
    assert!(answer.is_ok());
    assert_eq!(serde_json::json!(answer)["quarantined"], serde_json::json!(["default/web"]));
    assert!(serde_json::json!(health.livez(at(2))).get("quarantined").is_none());
}
