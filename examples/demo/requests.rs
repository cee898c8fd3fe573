//! Real requests to every kind of frontend: who answered how often, and which source address the endpoint saw.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::Result;

use crate::go_on;
use crate::lab::{NODE, OUTSIDE, Outcome, PATIENCE, Place, pod};
use crate::paint::{note, step, verdict};
use crate::stage::Stage;

/// So many that an endpoint of three left out by chance is out of the question (1 in 10^10).
const TIMES: usize = 60;

/// A frontend of the demo's services, in both families.
struct Frontend {
    kind: &'static str,
    addresses: [&'static str; 2],
    udp: bool,
    endpoints: usize,
    cluster_ip: bool,
}

const FRONTENDS: [Frontend; 5] = [
    web("cluster IP", ["10.96.0.80:80", "[fd00:10:96::80]:80"], true),
    web("node port", ["192.0.2.10:30080", "[2001:db8::10]:30080"], false),
    web("external IP", ["198.51.100.80:80", "[2001:db8:51::80]:80"], false),
    web("load balancer", ["203.0.113.80:80", "[2001:db8:113::80]:80"], false),
    Frontend {
        kind: "UDP cluster IP",
        addresses: ["10.96.0.53:53", "[fd00:10:96::53]:53"],
        udp: true,
        endpoints: 2,
        cluster_ip: true,
    },
];

const fn web(kind: &'static str, addresses: [&'static str; 2], cluster_ip: bool) -> Frontend {
    Frontend { kind, addresses, udp: false, endpoints: 3, cluster_ip }
}

/// What came back from one frontend.
#[derive(Default)]
struct Seen {
    answers: BTreeMap<String, usize>,
    sources: BTreeSet<IpAddr>,
    failures: Vec<String>,
}

impl Seen {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Ok(answer) => {
                *self.answers.entry(answer.name).or_default() += 1;
                self.sources.insert(answer.client);
            }
            Err(refusal) => self.failures.push(refusal.to_string()),
        }
    }

    fn as_wanted(&self, endpoints: usize, source: IpAddr) -> bool {
        let names: Vec<String> = (0..endpoints).map(|index| format!("pod{index}")).collect();
        self.failures.is_empty() && self.answers.keys().eq(names.iter()) && self.sources == BTreeSet::from([source])
    }
}

/// Prints the table; answers how many lines are wrong.
pub(crate) fn show(stage: &Stage) -> Result<usize> {
    step(4, &format!("{TIMES} requests from everywhere to every frontend"));
    println!("    {:<8} {:<15} {:<24} {:>5} {:>5} {:>5}   source seen", "from", "to", "", "pod0", "pod1", "pod2");
    let mut wrong = 0;
    for place in [Place::Pod(3), Place::Node, Place::Outside] {
        for frontend in &FRONTENDS {
            for family in 0..2 {
                go_on()?;
                wrong += line(stage, place, frontend, family);
            }
        }
    }
    note("Pods keep their address on a cluster IP. Traffic from elsewhere, and to external addresses, is masqueraded.");
    Ok(wrong)
}

fn line(stage: &Stage, place: Place, frontend: &Frontend, family: usize) -> usize {
    let address = frontend.addresses[family];
    let mut seen = Seen::default();
    for _ in 0..TIMES {
        let ask = if frontend.udp {
            stage.lab.udp(place, address, PATIENCE)
        } else {
            stage.lab.tcp(place, address, PATIENCE)
        };
        seen.count(ask);
    }
    let (from, own) = match place {
        Place::Pod(index) => (format!("pod{index}"), pod(index)),
        Place::Node => ("node".to_owned(), NODE),
        Place::Outside => ("outside".to_owned(), OUTSIDE),
    };
    let inside = matches!(place, Place::Pod(_)) && frontend.cluster_ip;
    let right = seen.as_wanted(frontend.endpoints, if inside { own[family] } else { NODE[family] });
    let count = |name: &str| seen.answers.get(name).map_or("-".to_owned(), usize::to_string);
    let sources = seen.sources.iter().map(IpAddr::to_string).chain(seen.failures.first().cloned());
    println!(
        "    {from:<8} {:<15} {address:<24} {:>5} {:>5} {:>5}   {:<17} {}",
        frontend.kind,
        count("pod0"),
        count("pod1"),
        count("pod2"),
        sources.collect::<Vec<_>>().join(" "),
        verdict(right)
    );
    usize::from(!right)
}
