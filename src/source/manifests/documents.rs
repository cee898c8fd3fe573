//! Files to documents.

use serde_json::Value;

/// A document that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// The line in the file, from 1, where it is known.
    pub(super) line: Option<u64>,
    /// What is wrong.
    pub(super) reason: String,
}

/// A document, by its number in the file, from 1.
pub(super) type Document = (usize, Result<Value, Broken>);

/// The documents of a YAML file. Each is read apart, so a broken one does not cost the others.
pub(super) fn yaml(text: &str) -> Vec<Document> {
    let text = text.trim_start_matches('\u{feff}');
    let chunks = split(text).into_iter().filter(|(_, chunk)| !is_empty(chunk));
    chunks.enumerate().map(|(n, (line, chunk))| (n + 1, parse_yaml(line, chunk))).collect()
}

/// The documents of a JSON file: one value, or several one after the other. What follows a broken one cannot be read.
pub(super) fn json(text: &str) -> Vec<Document> {
    let values = serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}')).into_iter::<Value>();
    let broken = |error: serde_json::Error| Broken { line: Some(error.line() as u64), reason: error.to_string() };
    values.enumerate().map(|(n, value)| (n + 1, value.map_err(broken))).collect()
}

/// The parts of a text that begin with a `---` line, each with the number of lines before it.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if at > start && is_separator(line) {
            chunks.push((start_line, &text[start..at]));
            (start, start_line) = (at, number);
        }
        at += line.len();
    }
    chunks.push((start_line, &text[start..]));
    chunks
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// Only comments, directives and marks.
fn is_empty(chunk: &str) -> bool {
    chunk.lines().all(|line| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        line.is_empty() || line == "..." || line.starts_with(['#', '%'])
    })
}

fn parse_yaml(lines_before: usize, chunk: &str) -> Result<Value, Broken> {
    let parse = |text: &str| {
        let mut budget = serde_saphyr::Budget::default();
        (budget.max_nodes, budget.max_events) = (20_000_000, 80_000_000);
        let options = serde_saphyr::options! { budget: Some(budget), with_snippet: false };
        serde_saphyr::from_str_with_options::<Value>(text, options)
    };
    parse(chunk).map_err(|error| {
        // Read once more behind as many lines as the file has before: so the error names the file's lines.
        let error = parse(&format!("{}{chunk}", "\n".repeat(lines_before))).err().unwrap_or(error);
        Broken { line: error.location().map(|at| at.line()), reason: error.to_string() }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(documents: Vec<Document>) -> Vec<Value> {
        documents.into_iter().map(|(_, value)| value.expect("good")).collect()
    }

    #[test]
    fn documents_are_split_and_empty_ones_do_not_count() {
        let text = "%YAML 1.2\n---\n# only words\n---\na: 1\n--- # two\nb: |\n  text\n  --- no mark\n...\n---\n";
        assert_eq!(values(yaml(text)), [json!({"a": 1}), json!({"b": "text\n--- no mark\n"})]);
        assert_eq!(yaml(""), []);
        assert_eq!(values(yaml("--- {a: 1}")), [json!({"a": 1})]);
        assert_eq!(values(yaml("a: 1\r\n---\r\nb: 2\r\n")), [json!({"a": 1}), json!({"b": 2})]);
    }

    #[test]
    fn a_broken_document_costs_only_itself_and_names_its_line() {
        let documents = yaml("a: 1\n---\nb: [1,\nc: }\n---\nd: 4\n");
        assert_eq!(documents[0], (1, Ok(json!({"a": 1}))));
        assert_eq!(documents[2], (3, Ok(json!({"d": 4}))));
        let (2, Err(broken)) = &documents[1] else { panic!("{documents:?}") };
        assert!(matches!(broken.line, Some(3..=4)), "{broken:?}");
    }

    #[test]
    fn json_values_may_follow_each_other() {
        assert_eq!(values(json("{\"a\": 1}\n{\"b\": 2}")), [json!({"a": 1}), json!({"b": 2})]);
        let documents = json("{\"a\": 1}\n{\"b\": }\n");
        let (2, Err(broken)) = &documents[1] else { panic!("{documents:?}") };
        assert_eq!(broken.line, Some(2));
    }
}
