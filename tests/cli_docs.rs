//! Rung 1: what the documents tell an operator to type is understood, and what they point at is there.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use ferroproxy::cli::args::Cli;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README, CONTRIBUTING and what is in docs/, with their text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)).into();
    let entries = fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    paths.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("readable"))).collect()
}

/// The words of a command line: quotes hold words together, `#` and what other programs get end it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => (quote, word) = (Some(c), Some(word.unwrap_or_default())),
            (None, ' ') => words.extend(word.take()),
            (None, '#' | '|' | '>' | '&' | ';') if word.is_none() => break,
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The ferroproxy commands of a document's code, without those that leave something out (`...`).
fn commands(text: &str) -> Vec<Vec<String>> {
    let code = text.lines().filter_map(|line| line.strip_prefix("    "));
    // `status` begins its screen with the program's name and two spaces.
    let called = code.filter(|line| !line.starts_with("ferroproxy  ")).filter_map(|line| {
        let line = line.trim_start_matches("$ ");
        line.strip_prefix("ferroproxy ").or_else(|| line.split_once("-- /ferroproxy ").map(|(_, rest)| rest))
    });
    called.map(words).filter(|words| !words.iter().any(|word| word.contains("..."))).collect()
}

#[test]
fn commands_are_read_as_a_shell_reads_them() {
    let text = "    ferroproxy explain --to '[::1]:80' --from pod   # why\n    ferroproxy run ...\nferroproxy no code\n    ferroproxy  0.1.0 on node a\n    x -- /ferroproxy diff | cat\n";
    assert_eq!(commands(text), [vec!["explain", "--to", "[::1]:80", "--from", "pod"], vec!["diff"]]);
}

#[test]
fn every_command_in_the_documents_is_understood() {
    let mut count = 0;
    for (path, text) in documents() {
        for command in commands(&text) {
            let line = std::iter::once("ferroproxy".to_owned()).chain(command.clone()).map(OsString::from);
            if let Err(error) = Cli::parse_line(line) {
                assert!(error.exit_code() == 0, "{}: {command:?}\n{error}", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 15, "{count} commands were found");
}

/// `](target)` of every link, without anchors and addresses of the net.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://")).collect()
}

#[test]
fn what_the_documents_point_at_is_there() {
    for (path, text) in documents() {
        for link in links(&text) {
            let target = path.parent().expect("a directory").join(link);
            assert!(target.exists(), "{} links to {link}", path.display());
        }
        for word in text.split(|c: char| c.is_whitespace() || "`()'\",;:".contains(c)) {
            let word = word.trim_start_matches("./").trim_end_matches('.');
            if word.starts_with("manifests/") && !word.contains('*') {
                assert!(root().join(word).exists(), "{} names {word}", path.display());
            }
        }
    }
}
