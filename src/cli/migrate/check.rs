//! `ferroproxy migrate check`: what would differ or break on this node with kube-proxy's configuration.

mod facts;
mod finding;
mod node;
mod rules;
mod settings;

use std::path::Path;

use crate::cli::args::{CheckArgs, Output};
use crate::cli::gather::say;
use crate::cli::resolve::{self, Written};
use crate::cli::{DIFFERENT, OK, TROUBLE};
use facts::Facts;
use finding::{Finding, Severity, json, text};
use settings::Asked;

/// Prints the findings on stdout, the gravest first.
pub(in crate::cli) fn check(args: &CheckArgs) -> anyhow::Result<u8> {
    let written = resolve::written(&args.config)?;
    let facts = Facts::gather(Path::new("/"), &written.conntrack());
    let findings = findings(&written, &facts);
    say(&match args.output {
        Output::Text => text(&findings, &facts.unknown),
        Output::Json => format!("{:#}\n", json(&findings, &facts.unknown)),
    })?;
    let breaks = findings.iter().any(|finding| finding.severity == Severity::Breaks);
    Ok(match (breaks, facts.unknown.is_empty()) {
        (true, _) => DIFFERENT,
        (false, false) => TROUBLE,
        (false, true) => OK,
    })
}

/// Everything found; ordered by severity, then as it was looked for.
fn findings(written: &Written, facts: &Facts) -> Vec<Finding> {
    let asked = Asked::of(written);
    let mut findings = settings::findings(&asked, facts);
    findings.extend(node::findings(&asked, facts));
    findings.extend(rules::findings(&asked, facts));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

#[cfg(test)]
mod tests;
