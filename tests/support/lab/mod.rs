//! The network lab: a node, pods and a client outside, each in a network namespace of its own, with real kernels between.
//!
//! ```text
//!   pod0 10.244.0.10  fd00:10:244::10 --+
//!   pod1 10.244.0.11  fd00:10:244::11 --+-- node 192.0.2.10 2001:db8::10 ---- outside 192.0.2.100 2001:db8::100
//!   ...                                 |   (forwards; rules go here)         (routes everything to the node)
//! ```
//!
//! Names are unique to the process and the lab, so tests run side by side. Needs root.

// Each user of the lab needs another part of it, and none exports it.
#![allow(dead_code, unused_imports, unreachable_pub)]

pub mod client;
mod echo;
mod proxy;
mod socket;
mod space;
mod steady;
mod wire;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use client::{Answer, Connection, Outcome, Refusal};
pub use echo::Echo;
pub use proxy::{HEALTHZ, METRICS, Proxy};
pub use socket::Stream;
pub use space::Space;
pub use steady::{Steady, Tally};
pub use wire::{CLUSTER_CIDRS, NODE, OUTSIDE, SERVICE_CIDRS, pod};

/// Long enough for any answer that will come, on a loaded machine too.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Shorter than TCP's second try (1 s): what is refused within it was refused at once, what is silent was dropped.
pub const AT_ONCE: Duration = Duration::from_millis(700);

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the pod of this index.
    Pod(usize),
    /// On the node itself.
    Node,
    /// On the machine outside the cluster.
    Outside,
}

/// A lab. Dropping it removes everything it made.
pub struct Lab {
    // Dropped in this order: servers close their sockets before the namespaces go.
    servers: Vec<Echo>,
    pods: Vec<Space>,
    node: Space,
    outside: Space,
}

impl Lab {
    /// Makes a lab of `pods` pods, without servers.
    pub fn new(pods: usize) -> io::Result<Lab> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the network lab needs root: run it with sudo",
            ));
        }
        space::sweep("fp-");
        let id = format!("fp-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let names =
            ["node", "outside"].map(str::to_owned).into_iter().chain((0..pods).map(|index| format!("pod{index}")));
        let mut spaces = Space::create(&names.map(|name| format!("{id}-{name}")).collect::<Vec<_>>())?;
        let pods = spaces.split_off(2);
        let (Some(outside), Some(node)) = (spaces.pop(), spaces.pop()) else { unreachable!("two were made") };
        wire::lay(&node, &outside, &pods)?;
        Ok(Lab { servers: Vec::new(), pods, node, outside })
    }

    /// Serves TCP on `port` of every pod; the servers are called `pod0`, `pod1` and so on.
    pub fn serve_tcp(&mut self, port: u16) -> io::Result<()> {
        (0..self.pods.len()).try_for_each(|pod| self.serve_stream(pod, Stream::Tcp, port))
    }

    /// Serves TCP or SCTP on `port` of one pod.
    pub fn serve_stream(&mut self, pod: usize, stream: Stream, port: u16) -> io::Result<()> {
        self.servers.push(Echo::stream(&self.pods[pod], &format!("pod{pod}"), stream, port)?);
        Ok(())
    }

    /// Serves UDP on `port` of every pod.
    pub fn serve_udp(&mut self, port: u16) -> io::Result<()> {
        for (index, space) in self.pods.iter().enumerate() {
            self.servers.push(Echo::datagrams(space, &format!("pod{index}"), port)?);
        }
        Ok(())
    }

    /// The namespace of a place.
    pub fn space(&self, place: Place) -> &Space {
        match place {
            Place::Pod(index) => &self.pods[index],
            Place::Node => &self.node,
            Place::Outside => &self.outside,
        }
    }

    /// One TCP connection, one line.
    pub fn tcp(&self, from: Place, to: &str, timeout: Duration) -> Outcome {
        Ok(self.connect(from, to, timeout)?.answer().clone())
    }

    /// One SCTP association, one line. Ask [`Stream::exists`] first.
    pub fn sctp(&self, from: Place, to: &str, timeout: Duration) -> Outcome {
        let to = address(to);
        self.space(from).run(|| Ok(Connection::open(Stream::Sctp, to, timeout)?.answer().clone()))?
    }

    /// A TCP connection that stays open.
    pub fn connect(&self, from: Place, to: &str, timeout: Duration) -> Result<Connection, Refusal> {
        let to = address(to);
        self.space(from).run(|| Connection::open(Stream::Tcp, to, timeout))?
    }

    /// One datagram from a fresh port, one line.
    pub fn udp(&self, from: Place, to: &str, timeout: Duration) -> Outcome {
        UdpFlow::open(self, from, to)?.ask(timeout)
    }

    /// A UDP socket that keeps its port, so that its datagrams stay one conntrack flow.
    pub fn udp_flow(&self, from: Place, to: &str) -> io::Result<UdpFlow> {
        UdpFlow::open(self, from, to)
    }

    /// `times` fresh TCP connections, counted.
    pub fn tcp_many(&self, from: Place, to: &str, times: usize, timeout: Duration) -> Tally {
        let mut tally = Tally::default();
        (0..times).for_each(|_| tally.count(self.tcp(from, to, timeout)));
        tally
    }

    /// A client that keeps opening TCP connections in the background, `pace` apart.
    pub fn keep_asking(&self, from: Place, to: &str, pace: Duration, timeout: Duration) -> io::Result<Steady> {
        Ok(Steady::start(self.space(from).door()?, address(to), pace, timeout))
    }

    /// Runs a program on the node and waits for it, whatever its exit status.
    pub fn run(&self, program: &str, args: &[&str]) -> io::Result<Output> {
        self.node.feed(program, args, "")
    }

    /// Loads nft text on the node; the error is what nft said.
    pub fn nft(&self, text: &str) -> io::Result<()> {
        self.node.feed("nft", &["-f", "-"], text).and_then(space::succeeded).map(drop)
    }

    /// What `nft list ruleset` prints on the node.
    pub fn nft_ruleset(&self) -> io::Result<String> {
        let output = self.run("nft", &["list", "ruleset"]).and_then(space::succeeded)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// An HTTP GET on the node: status and body.
    pub fn http_get(&self, to: &str, path: &str) -> io::Result<(u16, String)> {
        proxy::http_get(&self.node, address(to), path)
    }
}

/// A UDP socket in some namespace, connected to one address.
pub struct UdpFlow(std::net::UdpSocket);

impl UdpFlow {
    fn open(lab: &Lab, from: Place, to: &str) -> io::Result<UdpFlow> {
        let to = address(to);
        Ok(UdpFlow(lab.space(from).run(|| client::udp_socket(to))??))
    }

    /// One more datagram, one line.
    pub fn ask(&self, timeout: Duration) -> Outcome {
        client::ask_udp(&self.0, timeout)
    }
}

/// `addr:port` or `[addr]:port`, as a test writes it.
fn address(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is not an address and port"))
}
