//! One thing to know before kube-proxy goes.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Something that works now would stop to work.
    Breaks,
    /// Something would be otherwise, and may matter to somebody.
    Differs,
    /// Good to know.
    Note,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// A word programs can go by.
    pub(super) id: &'static str,
    /// How much it matters.
    pub(super) severity: Severity,
    /// What was found.
    pub(super) what: String,
    /// What it means.
    pub(super) meaning: String,
    /// What to do.
    pub(super) advice: String,
}

impl Finding {
    pub(super) fn new(
        id: &'static str,
        severity: Severity,
        what: impl Into<String>,
        meaning: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        Finding { id, severity, what: what.into(), meaning: meaning.into(), advice: advice.into() }
    }
}

/// For people.
pub(super) fn text(findings: &[Finding], unknown: &[String]) -> String {
    let mut out = String::new();
    for Finding { id, severity, what, meaning, advice } in findings {
        let word = match severity {
            Severity::Breaks => "BREAKS ",
            Severity::Differs => "differs",
            Severity::Note => "note   ",
        };
        // Writing to a string does not fail.
        let _ = writeln!(out, "{word}  {id}: {what}\n         means: {meaning}\n         do:    {advice}");
    }
    for reason in unknown {
        let _ = writeln!(out, "unknown  {reason}");
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let _ = writeln!(
        out,
        "{} would break, {} would differ, {} notes, {} not found out",
        count(Severity::Breaks),
        count(Severity::Differs),
        count(Severity::Note),
        unknown.len()
    );
    out
}

/// For programs.
pub(super) fn json(findings: &[Finding], unknown: &[String]) -> Value {
    let breaks = findings.iter().any(|finding| finding.severity == Severity::Breaks);
    json!({ "breaks": breaks, "findings": findings, "unknown": unknown })
}
