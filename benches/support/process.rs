//! The process itself, fed by an API server over HTTP: how soon, how much memory, how much of a core.

use std::fs;
use std::time::{Duration, Instant};

use ferroproxy::apply::netlink::Netlink;
use ferroproxy::apply::target::Target;

use crate::bare::Bare;
use crate::figures::{Row, median, percentile};
use crate::objects;
use crate::support::daemon::{Daemon, namespace};
use crate::support::fake_api::{FakeApi, Resource};
use crate::support::netns::Netns;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the kernel's generation is looked at.
const LOOK: Duration = Duration::from_micros(50);

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Single changes, one after the other.
    pub singles: usize,
    /// Seconds of 100 changes each.
    pub seconds: usize,
    /// Changes as fast as they go, before memory is looked at again.
    pub churn: usize,
}

impl Effort {
    /// For every day.
    pub const QUICK: Effort = Effort { singles: 100, seconds: 5, churn: 2_000 };
    /// For RESULTS.md.
    pub const FULL: Effort = Effort { singles: 300, seconds: 60, churn: 10_000 };
}

/// A cluster of this size, and a process that follows it.
struct World<'a> {
    netns: &'a Netns,
    fake: &'a FakeApi,
    daemon: Daemon<'a>,
    services: usize,
    endpoints: usize,
    round: usize,
}

/// All figures of the process at one size.
pub fn measure(services: usize, endpoints: usize, effort: Effort) -> Vec<Row> {
    let label = format!("{services} x {endpoints}");
    let netns = namespace("bench");
    let fake = netns.enter(FakeApi::start);
    objects::fill(&fake, services, endpoints);
    let dir = tempfile::tempdir().expect("a directory");
    let kubeconfig = fake.write_kubeconfig(dir.path()).to_string_lossy().into_owned();
    let lists = netns.enter(|| Bare::new(&kubeconfig).lists());
    let begun = Instant::now();
    let args = ["run", "--kubeconfig", &kubeconfig, "--hostname-override", "node-0", "--cluster-cidr", "10.128.0.0/9"];
    let daemon = Daemon::start(&netns, &args);
    let mut world = World { netns: &netns, fake: &fake, daemon, services, endpoints, round: 0 };
    world.until_healthy();
    let start = begun.elapsed();
    let mut rows = vec![
        Row::ms(&label, "cold start: process started to healthy, against bare lists of both kinds", start).over(lists),
    ];
    rows.push(Row::mb(&label, "resident memory after the start", world.memory("VmRSS")));
    rows.extend(world.singles(&label, &kubeconfig, effort.singles));
    rows.extend(world.steadily(&label, effort.seconds));
    world.churn(effort.churn);
    let what = format!("resident memory after {} more changes", effort.churn);
    rows.push(Row::mb(&label, &what, world.memory("VmRSS")));
    rows.push(Row::mb(&label, "of that anonymous (heap and stacks)", world.memory("RssAnon")));
    rows.push(Row::mb(&label, "most resident memory ever", world.memory("VmHWM")));
    rows
}

impl World<'_> {
    fn until_healthy(&self) {
        let end = Instant::now() + PATIENCE;
        while self.daemon.get(10256, "/healthz").0 != 200 {
            assert!(Instant::now() < end, "not healthy:\n{}", self.daemon.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A field of `/proc/PID/status`, in bytes.
    fn memory(&self, field: &str) -> u64 {
        self::field(self.daemon.pid(), field)
    }

    /// CPU time so far.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.daemon.pid())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        let ticks: u64 = [11, 12].map(|at: usize| fields[at].parse::<u64>().expect("ticks")).iter().sum();
        Duration::from_millis(ticks * 10)
    }

    /// Puts the next change: the first endpoint of some service is another.
    fn change(&mut self) {
        self.round += 1;
        let n = (self.round * 7919) % self.services;
        self.fake.put_slice(objects::slice(n, self.endpoints, self.round));
    }

    /// One change after the other, each held against a bare watch of the same event.
    fn singles(&mut self, label: &str, kubeconfig: &str, count: usize) -> Vec<Row> {
        let (mut watched, mut committed) = (vec![], vec![]);
        let netns = self.netns;
        netns.enter(|| {
            let bare = Bare::new(kubeconfig);
            let events = bare.watch();
            self.fake.wait_watching(Resource::Slices, 2);
            let mut kernel = Netlink::open().expect("netlink");
            for _ in 0..count {
                let before = kernel.generation().expect("a generation");
                let begun = Instant::now();
                self.change();
                let end = begun + PATIENCE;
                while kernel.generation().expect("a generation") == before {
                    assert!(Instant::now() < end, "no commit follows");
                    std::thread::sleep(LOOK);
                }
                committed.push(begun.elapsed());
                watched.push(events.recv_timeout(PATIENCE).expect("an event").saturating_duration_since(begun));
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let row = |what: &str, share: f64| {
            let what = format!("PUT of a slice to its commit, {what}, against a bare watch");
            Row::ms(label, &what, percentile(&mut committed.clone(), share))
                .over(percentile(&mut watched.clone(), share))
        };
        vec![row("p50", 0.5), row("p99", 0.99)]
    }

    /// 100 changes a second: how late each is in force, and what it costs.
    fn steadily(&mut self, label: &str, seconds: usize) -> Vec<Row> {
        let count = seconds * 100;
        let netns = self.netns;
        let (begun, cpu) = (Instant::now(), self.cpu());
        let late = netns.enter(|| {
            let mut kernel = Netlink::open().expect("netlink");
            let mut generation = kernel.generation().expect("a generation");
            let (mut matched, mut puts) = (Matched::default(), 0);
            let mut last_news = Instant::now();
            while puts < count || last_news.elapsed() < Duration::from_millis(200) {
                if puts < count && begun.elapsed() >= Duration::from_millis(10) * u32::try_from(puts).expect("few") {
                    puts += 1;
                    last_news = Instant::now();
                    matched.waiting.push(last_news);
                    self.change();
                }
                let now = kernel.generation().expect("a generation");
                (0..now.wrapping_sub(generation)).for_each(|_| matched.commit());
                generation = now;
                std::thread::sleep(LOOK);
            }
            assert!(matched.waiting.is_empty(), "every change is in force");
            matched.late
        });
        let share = (self.cpu() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
        let p99 = percentile(&mut late.clone(), 0.99);
        vec![
            Row::ms(label, "100 changes a second: PUT to commit, p50", median(late)),
            Row::ms(label, "100 changes a second: PUT to commit, p99", p99),
            Row::share(label, "100 changes a second: share of a core", share),
        ]
    }

    /// As many changes as they go, until the last one is in force.
    fn churn(&mut self, count: usize) {
        for _ in 0..count {
            self.change();
            if self.round.is_multiple_of(16) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let netns = self.netns;
        netns.enter(|| {
            let mut kernel = Netlink::open().expect("netlink");
            let mut generation = 0;
            loop {
                let now = kernel.generation().expect("a generation");
                if now == generation {
                    return;
                }
                generation = now;
                std::thread::sleep(Duration::from_millis(300));
            }
        });
    }
}

/// A field of `/proc/PID/status`, in bytes.
pub fn field(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect("a field");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Which change came into force with which commit. One commit may carry several changes, and each change is in one.
#[derive(Default)]
struct Matched {
    waiting: Vec<Instant>,
    late: Vec<Duration>,
    last: Option<Instant>,
}

impl Matched {
    /// A commit: it had all that waited. If one more follows while nothing waits, the last one was not among them after all.
    fn commit(&mut self) {
        if self.waiting.is_empty()
            && let (Some(put), Some(late)) = (self.last, self.late.last_mut())
        {
            *late = put.elapsed();
        }
        self.last = self.waiting.last().copied().or(self.last);
        self.late.extend(self.waiting.drain(..).map(|put| put.elapsed()));
    }
}
