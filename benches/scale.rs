//! `make bench`: what everything costs, against the kernel's own part of it in the same run.
//!
//! Runs in private network namespaces and needs root. Prints one table, and when all of it ran writes `benches/RESULTS.md` and
//! `benches/curves.svg`. Figures are for reading, never for a test to pass or fail on: machines drift, so look at the ratios.
//!
//! Arguments: `--quick` for smaller sizes and fewer repetitions; names of sections to run only those.

// The modules are shared with tests, which use more of them.
#![allow(dead_code, missing_docs, unreachable_pub)]

#[path = "support/bare.rs"]
mod bare;
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/curves.rs"]
mod curves;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/first.rs"]
mod first;
#[path = "support/flows.rs"]
mod flows;
#[path = "support/growth.rs"]
mod growth;
#[path = "support/kernel.rs"]
mod kernel;
#[path = "support/objects.rs"]
mod objects;
#[path = "support/packets.rs"]
mod packets;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/process.rs"]
mod process;
#[path = "support/results.rs"]
mod results;
#[path = "support/server.rs"]
mod server;
#[path = "../tests/support/mod.rs"]
mod support;

use figures::Row;
use process::Effort;

/// What to run.
pub struct Plan {
    quick: bool,
    sections: Vec<String>,
}

impl Plan {
    fn wants(&self, section: &str) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|name| name == section)
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    // `cargo test --benches` and `cargo bench -- --test` only want to know whether it builds.
    if args.iter().any(|arg| arg == "--test") || !support::netns::is_possible() {
        return;
    }
    let quick = args.iter().any(|arg| arg == "--quick");
    let plan = Plan { quick, sections: args.into_iter().filter(|arg| !arg.starts_with('-')).collect() };
    let mut rows = Vec::new();
    let mut curves = Vec::new();
    run(&plan, "kernel", &mut rows, |quick| {
        kernel::sizes(if quick { &[(1_000, 10), (10_000, 10)] } else { &kernel::SIZES })
    });
    run(&plan, "process", &mut rows, |quick| {
        let effort = if quick { Effort::QUICK } else { Effort::FULL };
        let sizes: &[(usize, usize)] = if quick { &[(10_000, 10)] } else { &[(10_000, 10), (50_000, 5)] };
        sizes.iter().flat_map(|(services, endpoints)| process::measure(*services, *endpoints, effort)).collect()
    });
    run(&plan, "peer", &mut rows, |quick| peer::measure(if quick { 500 } else { 10_000 }, 10));
    run(&plan, "huge", &mut rows, |quick| kernel::huge(if quick { 10 } else { 1 }));
    run(&plan, "curves", &mut rows, |quick| {
        let (rows, points) = curves::measure(if quick { &curves::SIZES[..4] } else { &curves::SIZES });
        curves = points;
        rows
    });
    run(&plan, "growth", &mut rows, |quick| growth::measure(if quick { 1_000 } else { 10_000 }));
    run(&plan, "packets", &mut rows, |quick| packets::measure(if quick { 1_000 } else { 10_000 }));
    if !quick && plan.sections.is_empty() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/benches");
        results::write(&rows, &format!("{directory}/RESULTS.md"));
        curves::draw(&curves, &format!("{directory}/curves.svg"));
    }
}

/// Runs a section and prints its rows at once.
fn run(plan: &Plan, section: &'static str, rows: &mut Vec<Row>, measure: impl FnOnce(bool) -> Vec<Row>) {
    if !plan.wants(section) {
        return;
    }
    let more: Vec<Row> = measure(plan.quick).into_iter().map(|row| row.within(section)).collect();
    if more.is_empty() {
        return;
    }
    println!("{}", results::markdown(&more));
    rows.extend(more);
}
