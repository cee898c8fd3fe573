//! The table, as text and as a file.

use std::fmt::Write;
use std::process::Command;

use crate::figures::Row;

/// The rows of a section or of all of them.
pub fn markdown(rows: &[Row]) -> String {
    let peer = rows.iter().any(Row::has_peer);
    let (title, rule) = if peer { (" kube-proxy |", "---:|") } else { ("", "") };
    let mut text = format!("| size | what | ferroproxy | floor | ratio |{title}\n|---|---|---:|---:|---:|{rule}\n");
    for row in rows {
        let cells = row.cells();
        let shown = if peer { &cells[..] } else { &cells[..5] };
        writeln!(text, "| {} |", shown.join(" | ")).expect("text");
    }
    text
}

/// Writes all sections with what they were measured on.
pub fn write(rows: &[Row], path: &str) {
    let mut text = format!(
        "# What `make bench` measured\n\n{} Medians; of full commits the least of several. A ratio is against the floor of the same run: the same batch \
         encoded before and sent raw, the commit alone, a bare watch or list of the same server, a connection that meets conntrack alone. Other work ran on \
         the machine: look at the ratios.\n",
        machine("nft"),
    );
    for section in rows.chunk_by(|a, b| a.section == b.section) {
        writeln!(text, "\n## {}\n\n{}", heading(section[0].section), markdown(section)).expect("text");
    }
    text += "\n![milliseconds against services](curves.svg)\n";
    std::fs::write(path, text).expect("RESULTS.md can be written");
}

/// What it was measured on, and the version of a program it was measured with.
pub fn machine(program: &str) -> String {
    format!(
        "Kernel {}, {}, {} cores ({}), {}. Built with the bench profile: optimised as released, without link-time optimisation. Load average {}.",
        output("uname", &["-r"]),
        output(program, &["--version"]),
        std::thread::available_parallelism().map_or(0, usize::from),
        processor(),
        output("date", &["-u", "+%Y-%m-%d"]),
        std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
    )
}

fn heading(section: &str) -> &'static str {
    match section {
        "kernel" => "Full and incremental commits",
        "process" => "The process, fed by an API server over HTTP",
        "peer" => "The same real API server followed by ferroproxy and by kube-proxy (nftables mode)",
        "huge" => "Huge",
        "curves" => "How it grows: services of 10 endpoints against time",
        "growth" => "Growing through every capacity while connections are made",
        _ => "Packets",
    }
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    line.map_or("unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(|_| format!("no {program}"), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}
