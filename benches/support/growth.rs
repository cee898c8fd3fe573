//! A cluster that grows through every capacity of its maps while connections are made.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ferroproxy::agent::Engine;
use ferroproxy::model::Family;

use crate::cluster::Cluster;
use crate::figures::{Row, median};
use crate::kernel::{Timed, sync, synced, told};
use crate::packets::wire;
use crate::support::netns::Netns;

/// Services that come with each commit.
const AT_A_TIME: usize = 25;
const ENDPOINTS: usize = 10;
/// Between two commits, for connections to meet the rules of each.
const PAUSE: Duration = Duration::from_millis(5);
const TIMEOUT: Duration = Duration::from_secs(2);

/// Grows from a few services to so many.
pub fn measure(services: usize) -> Vec<Row> {
    let namespace = Netns::new("bench");
    wire(&namespace);
    let (made, failed, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let mut cluster = Cluster::new(AT_A_TIME, ENDPOINTS);
    let mut state = told(&cluster);
    let mut engine = namespace.enter(|| synced(&mut state));
    let listener = namespace.enter(|| TcpListener::bind("0.0.0.0:8080")).expect("a server");
    let own = listener.local_addr().expect("an address");
    let (times, steps) = std::thread::scope(|scope| {
        scope.spawn(|| serve(&listener, &stop));
        scope.spawn(|| namespace.enter(|| ask(&made, &failed, &stop)));
        let (mut times, mut steps) = (vec![], 0);
        while cluster_size(&engine) < services {
            let before = capacities(&engine);
            cluster.grow(AT_A_TIME).into_iter().for_each(|event| state.apply(event));
            times.push(sync(&mut state, &mut engine));
            steps += usize::from(capacities(&engine) != before);
            std::thread::sleep(PAUSE);
        }
        stop.store(true, Ordering::Relaxed);
        let _ = namespace.enter(|| TcpStream::connect(("127.0.0.1", own.port())));
        (times, steps)
    });
    let label = format!("{AT_A_TIME} to {services} x {ENDPOINTS}, {AT_A_TIME} at a time");
    let most = times.iter().copied().max().expect("times");
    vec![
        Row::count(&label, "commits that outgrew a capacity", steps as f64),
        Row::ms(&label, "the longest commit (all elements anew)", most).over(median(times)),
        Row::count(&label, "connections made meanwhile", made.load(Ordering::Relaxed) as f64),
        Row::count(&label, "connections that failed", failed.load(Ordering::Relaxed) as f64),
    ]
}

fn cluster_size(engine: &Engine<Timed>) -> usize {
    engine.compiler().expect("synced").service_count()
}

fn capacities(engine: &Engine<Timed>) -> Vec<Option<u32>> {
    let table = engine.compiler().expect("synced").draft().ruleset().get(Family::V4).as_ref().expect("a table");
    table.sets.values().map(|set| set.def.size).collect()
}

/// Every endpoint is this one server: it says one byte.
fn serve(listener: &TcpListener, stop: &AtomicBool) {
    for stream in listener.incoming() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let _ = stream.and_then(|mut stream| stream.write_all(b"x"));
    }
}

fn ask(made: &AtomicUsize, failed: &AtomicUsize, stop: &AtomicBool) {
    let vip: SocketAddr = "10.96.0.1:80".parse().expect("an address");
    while !stop.load(Ordering::Relaxed) {
        let asked = TcpStream::connect_timeout(&vip, TIMEOUT).and_then(|mut stream| {
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.read_exact(&mut [0])
        });
        let count = if asked.is_ok() { made } else { failed };
        count.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_micros(500));
    }
}
