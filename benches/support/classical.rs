//! ferroproxy and kube-proxy one after the other in iptables mode, by the same programs, followers of the same real API server.
//!
//! Both say in `/metrics` when they last had everything in force, by the same clock; so nobody looks over their shoulder meanwhile. Processor time is that of
//! the process and of the programs it ran.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ferroproxy::apply::iptables::Variant;

use crate::figures::least;
use crate::server::{Follower, Server, Sides};
use crate::support::daemon::BINARY;
use crate::support::netns;

const ENDPOINTS: usize = 10;
/// Rules of a service of ten endpoints in `nat`.
const RULES: f64 = 32.0;
/// Changes of each kind.
const ROUNDS: usize = 9;
/// How long a sync may take. One that takes longer is told as such.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(100);

/// Both sync as soon as something has changed: by default either waits up to a second.
const BOTH: [&str; 3] = ["--proxy-mode=iptables", "--cluster-cidr=10.128.0.0/9", "--iptables-min-sync-period=1ms"];
const KUBE_PROXY: [&str; 4] = [
    "--conntrack-max-per-core=0",
    "--conntrack-min=0",
    "--conntrack-tcp-timeout-established=0s",
    "--conntrack-tcp-timeout-close-wait=0s",
];

/// What something took: by the clock, and on the processor. `None`: it was not over when patience was.
#[derive(Clone, Copy)]
struct Took(Option<Duration>, Duration);

/// What one of the two took for the first sync, an endpoint and a service.
type Figures = [Option<Took>; 3];

const WHAT: [&str; 3] =
    ["process started to all rules in force", "one endpoint replaced", "a service gets its endpoints"];

/// A table of both variants at these sizes, smallest first; `None` where there is no server or no peer.
pub fn measure(sizes: &[usize], variants: &[Variant]) -> Option<String> {
    let sides = Sides::given()?;
    let server = Server::new(&sides.kubeconfig);
    let mut text = "| iptables | services x 10 | what | ferroproxy | kube-proxy | ratio | ferroproxy, processor | kube-proxy, processor | ratio |\n\
                    |---|---:|---|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    let mut round = 0;
    for services in sizes {
        server.fill(*services, ENDPOINTS);
        for variant in variants.iter().copied() {
            let mut one = |program: &str, args: &[&str]| {
                round += 1000;
                follow(&server, program, &[args, &BOTH].concat(), variant, *services, round)
            };
            let ours = one(BINARY, &["run"]);
            let theirs = one(&sides.peer, &KUBE_PROXY);
            for (what, (ours, theirs)) in WHAT.iter().zip(ours.into_iter().zip(theirs)) {
                let row = row(variant, *services, what, ours, theirs);
                println!("{row}");
                writeln!(text, "{row}").expect("text");
            }
        }
    }
    server.clear();
    Some(text)
}

fn row(variant: Variant, services: usize, what: &str, ours: Option<Took>, theirs: Option<Took>) -> String {
    let shown =
        |time: Option<Duration>| time.map_or(String::new(), |time| format!("{:.0} ms", time.as_secs_f64() * 1e3));
    let clock = |took: Option<Took>| match took {
        Some(Took(None, _)) => format!("> {} s", PATIENCE.as_secs()),
        Some(Took(time, _)) => shown(time),
        None => "not reached".to_owned(),
    };
    // Of programs that still run nothing is known: the time is that of a sync that was over.
    let spent = |took: Option<Took>| took.and_then(|Took(time, cpu)| time.map(|_| cpu));
    let ratio = |a: Option<Duration>, b: Option<Duration>| match (a, b) {
        (Some(a), Some(b)) => format!("{:.2}", a.as_secs_f64() / b.as_secs_f64()),
        _ => String::new(),
    };
    let elapsed = |took: Option<Took>| took.and_then(|Took(clock, _)| clock);
    format!(
        "| {} | {services} | {what} | {} | {} | {} | {} | {} | {} |",
        variant.name(),
        clock(ours),
        clock(theirs),
        ratio(elapsed(ours), elapsed(theirs)),
        shown(spent(ours)),
        shown(spent(theirs)),
        ratio(spent(ours), spent(theirs)),
    )
}

/// Starts one of the two in a namespace of its own and follows it. Rounds are those nobody had before: the same slice again is no change.
fn follow(server: &Server, program: &str, args: &[&str], variant: Variant, services: usize, round: usize) -> Figures {
    let netns = server.namespace();
    let programs = programs(variant);
    // kubelet's hint: ferroproxy goes by it.
    let iptables = format!("iptables-{}", variant.name());
    netns::run(netns.command(&iptables).args(["-t", "mangle", "-N", "KUBE-IPTABLES-HINT"]));
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    netns.enter(|| {
        let begun = now();
        let follower = server.follower(program, &args, Some(programs.path()));
        let all = || rules() >= RULES * services as f64;
        let first = until(begun, all);
        let first = Took(first, cpu(&follower));
        if first.0.is_none() {
            return [Some(first), None, None];
        }
        let endpoint = each(&follower, |n| {
            let begun = now();
            server.put(services, ENDPOINTS, round + n);
            until(begun, || true)
        });
        let service = each(&follower, |n| {
            let begun = now();
            server.add_service(services + n);
            until(begun, || true)?;
            let begun = now();
            server.add_slice(services + n, ENDPOINTS);
            until(begun, || rules() >= RULES * (services + n + 1) as f64)
        });
        (0..ROUNDS).for_each(|n| server.remove(services + n));
        [Some(first), endpoint, service]
    })
}

/// The least by the clock, for others use the machine too, and the mean on the processor of some changes; `None` where one was not over in time.
fn each(follower: &Follower, change: impl Fn(usize) -> Option<Duration>) -> Option<Took> {
    let before = cpu(follower);
    let all: Vec<Duration> = (0..ROUNDS).map(change).collect::<Option<_>>()?;
    let cpu = cpu(follower) - before;
    Some(Took(Some(least(all)), cpu / u32::try_from(ROUNDS).expect("few")))
}

/// From a moment until everything was in force last, once that was after it.
fn until(begun: f64, is_so: impl Fn() -> bool) -> Option<Duration> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        std::thread::sleep(LOOK);
        let last = metric("kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"}");
        if last > begun && is_so() {
            return Some(Duration::from_secs_f64(last - begun));
        }
    }
    None
}

fn rules() -> f64 {
    metric("kubeproxy_sync_proxy_rules_iptables_total{ip_family=\"IPv4\",table=\"nat\"}")
}

/// A value of `/metrics` in this namespace; 0 where there is none (yet).
fn metric(name: &str) -> f64 {
    let asked = TcpStream::connect("127.0.0.1:10249").and_then(|mut stream| {
        let mut text = String::new();
        // An older version of the protocol: the answer comes in one piece.
        write!(stream, "GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
        stream.read_to_string(&mut text)?;
        Ok(text)
    });
    let text = asked.unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_default()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs_f64()
}

/// Processor time so far, with that of programs that have ended.
fn cpu(follower: &Follower) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", follower.0.id())).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks: u64 = (11..15).map(|at: usize| fields[at].parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}

/// A directory in which the programs of a variant stand by their usual names: kube-proxy asks for no variant.
fn programs(variant: Variant) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let link = |ip: &str, what: &str| {
        let known = format!("{ip}-{}{what}", variant.name());
        let found = ["/usr/sbin", "/sbin", "/usr/bin"].into_iter().map(|dir| Path::new(dir).join(&known));
        let found = found.into_iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no {known}"));
        symlink(found, directory.path().join(format!("{ip}{what}"))).expect("a link");
    };
    for ip in ["iptables", "ip6tables"] {
        ["", "-save", "-restore"].into_iter().for_each(|what| link(ip, what));
    }
    directory
}
