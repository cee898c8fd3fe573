//! `make bench`: what a full and an incremental commit cost, against the kernel's own part of it in the same run.
//!
//! Runs in a private network namespace and needs root. Prints one table and writes `benches/RESULTS.md`. Figures are for reading, never for
//! a test to pass or fail on: machines drift, so look at the ratios.

// The modules are shared with tests, which use more of them.
#![allow(dead_code, unreachable_pub)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "../tests/support/netns.rs"]
mod netns;
#[path = "support/table.rs"]
mod table;

use std::time::{Duration, Instant};

use cluster::Cluster;
use ferroproxy::agent::{Arrivals, Engine};
use ferroproxy::apply::diff;
use ferroproxy::apply::netlink::Netlink;
use ferroproxy::apply::target::{Outcome, Receipt, Target};
use ferroproxy::apply::transaction::Transaction;
use ferroproxy::model::{Config, Family, LocalDetector, PerFamily, SourceConfig};
use ferroproxy::state::State;
use table::{Row, Table};

/// Services, and endpoints of each.
const SIZES: [(usize, usize); 3] = [(100, 10), (1_000, 10), (10_000, 10)];
/// Repetitions of a full commit; the median counts.
const FULL_RUNS: usize = 5;
/// Changes of each kind.
const CHANGES: usize = 300;

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` only want to know whether it builds.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    if !netns::is_possible() {
        return;
    }
    let mut table = Table::new();
    let namespace = netns::Netns::new("bench");
    for (services, endpoints) in SIZES {
        table.extend(namespace.enter(|| measure(services, endpoints)));
    }
    table.print();
    table.write(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/RESULTS.md"));
}

fn config() -> Config {
    let nets = PerFamily { v4: Some("10.128.0.0/9".parse().expect("a network")), v6: None };
    Config { detector: LocalDetector::ClusterCidr(nets), ..Config::new(SourceConfig::Manifests("unused".into()), "n") }
}

fn measure(services: usize, endpoints: usize) -> Vec<Row> {
    let label = format!("{services} x {endpoints}");
    let mut cluster = Cluster::new(services, endpoints);
    let mut state = State::new();
    cluster.list().into_iter().for_each(|event| state.apply(event));
    let (full, raw, encode, total) = full_commits(&state);
    let mut rows = vec![
        Row::new(&label, "full: encode", encode, None),
        Row::new(&label, "full: the same batch sent raw (kernel alone)", raw, None),
        Row::new(&label, "full: commit (encode, send, acknowledge)", full, Some(raw)),
        Row::new(&label, "full: state known to commit acknowledged", total, Some(raw)),
    ];
    let mut engine = Engine::new(config(), vec![Family::V4], Timed::default());
    let changes = state.take_changes();
    engine.sync(state.snapshot(), changes, &Arrivals::default());
    assert!(!engine.is_failing());
    for (name, change) in kinds_of_change() {
        rows.extend(incremental(&label, name, change, &mut cluster, &mut state, &mut engine));
    }
    clear();
    rows
}

/// Medians: commit, the same bytes sent raw, encode alone, and state to acknowledgement.
fn full_commits(state: &State) -> (Duration, Duration, Duration, Duration) {
    let (mut commit, mut raw, mut encode, mut total) = (vec![], vec![], vec![], vec![]);
    for _ in 0..FULL_RUNS {
        clear();
        let mut engine = Engine::new(config(), vec![Family::V4], Timed::default());
        let begun = Instant::now();
        engine.sync(state.snapshot(), Default::default(), &Arrivals::default());
        total.push(begun.elapsed());
        assert!(!engine.is_failing());
        commit.push(engine.target().last);
        clear();
        let transaction = build_transaction(state);
        let mut kernel = Netlink::open().expect("netlink");
        let begun = Instant::now();
        let batch = kernel.encode(&transaction);
        encode.push(begun.elapsed());
        let begun = Instant::now();
        kernel.send(&batch).expect("the kernel takes the batch");
        raw.push(begun.elapsed());
    }
    (median(commit), median(raw), median(encode), median(total))
}

fn build_transaction(state: &State) -> Transaction {
    let (compiler, _) = ferroproxy::agent::plan(&config(), state.snapshot(), &[Family::V4], Default::default());
    diff(compiler.draft())
}

type Change = fn(&mut Cluster, usize) -> Vec<ferroproxy::model::Event>;

fn kinds_of_change() -> [(&'static str, Change); 4] {
    [
        ("one endpoint replaced", Cluster::replace_endpoint),
        ("all endpoints of a service replaced", Cluster::replace_all),
        ("one endpoint more or less", Cluster::grow_or_shrink),
        ("a service added or deleted", Cluster::add_or_delete),
    ]
}

fn incremental(
    label: &str,
    name: &str,
    change: Change,
    cluster: &mut Cluster,
    state: &mut State,
    engine: &mut Engine<Timed>,
) -> Vec<Row> {
    let (mut syncs, mut commits) = (vec![], vec![]);
    for n in 0..CHANGES {
        change(cluster, n).into_iter().for_each(|event| state.apply(event));
        let changes = state.take_changes();
        let begun = Instant::now();
        let report = engine.sync(state.snapshot(), changes, &Arrivals::default());
        syncs.push(begun.elapsed());
        assert!(!engine.is_failing() && report.operations > 0, "{name}: {report:?}");
        commits.push(engine.target().last);
    }
    let (sync, commit) = (median(syncs), median(commits));
    vec![Row::new(label, &format!("{name}: event to acknowledgement"), sync, Some(commit))]
}

/// The kernel, with the time its last commit took.
#[derive(Default)]
struct Timed {
    inner: Option<Netlink>,
    last: Duration,
}

impl Timed {
    fn kernel(&mut self) -> &mut Netlink {
        self.inner.get_or_insert_with(|| Netlink::open().expect("netlink"))
    }
}

impl Target for Timed {
    fn commit(&mut self, transaction: &Transaction) -> Receipt {
        let kernel = self.kernel();
        let begun = Instant::now();
        let receipt = kernel.commit(transaction);
        self.last = begun.elapsed();
        receipt
    }

    fn read_back(&mut self) -> Result<ferroproxy::apply::target::Live, ferroproxy::apply::target::CommitError> {
        self.kernel().read_back()
    }

    fn generation(&mut self) -> Result<u32, ferroproxy::apply::target::CommitError> {
        self.kernel().generation()
    }
}

fn clear() {
    use ferroproxy::apply::transaction::Op;
    let mut kernel = Netlink::open().expect("netlink");
    let live = kernel.read_back().expect("read back");
    let removal = |family| live.get(family).as_ref().map(|_| Op::DeleteTable).into_iter().collect();
    let receipt = kernel.commit(&Transaction { families: PerFamily::from_fn(removal) });
    assert_eq!(receipt.families.v4, Outcome::Done);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
