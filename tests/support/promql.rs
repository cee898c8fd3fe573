//! Which series a PromQL expression asks for: a small reader that knows names, selectors, ranges and grouping, and no more.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Words that are no series although they look like one.
const WORDS: &[&str] = &["and", "or", "unless", "bool", "offset", "inf", "nan"];
/// Words before a list of labels in parentheses.
const GROUPING: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The series an expression names, each with the labels its selectors ask for.
pub fn series(expression: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut rest = expression;
    while let Some(start) =
        rest.find(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '"' || c == '[' || c.is_ascii_digit())
    {
        let (first, tail) = (rest.as_bytes()[start], &rest[start..]);
        let end = match first {
            b'"' => tail[1..].find('"').map_or(tail.len(), |at| at + 2),
            b'[' => tail.find(']').map_or(tail.len(), |at| at + 1),
            _ => tail.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(tail.len()),
        };
        let (word, mut after) = tail.split_at(end);
        if first.is_ascii_alphabetic() || first == b'_' {
            let next = after.trim_start();
            if GROUPING.contains(&word) {
                after = next.split_once(')').map_or("", |(_, after)| after);
            } else if !is_aggregation(next) && !WORDS.contains(&word) {
                let labels = found.entry(word.to_owned()).or_default();
                if let Some((selector, behind)) = next.strip_prefix('{').and_then(|next| next.split_once('}')) {
                    labels.extend(selector.split(',').map(label));
                    after = behind;
                }
            }
        }
        rest = after;
    }
    found
}

/// Whether what follows a word makes it a function or an aggregation.
fn is_aggregation(next: &str) -> bool {
    ["(", "by ", "by(", "without ", "without("].iter().any(|start| next.starts_with(start))
}

/// The label of `code=~"2.."`.
fn label(matcher: &str) -> String {
    matcher.split(['=', '!']).next().unwrap_or_default().trim().to_owned()
}

/// The series of a scrape, each with its labels.
pub fn scraped(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map(|(labels, _)| labels);
        found.entry(name.to_owned()).or_default().extend(labels.into_iter().flat_map(|l| l.split(',')).map(label));
    }
    found
}
