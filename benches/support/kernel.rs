//! Full and incremental commits of an engine in this process, against the kernel's own part of them.

use std::time::{Duration, Instant};

use ferroproxy::agent::{Arrivals, Engine, Rules};
use ferroproxy::apply::diff;
use ferroproxy::apply::netlink::Netlink;
use ferroproxy::apply::target::{CommitError, Live, Outcome, Receipt, Target};
use ferroproxy::apply::transaction::{Op, Transaction};
use ferroproxy::model::{Config, Event, Family, LocalDetector, PerFamily, SourceConfig};
use ferroproxy::state::State;

use crate::cluster::{Cluster, Kind, NODE};
use crate::figures::{Row, Stopwatch, least, median};
use crate::support::netns::Netns;

/// Services, and endpoints of each.
pub const SIZES: [(usize, usize); 4] = [(100, 10), (1_000, 10), (10_000, 10), (50_000, 5)];
/// Repetitions of a full commit; the least counts, for others use the machine too.
const FULL_RUNS: usize = 5;
/// Changes of each kind.
const CHANGES: usize = 300;

/// The configuration of all measurements in this process: everything is looked at from the node `n`.
pub fn config() -> Config {
    let nets = PerFamily { v4: Some("10.128.0.0/9".parse().expect("a network")), v6: None };
    Config { detector: LocalDetector::ClusterCidr(nets), ..Config::new(SourceConfig::Manifests("unused".into()), NODE) }
}

/// An engine that has synced nothing yet.
pub fn engine() -> Engine<Timed> {
    Engine::new(config(), vec![Family::V4], Timed::default())
}

/// A store that knows the cluster.
pub fn told(cluster: &Cluster) -> State {
    let mut state = State::new();
    cluster.list().into_iter().for_each(|event| state.apply(event));
    state
}

/// The usual sizes: full commits and every kind of change.
pub fn sizes(sizes: &[(usize, usize)]) -> Vec<Row> {
    let namespace = Netns::new("bench");
    sizes.iter().flat_map(|(services, endpoints)| namespace.enter(|| measure(*services, *endpoints))).collect()
}

/// Sizes and shapes beyond the usual: full commits alone. `part` divides all of them.
pub fn huge(part: usize) -> Vec<Row> {
    let namespace = Netns::new("bench");
    let shapes = [
        (Kind::Tcp, 5_000 / part, 50),
        (Kind::Tcp, 100_000 / part, 1),
        (Kind::Tcp, 1, 5_000 / part),
        (Kind::LocalBalancer, 1_000 / part, 10),
    ];
    let one = |(kind, services, endpoints): (Kind, usize, usize)| {
        let label = match kind {
            Kind::LocalBalancer => format!("{services} x {endpoints}, LoadBalancer, policy Local"),
            _ => format!("{services} x {endpoints}"),
        };
        namespace.enter(|| {
            let mut cluster = Cluster::of(kind, services, endpoints);
            let mut state = told(&cluster);
            let full = full_commits(&state, 3);
            let mut engine = synced(&mut state);
            let change = kinds_of_change()[0];
            let rows = incremental(&label, change, 50, &mut cluster, &mut state, &mut engine);
            clear();
            let what = "state known to commit acknowledged, processor time";
            [vec![Row::ms(&label, what, full.total_cpu).over(full.raw_cpu)], rows].concat()
        })
    };
    shapes.into_iter().flat_map(one).collect()
}

fn measure(services: usize, endpoints: usize) -> Vec<Row> {
    let label = format!("{services} x {endpoints}");
    let mut cluster = Cluster::new(services, endpoints);
    let mut state = told(&cluster);
    let full = full_commits(&state, FULL_RUNS);
    let mut rows = vec![
        Row::ms(&label, "full: encode", full.encode),
        Row::ms(&label, "full: the same batch sent raw (kernel alone)", full.raw),
        Row::ms(&label, "full: commit (encode, send, acknowledge)", full.commit).over(full.raw),
        Row::ms(&label, "full: state known to commit acknowledged", full.total).over(full.raw),
        Row::ms(&label, "full: the same in processor time", full.total_cpu).over(full.raw_cpu),
    ];
    let mut engine = synced(&mut state);
    for change in kinds_of_change() {
        rows.extend(incremental(&label, change, CHANGES, &mut cluster, &mut state, &mut engine));
    }
    clear();
    rows
}

/// An engine whose rules are in force.
pub fn synced(state: &mut State) -> Engine<Timed> {
    clear();
    let mut engine = engine();
    sync(state, &mut engine);
    engine
}

/// Syncs what has changed. Answers how long it took.
pub fn sync(state: &mut State, engine: &mut Engine<Timed>) -> Duration {
    let changes = state.take_changes();
    let begun = Instant::now();
    let report = engine.sync(state.snapshot(), changes, &Arrivals::default());
    let took = begun.elapsed();
    assert!(!engine.is_failing(), "{report:?}");
    took
}

/// The least of several full commits.
pub struct Full {
    /// Encode, send, acknowledgement.
    pub commit: Duration,
    /// The same bytes sent raw.
    pub raw: Duration,
    /// Encode alone.
    pub encode: Duration,
    /// State known to acknowledgement.
    pub total: Duration,
    /// The same in processor time.
    pub total_cpu: Duration,
    /// The same bytes sent raw, in processor time.
    pub raw_cpu: Duration,
}

/// Commits everything to an empty namespace, so many times.
pub fn full_commits(state: &State, runs: usize) -> Full {
    let (mut commit, mut encode, mut raw, mut total) = (vec![], vec![], vec![], vec![]);
    let (mut raw_cpu, mut total_cpu) = (vec![], vec![]);
    for _ in 0..runs {
        clear();
        let mut engine = engine();
        let begun = Stopwatch::start();
        engine.sync(state.snapshot(), Default::default(), &Arrivals::default());
        note(begun.read(), &mut total, &mut total_cpu);
        assert!(!engine.is_failing());
        commit.push(engine.target().last);
        drop(engine);
        clear();
        let (compiler, _) = ferroproxy::agent::plan(&config(), state.snapshot(), &[Family::V4], Default::default());
        let transaction = diff(compiler.draft());
        let mut kernel = Netlink::open().expect("netlink");
        let begun = Instant::now();
        let batch = kernel.encode(&transaction);
        encode.push(begun.elapsed());
        let begun = Stopwatch::start();
        kernel.send(&batch).expect("the kernel takes the batch");
        note(begun.read(), &mut raw, &mut raw_cpu);
    }
    let (total, total_cpu, raw, raw_cpu) = (least(total), least(total_cpu), least(raw), least(raw_cpu));
    Full { commit: least(commit), raw, encode: least(encode), total, total_cpu, raw_cpu }
}

fn note((clock, cpu): (Duration, Duration), clocks: &mut Vec<Duration>, cpus: &mut Vec<Duration>) {
    clocks.push(clock);
    cpus.push(cpu);
}

/// A kind of change: its name, and the events of its n-th.
pub type Change = (&'static str, fn(&mut Cluster, usize) -> Vec<Event>);

/// The kinds of change that are measured.
pub fn kinds_of_change() -> [Change; 4] {
    [
        ("one endpoint replaced", Cluster::replace_endpoint),
        ("all endpoints of a service replaced", Cluster::replace_all),
        ("one endpoint more or less", Cluster::grow_or_shrink),
        ("a service added or deleted", Cluster::add_or_delete),
    ]
}

/// So many changes of a kind, one after the other.
pub fn incremental(
    label: &str,
    (name, change): Change,
    count: usize,
    cluster: &mut Cluster,
    state: &mut State,
    engine: &mut Engine<Timed>,
) -> Vec<Row> {
    let (mut syncs, mut commits) = (vec![], vec![]);
    for n in 0..count {
        change(cluster, n).into_iter().for_each(|event| state.apply(event));
        syncs.push(sync(state, engine));
        commits.push(engine.target().last);
    }
    vec![Row::ms(label, &format!("{name}: event to acknowledgement"), median(syncs)).over(median(commits))]
}

/// The kernel, with the time its last commit took.
#[derive(Default)]
pub struct Timed {
    inner: Option<Netlink>,
    /// How long the last commit took.
    pub last: Duration,
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

    fn read_back(&mut self) -> Result<Live, CommitError> {
        self.kernel().read_back()
    }

    fn generation(&mut self) -> Result<u32, CommitError> {
        self.kernel().generation()
    }
}

/// Removes our tables from this namespace.
pub fn clear() {
    let mut kernel = Netlink::open().expect("netlink");
    let live = kernel.read_back().expect("read back");
    let removal = |family| live.get(family).as_ref().map(|_| Op::DeleteTable).into_iter().collect();
    let receipt = kernel.commit(&Transaction { families: PerFamily::from_fn(removal) });
    assert_eq!(receipt.families.v4, Outcome::Done);
}
