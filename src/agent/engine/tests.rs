use super::commit::Committed;
use super::*;
use crate::agent::rules::{Finding, Rules};
use crate::apply::memory::Memory;
use crate::apply::target::{Outcome, Receipt, Remedy};
use crate::apply::transaction::Transaction;
use crate::compile::bytes::Bytes;
use crate::model::{
    Change, EndpointSlice, Event, PerFamily, Protocol, Service, ServicePort, SliceEndpoint, SlicePort, SourceConfig,
};
use crate::state::State;

fn service(n: u8) -> Event {
    let port = ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80, node_port: None };
    Event::Service(Change::Upsert(Service {
        cluster_ips: vec![[10, 96, 0, n].into(), format!("fd00:96::{n:x}").parse().unwrap()],
        ports: vec![port],
        ..Service::named("default", &format!("s{n}"))
    }))
}

/// A world of these services, and an engine that has brought it into force.
fn running(services: &[u8]) -> (State, Engine<Memory>) {
    let mut state = State::new();
    services.iter().for_each(|n| state.apply(service(*n)));
    let config = Config::new(SourceConfig::Manifests("unused".into()), "node-a");
    let mut engine = Engine::new(config, Family::ALL.to_vec(), Memory::default());
    assert!(sync(&mut state, &mut engine).families.v4.is_ok());
    (state, engine)
}

fn sync(state: &mut State, engine: &mut Engine<Memory>) -> SyncReport {
    let changes = state.take_changes();
    engine.sync(state.snapshot(), changes, &Arrivals { events: vec![Instant::now()] })
}

fn error(remedy: Remedy) -> CommitError {
    CommitError { remedy, errno: None, message: "planned".into(), element: None }
}

/// The key of a service's frontend in `services`.
fn frontend(n: u8) -> Bytes {
    Bytes::new().addr([10, 96, 0, n].into()).proto(Protocol::Tcp).port(80)
}

fn has(engine: &Engine<Memory>, n: u8) -> bool {
    engine.target().live.v4.as_ref().unwrap().sets["services"].elements.contains_key(&frontend(n))
}

#[test]
fn tables_that_cannot_be_read_are_replaced() {
    let (mut state, mut first) = running(&[1, 2]);
    let clean = first.target().live.clone();
    let mut left = first.target().clone();
    left.unreadable = 2;
    state.apply(Event::Service(Change::Delete(ObjectName::new("default", "s2"))));
    let mut second = Engine::new(first.config.clone(), Family::ALL.to_vec(), left);
    assert!(sync(&mut state, &mut second).families.v4.is_ok());
    assert!(has(&second, 1) && !has(&second, 2), "what an earlier process left is gone");
    let rules = |live: &Live| live.v4.as_ref().unwrap().chains["KUBE-POSTROUTING"].rules.len();
    assert_eq!(rules(&second.target().live), rules(&clean), "no rule stands twice");
    assert!(sync(&mut state, &mut first).families.v4.is_ok());
}

#[test]
fn an_audit_that_cannot_read_changes_nothing_and_looks_again() {
    let (state, mut engine) = running(&[1]);
    engine.target_mut().unreadable = 1;
    assert_eq!(engine.audit(state.snapshot()).operations, 0);
    engine.target_mut().live.v4 = None;
    assert!(engine.audit(state.snapshot()).operations > 0 && has(&engine, 1));
}

#[test]
fn our_own_commit_does_not_hide_what_others_did_before() {
    let (mut state, mut engine) = running(&[1]);
    assert!(!engine.is_disturbed());
    engine.target_mut().disturb();
    state.apply(service(2));
    sync(&mut state, &mut engine);
    assert!(engine.is_disturbed());
    engine.audit(state.snapshot());
    assert!(!engine.is_disturbed());
    state.apply(service(3));
    sync(&mut state, &mut engine);
    assert!(!engine.is_disturbed(), "our own commits are none");
}

#[test]
fn a_family_that_gives_up_does_not_hold_the_other_back() {
    let (_, engine) = running(&[1]);
    let of = |v4: Remedy, v6: Remedy| {
        let families = PerFamily { v4: Outcome::Failed(error(v4)), v6: Outcome::Failed(error(v6)) };
        Receipt { families, ..Receipt::default() }
    };
    let ops = || vec![crate::apply::transaction::Op::AddTable];
    let both = Transaction { families: PerFamily { v4: ops(), v6: ops() } };
    let mut engine = engine;
    let mut advice = |v4, v6| engine.settle(&both, &of(v4, v6), &mut Committed::default());
    assert_eq!(advice(Remedy::GiveUp, Remedy::Resync), Some(Remedy::Resync));
    assert_eq!(advice(Remedy::Retry, Remedy::Rebuild), Some(Remedy::Rebuild));
    assert_eq!(advice(Remedy::GiveUp, Remedy::GiveUp), Some(Remedy::GiveUp));
}

#[test]
fn a_retry_before_does_not_cost_the_fresh_comparison() {
    let (mut state, mut engine) = running(&[1]);
    engine.target_mut().failures = vec![error(Remedy::Retry), error(Remedy::Resync)];
    state.apply(service(2));
    let report = sync(&mut state, &mut engine);
    assert!(report.families.v4.is_ok() && has(&engine, 2));
    assert!(report.operations < 50, "{} operations: the tables were built from nothing", report.operations);
}

#[test]
fn a_service_the_kernel_refuses_is_left_out_and_tried_again_when_it_changes() {
    for remedy in [Remedy::Resync, Remedy::Rebuild, Remedy::GiveUp] {
        let (mut state, mut engine) = running(&[1]);
        engine.target_mut().poison.insert(("services".into(), frontend(2)), remedy);
        [2, 3].iter().for_each(|n| state.apply(service(*n)));
        let report = sync(&mut state, &mut engine);
        assert_eq!(report.quarantined, ["default/s2"], "{remedy}");
        assert!(report.families.v4.is_ok() && has(&engine, 1) && !has(&engine, 2) && has(&engine, 3));

        state.apply(service(4));
        assert_eq!(sync(&mut state, &mut engine).quarantined, ["default/s2"], "still");
        engine.target_mut().poison.clear();
        state.apply(service(5));
        assert_eq!(sync(&mut state, &mut engine).quarantined, ["default/s2"], "it has not changed");
        let port = SlicePort { name: "".into(), protocol: Protocol::Tcp, port: 80 };
        let endpoint =
            SliceEndpoint { address: [10, 244, 0, 1].into(), conditions: Default::default(), node: None, hints: None };
        state.apply(Event::Slice(Change::Upsert(EndpointSlice {
            name: ObjectName::new("default", "s2-a"),
            service: ObjectName::new("default", "s2"),
            family: Family::V4,
            ports: vec![port],
            endpoints: vec![endpoint],
            triggered: None,
        })));
        assert!(sync(&mut state, &mut engine).quarantined.is_empty());
        assert!(has(&engine, 2));
    }
}

#[test]
fn a_service_left_out_is_tried_again_by_an_audit_and_forgotten_when_it_goes() {
    let (mut state, mut engine) = running(&[1]);
    engine.target_mut().poison.insert(("services".into(), frontend(2)), Remedy::Rebuild);
    state.apply(service(2));
    assert_eq!(sync(&mut state, &mut engine).quarantined.len(), 1);
    assert_eq!(engine.audit(state.snapshot()).quarantined.len(), 1);
    engine.target_mut().poison.clear();
    assert!(engine.audit(state.snapshot()).quarantined.is_empty() && has(&engine, 2));

    engine.target_mut().poison.insert(("services".into(), frontend(3)), Remedy::Rebuild);
    state.apply(service(3));
    assert_eq!(sync(&mut state, &mut engine).quarantined, ["default/s3"]);
    state.apply(Event::Service(Change::Delete(ObjectName::new("default", "s3"))));
    assert!(sync(&mut state, &mut engine).quarantined.is_empty());
}

#[test]
fn latencies_are_those_of_changes_in_force_and_of_our_own_time() {
    let (mut state, mut engine) = running(&[1]);
    let slice = |triggered: Timestamp| {
        Event::Slice(Change::Upsert(EndpointSlice {
            name: ObjectName::new("default", "s1-a"),
            service: ObjectName::new("default", "s1"),
            family: Family::V4,
            ports: Vec::new(),
            endpoints: Vec::new(),
            triggered: Some(triggered),
        }))
    };
    state.apply(slice("2020-01-01T00:00:00Z".parse().unwrap()));
    assert!(sync(&mut state, &mut engine).programming_latencies.is_empty(), "from before we were there");
    state.apply(slice(Timestamp::now()));
    assert_eq!(sync(&mut state, &mut engine).programming_latencies.len(), 1);
    state.apply(service(2));
    state.apply(slice(Timestamp::now()));
    engine.target_mut().failures = vec![error(Remedy::GiveUp)];
    let report = sync(&mut state, &mut engine);
    assert!(report.programming_latencies.is_empty() && report.event_latencies.is_empty(), "nothing is in force");
}

#[test]
fn what_others_commit_while_we_do_is_seen() {
    let (mut state, mut engine) = running(&[1]);
    assert_eq!(engine.look(None), Finding::Untouched);
    state.apply(service(2));
    engine.target_mut().intruders = 1;
    sync(&mut state, &mut engine);
    assert!(engine.is_disturbed(), "the generation moved by more than our own batch");
}

#[test]
fn a_look_tells_other_peoples_business_from_ours() {
    let (_, mut engine) = running(&[1]);
    engine.target_mut().disturb();
    let Finding::Unproven(generation) = engine.look(None) else { panic!("nothing of ours has changed") };
    engine.target_mut().live.v6.as_mut().unwrap().sets.get_mut("services").unwrap().elements.clear();
    assert_eq!(engine.look(Some(generation)), Finding::Unproven(generation), "the same outline is not taken twice");
    let Finding::Deviates(what) = engine.look(None) else { panic!("fewer elements") };
    assert!(what.contains("ip6") && what.contains("services"), "{what}");
    let report = engine.repair();
    let [drift] = &report.drift[..] else { panic!("{:?}", report.drift) };
    assert_eq!((drift.family, drift.kind), (Family::V6, crate::model::DriftKind::Elements));
    assert!(drift.change.contains("1 element differs: +fd00:96::1 . tcp . 80"), "{}", drift.change);
    assert_eq!(engine.look(None), Finding::Untouched);
}

#[test]
fn what_is_pending_anyway_is_not_somebody_elses_doing() {
    let (mut state, mut engine) = running(&[1]);
    engine.target_mut().failures = vec![error(Remedy::GiveUp)];
    state.apply(service(2));
    assert!(!sync(&mut state, &mut engine).families.v4.is_ok());
    let report = engine.repair();
    assert!(report.audited && report.drift.is_empty() && has(&engine, 2), "{:?}", report.drift);
}

#[test]
fn a_family_that_failed_waits_for_its_time_whatever_happens() {
    let (mut state, mut engine) = running(&[1]);
    engine.target_mut().failures = vec![error(Remedy::GiveUp)];
    state.apply(service(2));
    assert!(!sync(&mut state, &mut engine).families.v4.is_ok());
    let due = engine.retry_at().expect("it is tried again");
    let generation = engine.target_mut().generation();
    state.apply(service(3));
    let report = sync(&mut state, &mut engine);
    assert_eq!(
        report.families.v4,
        crate::model::FamilyOutcome::Failed(error(Remedy::GiveUp).to_string()),
        "it is not well yet"
    );
    assert_eq!((engine.target_mut().generation(), engine.retry_at()), (generation, Some(due)), "nothing was tried");
    let changes = state.take_changes();
    let report =
        engine.sync_at(due + std::time::Duration::from_secs(1), state.snapshot(), changes, &Arrivals::default());
    assert!(report.families.v4.is_ok() && has(&engine, 2) && has(&engine, 3) && !engine.is_failing());
}

/// Service 1 with another external IP besides its cluster IP.
fn moved(ip: u8) -> Event {
    let Event::Service(Change::Upsert(service)) = service(1) else { unreachable!() };
    Event::Service(Change::Upsert(Service { external_ips: vec![[192, 0, 2, ip].into()], ..service }))
}

#[test]
fn a_service_whose_change_is_refused_keeps_the_rules_it_had() {
    let (mut state, mut engine) = running(&[1, 2]);
    let external = |n: u8| Bytes::new().addr([192, 0, 2, n].into()).proto(Protocol::Tcp).port(80);
    let has = |engine: &Engine<Memory>, key: Bytes| {
        engine.target().live.v4.as_ref().unwrap().sets["services"].elements.contains_key(&key)
    };
    state.apply(moved(1));
    sync(&mut state, &mut engine);
    engine.target_mut().poison.insert(("services".into(), external(2)), Remedy::Rebuild);
    for _ in 0..2 {
        state.apply(moved(2));
        let report = sync(&mut state, &mut engine);
        assert_eq!(report.quarantined, ["default/s1"]);
        assert!(report.families.v4.is_ok() && has(&engine, external(1)) && has(&engine, frontend(1)));
        assert!(!has(&engine, external(2)));
    }
    engine.target_mut().poison.insert(("services".into(), external(1)), Remedy::Rebuild);
    engine.target_mut().live.v4 = None;
    let report = engine.audit(state.snapshot());
    assert!(report.families.v4.is_ok() && !has(&engine, frontend(1)) && has(&engine, frontend(2)), "refused as well");
    engine.target_mut().poison.clear();
    assert!(engine.audit(state.snapshot()).quarantined.is_empty() && has(&engine, external(2)));
}
