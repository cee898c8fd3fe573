use std::collections::BTreeMap;
use std::net::IpAddr;

use super::*;
use crate::agent::rules::{Arrivals, Finding, Rules};
use crate::apply::iptables::memory::IptablesMemory;
use crate::apply::target::{CommitError, Remedy};
use crate::compile::iptables::Table;
use crate::compile::ruleset::Name;
use crate::model::{
    Change, Conditions, EndpointSlice, Event, FamilyOutcome, Protocol, ProxyMode, Service, ServicePort, SliceEndpoint,
    SlicePort, SourceConfig, SyncKind, SyncReport,
};
use crate::state::State;

type Engine = IptablesEngine<IptablesMemory>;

fn service(n: u8) -> Event {
    let port = ServicePort { name: "web".into(), protocol: Protocol::Tcp, port: 80, node_port: None };
    Event::Service(Change::Upsert(Service {
        cluster_ips: vec![IpAddr::from([10, 96, 0, n])],
        ports: vec![port],
        ..Service::named("default", &format!("s{n}"))
    }))
}

fn slice(n: u8, endpoints: &[u8]) -> Event {
    let endpoint = |last: &u8| SliceEndpoint {
        address: IpAddr::from([10, 244, 0, *last]),
        conditions: Conditions::default(),
        node: None,
        hints: None,
    };
    Event::Slice(Change::Upsert(EndpointSlice {
        name: ObjectName::new("default", format!("s{n}-x")),
        service: ObjectName::new("default", format!("s{n}")),
        family: Family::V4,
        ports: vec![SlicePort { name: "web".into(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: endpoints.iter().map(endpoint).collect(),
        triggered: None,
    }))
}

/// Two services in force.
fn in_force() -> (Engine, State) {
    let mut config = Config::new(SourceConfig::Manifests("/m".into()), "n");
    config.mode = ProxyMode::Iptables;
    let mut engine = Engine::new(config, Family::ALL.to_vec(), IptablesMemory::default());
    let mut state = State::new();
    let report = apply(&mut engine, &mut state, [service(1), slice(1, &[1, 2]), service(2), slice(2, &[1])]);
    assert_eq!(report.families, PerFamily { v4: FamilyOutcome::Committed, v6: FamilyOutcome::Committed });
    engine.target_mut().told.clear();
    (engine, state)
}

fn apply(engine: &mut Engine, state: &mut State, events: impl IntoIterator<Item = Event>) -> SyncReport {
    events.into_iter().for_each(|event| state.apply(event));
    let changes = state.take_changes();
    engine.sync(state.snapshot(), changes, &Arrivals::default())
}

/// What stands must be what a fresh compiler wants, and nothing else of ours.
fn assert_right(engine: &mut Engine) {
    let existing = engine.target.live.clone();
    let compiler = engine.compiler.as_mut().expect("synced");
    for (family, existing) in existing.iter() {
        compiler.learn(family, existing, Measure::Difference);
        assert!(!compiler.is_pending(family), "{}", compiler.restore());
    }
}

fn refusal(remedy: Remedy) -> CommitError {
    CommitError { remedy, errno: None, message: "refused".to_owned(), element: None }
}

#[test]
fn a_change_is_one_restore_of_one_table_with_what_changed() {
    let (mut engine, mut state) = in_force();
    let report = apply(&mut engine, &mut state, [slice(1, &[2, 3])]);
    assert_eq!((report.kind, &report.families.v4), (SyncKind::Partial, &FamilyOutcome::Committed));
    let told = &engine.target().told;
    assert!(matches!(&told[..], [(Family::V4, one)] if one.table == Table::Nat && one.chains.len() == 3), "{told:?}");
    assert_eq!(engine.figures().expect("figures").written.v4, BTreeMap::from([("nat", 4)]));
    assert_right(&mut engine);
}

#[test]
fn a_restart_beside_right_chains_writes_nothing() {
    let (engine, state) = in_force();
    let live = engine.target().live.clone();
    let mut target = IptablesMemory::default();
    target.live = live;
    let mut again = Engine::new(engine.config.clone(), Family::ALL.to_vec(), target);
    let report = again.sync(state.snapshot(), Changes::default(), &Arrivals::default());
    assert_eq!((report.operations, report.families), (0, PerFamily::default()));
    assert!(again.target().told.is_empty());
}

#[test]
fn a_refused_partial_restore_is_followed_by_a_full_one() {
    let (mut engine, mut state) = in_force();
    engine.target_mut().failures.push(refusal(Remedy::Resync));
    let report = apply(&mut engine, &mut state, [slice(1, &[2, 3])]);
    assert_eq!((report.kind, &report.families.v4), (SyncKind::Full, &FamilyOutcome::Committed));
    let figures = engine.figures().expect("figures");
    assert_eq!((figures.restore_failures.v4, figures.partial_restore_failures.v4), (1, 1));
    assert!(engine.retry_at().is_none());
    let chains: usize = engine.target().told.iter().map(|(_, told)| told.chains.len()).sum();
    assert!(chains > 12, "everything was written: {chains}");
    assert_right(&mut engine);
}

#[test]
fn what_cannot_be_written_stays_pending_and_is_tried_again() {
    let (mut engine, mut state) = in_force();
    engine.target_mut().failures.push(refusal(Remedy::Retry));
    let report = apply(&mut engine, &mut state, [slice(1, &[3])]);
    assert!(matches!(report.families.v4, FamilyOutcome::Failed(_)));
    let first = engine.retry_at().expect("a time");
    let report = apply(&mut engine, &mut state, []);
    assert!(matches!(report.families.v4, FamilyOutcome::Failed(_)), "its time has not come");
    assert_eq!(engine.retry_at(), Some(first));
    let report = engine.repair();
    assert_eq!((report.families.v4, engine.retry_at()), (FamilyOutcome::Committed, None));
    assert_eq!(report.drift, [], "what was pending is nobody else's doing");
    assert_right(&mut engine);
}

#[test]
fn where_chains_cannot_be_read_everything_is_written_once_they_can() {
    let (mut engine, mut state) = in_force();
    engine.target_mut().failures.push(refusal(Remedy::Resync));
    engine.target_mut().unreadable = 1;
    let report = apply(&mut engine, &mut state, [slice(1, &[3])]);
    assert!(matches!(report.families.v4, FamilyOutcome::Failed(_)));
    let report = engine.repair();
    assert_eq!((report.kind, report.families.v4), (SyncKind::Full, FamilyOutcome::Committed));
    assert_right(&mut engine);
}

#[test]
fn what_others_flush_is_seen_and_repaired() {
    let (mut engine, _) = in_force();
    assert_eq!((engine.look(None), engine.is_disturbed()), (Finding::Untouched, false));
    engine.target_mut().disturb(Family::V6, |live| drop(live.remove(&Table::Nat)));
    assert_eq!(engine.look(None), Finding::Deviates("IPv6: flushed: nat".to_owned()));
    let report = engine.repair();
    assert!(
        report.audited && report.drift.iter().any(|drift| drift.object == "nat KUBE-SERVICES"),
        "{:?}",
        report.drift
    );
    assert_eq!((engine.look(None), engine.is_disturbed()), (Finding::Untouched, false));
    assert_right(&mut engine);
}

#[test]
fn a_rule_that_others_removed_is_put_back_and_what_is_theirs_stays() {
    let (mut engine, _) = in_force();
    let theirs: Name = "CNI-X".into();
    engine.target_mut().disturb(Family::V4, |live| {
        let nat = live.get_mut(&Table::Nat).expect("nat");
        nat.get_mut("PREROUTING").expect("a jump").clear();
        nat.get_mut("KUBE-SERVICES").expect("a chain").pop();
        nat.insert("CNI-X".into(), vec!["-j RETURN".to_owned()]);
    });
    assert!(matches!(engine.look(None), Finding::Unproven(_)), "canaries do not tell of this");
    let report = engine.repair();
    assert_eq!(report.families.v4, FamilyOutcome::Committed);
    let said: Vec<String> = report.drift.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|said| said == "ip nat PREROUTING: no jump to KUBE-SERVICES"), "{said:?}");
    assert_eq!(engine.target().live.v4[&Table::Nat][&theirs], ["-j RETURN"]);
    assert_right(&mut engine);
}
