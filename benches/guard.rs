//! What looking after our tables costs: the generation, the outline, and everything, by the number of elements. Prints a table; the figures
//! are in `docs/decisions/0013-nobody-breaks-it-quietly.md`. Runs in a private network namespace and needs root.

#![allow(dead_code, unreachable_pub)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "../tests/support/netns.rs"]
mod netns;

use std::time::{Duration, Instant};

use cluster::Cluster;
use ferroproxy::agent::{Arrivals, Engine, Rules};
use ferroproxy::apply::netlink::Netlink;
use ferroproxy::apply::target::Target;
use ferroproxy::model::{Config, Family, SourceConfig};
use ferroproxy::state::State;

/// Services of ten endpoints each.
const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];
/// Repetitions; the median counts.
const RUNS: usize = 15;

fn main() {
    if std::env::args().any(|arg| arg == "--test") || !netns::is_possible() {
        return;
    }
    println!("{:>10} {:>14} {:>14} {:>14} {:>14}", "services", "generation", "outline", "read back", "whole audit");
    for services in SIZES {
        let namespace = netns::Netns::new("bench-guard");
        let times = namespace.enter(|| measure(services));
        let [generation, outline, read, audit] = times.map(|time| format!("{:.1} us", time.as_secs_f64() * 1e6));
        println!("{services:>10} {generation:>14} {outline:>14} {read:>14} {audit:>14}");
    }
}

fn measure(services: usize) -> [Duration; 4] {
    let cluster = Cluster::new(services, 10);
    let mut state = State::new();
    cluster.list().into_iter().for_each(|event| state.apply(event));
    let config = Config::new(SourceConfig::Manifests("unused".into()), "n");
    let mut engine = Engine::new(config, vec![Family::V4], Netlink::open().expect("netlink"));
    let changes = state.take_changes();
    engine.sync(state.snapshot(), changes, &Arrivals::default());
    assert!(!engine.is_failing());
    let kernel = engine.target_mut();
    let generation = median(|| assert!(kernel.generation().is_ok()));
    let outline = median(|| drop(kernel.outline().expect("an outline")));
    let read = median(|| drop(kernel.read_back().expect("the tables")));
    let audit = median(|| assert_eq!(engine.repair().operations, 0));
    [generation, outline, read, audit]
}

fn median(mut what: impl FnMut()) -> Duration {
    let mut once = || {
        let begun = Instant::now();
        what();
        begun.elapsed()
    };
    let mut times: Vec<Duration> = (0..RUNS).map(|_| once()).collect();
    times.sort();
    times[times.len() / 2]
}
