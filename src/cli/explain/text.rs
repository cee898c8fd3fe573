//! The story for people.

use std::fmt::Write;

use super::story::{Candidate, Destination, Story, Verdict};

/// The story, a paragraph a question.
pub(super) fn text(story: &Story) -> String {
    let mut out = String::new();
    let asked = &story.packet;
    line(&mut out, "packet", &format!("from {} ({}) to {}/{}", asked.from, asked.sender, asked.to, asked.protocol));
    match &story.frontend {
        Some(hit) => {
            line(&mut out, "service", &format!("{}, by its {}", hit.service, hit.kind));
            let short = hit.short_circuit.map(|why| format!(", but {why}")).unwrap_or_default();
            line(&mut out, "policy", &format!("{}{short}", hit.policy));
            if let Some(affinity) = &hit.affinity {
                line(&mut out, "affinity", affinity);
            }
            endpoints(&mut out, &story.endpoints);
        }
        None => line(&mut out, "service", "none"),
    }
    if let Some(hints) = &story.hints {
        line(&mut out, "hints", hints);
    }
    if let Some(source) = &story.source {
        let what = if source.masqueraded { "masqueraded" } else { "kept" };
        line(&mut out, "source", &format!("{what}: {}", source.why));
    }
    line(&mut out, "rules", if story.path.is_empty() { "none that matters" } else { "passed in this order" });
    story.path.iter().for_each(|step| item(&mut out, step));
    line(&mut out, "verdict", &format!("{}: {}", word(story.verdict), story.why));
    story.destinations.iter().for_each(|to| item(&mut out, &destination(to)));
    out
}

fn line(out: &mut String, label: &str, text: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{label:<10}{text}");
}

fn item(out: &mut String, text: &str) {
    let _ = writeln!(out, "  {text}");
}

fn endpoints(out: &mut String, all: &[Candidate]) {
    let used = all.iter().filter(|candidate| candidate.used).count();
    line(out, "endpoints", &format!("{used} of {} used", all.len()));
    let width = all.iter().map(|candidate| candidate.address.len()).max().unwrap_or_default();
    for candidate in all {
        let mark = if candidate.used { "used    " } else { "left out" };
        let node = candidate.node.as_deref().unwrap_or("node unknown");
        item(
            out,
            &format!("{mark}  {:<width$}  {node}, slice {}: {}", candidate.address, candidate.slice, candidate.why),
        );
    }
}

fn destination(to: &Destination) -> String {
    let masqueraded = if to.masqueraded { ", masqueraded" } else { "" };
    format!("{:>5.1} %  {}{masqueraded}", to.share * 100.0, to.address)
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Delivered => "delivered",
        Verdict::LeftAlone => "left alone",
        Verdict::Refused => "refused",
        Verdict::Dropped => "dropped",
    }
}
