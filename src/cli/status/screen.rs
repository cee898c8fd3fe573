//! The screen for people.

use std::fmt::Write;

use crate::observe::{MapStatus, Status};

/// So many maps are shown, the fullest first.
const MAPS: usize = 8;
/// A map this full, in percent, is worth a colour; it grows by itself when it has to.
const FULL: usize = 90;

/// The status as lines of a label and a text.
pub(super) fn screen(status: &Status, colour: bool) -> String {
    let mut out = Page { text: String::new(), colour };
    let ready = if status.ready { out.good("ready") } else { out.bad("not ready") };
    let not_eligible = if status.node_eligible { "" } else { ", node not eligible for traffic" };
    out.line(
        "ferroproxy",
        &format!("{} on node {}, pid {}: {ready}{not_eligible}", status.version, status.node, status.pid),
    );
    out.line("", &format!("mode {}, source {}, up {}", status.mode, status.source, span(status.uptime_seconds * 1000)));
    for (family, state) in &status.families {
        let state = if state.starts_with("failed") { out.bad(state) } else { state.clone() };
        out.line(family, &state);
    }
    out.line("services", &format!("{}, {} elements in maps and sets", status.services, status.elements));
    last_sync(&mut out, status);
    let latency = &status.latency;
    let figures = [("p50", latency.p50_ms), ("p90", latency.p90_ms), ("p99", latency.p99_ms), ("max", latency.max_ms)];
    let figures = figures.map(|(name, ms)| format!("{name} {ms:.2} ms"));
    out.line("latency", &format!("{} over {} events, event to rules in force", figures.join(", "), latency.events));
    drift(&mut out, status);
    quarantined(&mut out, status);
    out.line("watches", &format!("begun anew {} times", status.watch_restarts));
    maps(&mut out, &status.maps);
    out.text
}

fn last_sync(out: &mut Page, status: &Status) {
    let text = match &status.last_sync {
        None => out.bad("none yet"),
        Some(last) => format!(
            "{} ago, {} operations, {} bytes, {:.2} ms; {} so far",
            span(last.ago_ms),
            last.operations,
            last.bytes,
            last.took_ms,
            last.count
        ),
    };
    out.line("last sync", &text);
}

fn drift(out: &mut Page, status: &Status) {
    let drift = &status.drift;
    let left = match drift.left {
        0 => out.good("none"),
        left => out.bad(&format!("{left} objects not repaired")),
    };
    let repaired: Vec<String> =
        drift.repaired.iter().filter(|(_, count)| **count > 0).map(|(kind, count)| format!("{count} {kind}")).collect();
    let repaired = if repaired.is_empty() { "nothing".to_owned() } else { repaired.join(", ") };
    out.line("drift", &format!("{left}; repaired so far: {repaired}; {} comparisons", drift.audits));
    drift.newest.iter().for_each(|words| out.line("", words));
}

fn quarantined(out: &mut Page, status: &Status) {
    let text = match &status.quarantined[..] {
        [] => out.good("none"),
        names => out.bad(&format!("{}: {}", names.len(), names.join(", "))),
    };
    out.line("left out", &text);
}

fn maps(out: &mut Page, maps: &[MapStatus]) {
    let percent = |map: &MapStatus| map.elements * 100 / (map.capacity as usize).max(1);
    let mut used: Vec<&MapStatus> = maps.iter().filter(|map| map.elements > 0).collect();
    used.sort_by_key(|map| std::cmp::Reverse(percent(map)));
    for (at, map) in used.iter().take(MAPS).enumerate() {
        let share = format!("{:>3} %", percent(map));
        let share = if percent(map) >= FULL { out.bad(&share) } else { share };
        let text = format!("{share}  {} {}: {} of {}", map.family, map.name, map.elements, map.capacity);
        out.line(if at == 0 { "maps" } else { "" }, &text);
    }
}

/// A length of time in its two largest units.
fn span(ms: u64) -> String {
    let (s, m, h, d) = (ms / 1000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    match () {
        () if d > 0 => format!("{d} d {} h", h % 24),
        () if h > 0 => format!("{h} h {} min", m % 60),
        () if m > 0 => format!("{m} min {} s", s % 60),
        () if s >= 10 => format!("{s} s"),
        () => format!("{:.1} s", ms as f64 / 1e3),
    }
}

struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn line(&mut self, label: &str, text: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{label:<12}{text}");
    }

    fn good(&self, text: &str) -> String {
        self.dyed(text, 32)
    }

    fn bad(&self, text: &str) -> String {
        self.dyed(text, 31)
    }

    fn dyed(&self, text: &str, code: u8) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::LastSync;

    fn status() -> Status {
        let map = |name: &str, elements, capacity| {
            let (family, name) = ("IPv4".into(), name.into());
            MapStatus { family, name, elements, capacity }
        };
        Status {
            node: "node-1".into(),
            ready: true,
            node_eligible: true,
            families: [("IPv4".to_owned(), "in force".to_owned()), ("IPv6".to_owned(), "failed: no".to_owned())].into(),
            services: 3,
            uptime_seconds: 90_061,
            last_sync: Some(LastSync { ago_ms: 2500, took_ms: 0.1, operations: 4, bytes: 700, count: 9 }),
            quarantined: vec!["default/web".into()],
            maps: vec![map("services", 10, 100), map("endpoints", 95, 100), map("hairpin", 0, 100)],
            ..Status::default()
        }
    }

    #[test]
    fn every_part_has_its_line() {
        let text = screen(&status(), false);
        for line in [
            "on node node-1",
            ": ready\n",
            "up 1 d 1 h",
            "IPv6        failed: no",
            "services    3,",
            "2.5 s ago, 4 operations",
            "left out    1: default/web",
            "maps         95 %  IPv4 endpoints: 95 of 100",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(!text.contains("hairpin") && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn what_is_wrong_is_red() {
        let text = screen(&Status { ready: false, ..status() }, true);
        assert!(text.contains("\x1b[31mnot ready\x1b[0m") && text.contains("\x1b[31mfailed: no\x1b[0m"), "{text}");
    }
}
