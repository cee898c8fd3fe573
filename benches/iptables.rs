//! What iptables mode costs, by both variants: everything at first, then one endpoint, then one service. Prints a table; the figures are in
//! `docs/decisions/0010-classical-chains.md`. Runs in private network namespaces and needs root.

#![allow(dead_code, unreachable_pub)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "../tests/support/netns.rs"]
mod netns;

use std::time::{Duration, Instant};

use cluster::Cluster;
use ferroproxy::agent::{Arrivals, IptablesEngine, Rules};
use ferroproxy::apply::iptables::{IptablesKernel, Variant};
use ferroproxy::model::{Config, Event, Family, ProxyMode, SourceConfig, SyncReport};
use ferroproxy::state::State;

/// Services of ten endpoints each; `FERROPROXY_BENCH_SERVICES` chooses others.
const SIZES: [usize; 3] = [100, 1_000, 10_000];
/// Repetitions of a change; the median counts.
const RUNS: usize = 5;

type Engine = IptablesEngine<IptablesKernel>;

fn main() {
    if std::env::args().any(|arg| arg == "--test") || !netns::is_possible() {
        return;
    }
    println!("{:>7} {:>9} {:>22} {:>12} {:>8} {:>12}", "variant", "services", "sync", "bytes", "rules", "time");
    let chosen = std::env::var("FERROPROXY_BENCH_SERVICES").ok().and_then(|text| text.parse().ok());
    for services in chosen.map_or(SIZES.to_vec(), |one| vec![one]) {
        for variant in Variant::ALL {
            netns::Netns::new("bench-iptables").enter(|| measure(variant, services));
        }
    }
}

fn measure(variant: Variant, services: usize) {
    let mut cluster = Cluster::new(services, 10);
    let mut state = State::new();
    let config = Config { mode: ProxyMode::Iptables, ..Config::new(SourceConfig::Manifests("unused".into()), "n") };
    let mut engine = Engine::new(config, vec![Family::V4], IptablesKernel::new(variant));
    let row = |what: &str, took: Duration, report: &SyncReport| {
        let (bytes, rules, ms) = (report.commit_bytes, report.operations, took.as_secs_f64() * 1e3);
        println!("{:>7} {services:>9} {what:>22} {bytes:>12} {rules:>8} {ms:>9.1} ms", variant.name());
    };
    let (took, report) = sync(&mut engine, &mut state, cluster.list());
    row("first, everything", took, &report);
    let mut median = |what: &str, change: &mut dyn FnMut(usize) -> Vec<Event>| {
        let mut all: Vec<_> = (0..RUNS).map(|n| sync(&mut engine, &mut state, change(n))).collect();
        all.sort_by_key(|(took, _)| *took);
        let (took, report) = &all[RUNS / 2];
        row(what, *took, report);
    };
    median("one endpoint", &mut |n| cluster.replace_endpoint(n));
    median("one service", &mut |n| cluster.add_or_delete(n));
    let begun = Instant::now();
    let report = engine.repair();
    row("everything compared", begun.elapsed(), &report);
    assert_eq!(report.operations, 0, "nothing differs");
}

fn sync(engine: &mut Engine, state: &mut State, events: Vec<Event>) -> (Duration, SyncReport) {
    events.into_iter().for_each(|event| state.apply(event));
    let changes = state.take_changes();
    let begun = Instant::now();
    let report = engine.sync(state.snapshot(), changes, &Arrivals::default());
    assert!(engine.retry_at().is_none(), "{:?}", report.families);
    (begun.elapsed(), report)
}
