//! What iptables mode costs, by both variants: everything at first, then one endpoint, then one service. Then, where there is an API server and a kube-proxy, the
//! same for both processes. Prints tables; where all of it ran, writes `benches/IPTABLES.md`. Runs in private network namespaces and needs root.

#![allow(dead_code, missing_docs, unreachable_pub)]

#[path = "support/bare.rs"]
mod bare;
#[path = "support/classical.rs"]
mod classical;
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/objects.rs"]
mod objects;
#[path = "support/results.rs"]
mod results;
#[path = "support/server.rs"]
mod server;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write;
use std::time::{Duration, Instant};

use cluster::Cluster;
use ferroproxy::agent::{Arrivals, IptablesEngine, Rules};
use ferroproxy::apply::iptables::{IptablesKernel, Variant};
use ferroproxy::model::{Config, Event, Family, ProxyMode, SourceConfig, SyncReport};
use ferroproxy::state::State;
use support::netns::{self, Netns};

/// Services of ten endpoints each; `FERROPROXY_BENCH_SERVICES` chooses others.
const SIZES: [usize; 3] = [100, 1_000, 10_000];
/// Repetitions of a change; the median counts.
const RUNS: usize = 5;

/// Arguments that name a part, or a variant, run only that one.
const PARTS: [&str; 2] = ["alone", "compared"];

type Engine = IptablesEngine<IptablesKernel>;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.iter().any(|arg| arg == "--test") || !netns::is_possible() {
        return;
    }
    let chosen = std::env::var("FERROPROXY_BENCH_SERVICES").ok().and_then(|text| text.parse::<usize>().ok());
    let sizes = chosen.map_or(SIZES.to_vec(), |one| vec![one]);
    let wants =
        |part: &str| args.iter().all(|arg| !PARTS.contains(&arg.as_str())) || args.iter().any(|arg| arg == part);
    let mut table =
        "| iptables | services x 10 | what | bytes | rules | time |\n|---|---:|---|---:|---:|---:|\n".to_owned();
    let named = |variant: &Variant| args.iter().any(|arg| arg == variant.name());
    let variants: Vec<Variant> = match Variant::ALL.into_iter().find(named) {
        Some(one) => vec![one],
        None => Variant::ALL.to_vec(),
    };
    let all = sizes.iter().flat_map(|services| variants.iter().map(|variant| (*services, *variant)));
    for (services, variant) in all.filter(|_| wants(PARTS[0])) {
        table += &Netns::new("bench-iptables").enter(|| measure(variant, services));
    }
    let compared =
        wants(PARTS[1]).then(|| classical::measure(&sizes[sizes.len().saturating_sub(2)..], &variants)).flatten();
    if let (Some(compared), None, true, 2) = (compared, chosen, wants(PARTS[0]), variants.len()) {
        let text =
            format!("{TITLE}\n\n{}\n\n{COMPARED}\n\n{compared}\n{ALONE}\n\n{table}", results::machine("iptables"));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/IPTABLES.md");
        std::fs::write(path, text).expect("IPTABLES.md can be written");
    }
}

const TITLE: &str = "# iptables mode, and kube-proxy's";
const COMPARED: &str = "Both follow the same real API server, one after the other, each in a network namespace of its own, with the same programs and \
                        `--iptables-min-sync-period=1ms` (by default both wait up to a second). By the clock: from the start of the process, or from before the request, \
                        to the time of the last sync by its own metric; of changes the least of nine. Processor: of the process with the programs it ran; the mean. Other work ran on the \
                        machine: look at processor time and ratios.";
const ALONE: &str = "ferroproxy's rooms without an API server, from the change known to the chains in force:";

/// Rows of one variant at one size.
fn measure(variant: Variant, services: usize) -> String {
    let mut cluster = Cluster::new(services, 10);
    let mut state = State::new();
    let config = Config { mode: ProxyMode::Iptables, ..Config::new(SourceConfig::Manifests("unused".into()), "n") };
    let mut engine = Engine::new(config, vec![Family::V4], IptablesKernel::new(variant));
    let mut table = String::new();
    let mut row = |what: &str, took: Duration, report: &SyncReport| {
        let (bytes, rules, ms) = (report.commit_bytes, report.operations, took.as_secs_f64() * 1e3);
        let row = format!("| {} | {services} | {what} | {bytes} | {rules} | {ms:.0} ms |", variant.name());
        println!("{row}");
        writeln!(table, "{row}").expect("text");
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
    median("one service more or less", &mut |n| cluster.add_or_delete(n));
    let begun = Instant::now();
    let report = engine.repair();
    row("everything compared", begun.elapsed(), &report);
    assert_eq!(report.operations, 0, "nothing differs");
    table
}

fn sync(engine: &mut Engine, state: &mut State, events: Vec<Event>) -> (Duration, SyncReport) {
    events.into_iter().for_each(|event| state.apply(event));
    let changes = state.take_changes();
    let begun = Instant::now();
    let report = engine.sync(state.snapshot(), changes, &Arrivals::default());
    assert!(engine.retry_at().is_none(), "{:?}", report.families);
    (begun.elapsed(), report)
}
