//! Reads `src/` as a tree of modules: which files there are, which `mod` lines reach them, which paths their code names.
//! A small reader of Rust's surface: it knows comments, literals, `#[cfg(test)]` items and `use` trees, and no more.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file under `src/` that belongs to the program, not to its tests.
pub(crate) struct Module {
    /// Its path, relative to the package.
    pub(crate) file: PathBuf,
    /// Every path of two words or more it names, `use` trees unfolded.
    pub(crate) paths: BTreeSet<String>,
}

impl Module {
    /// The room the file stands in; the crate root and the thin binary stand in none.
    pub(crate) fn room(&self) -> Option<&str> {
        let inside = self.file.strip_prefix("src").ok()?;
        let first = inside.iter().next()?.to_str()?;
        match first.strip_suffix(".rs") {
            Some("lib" | "main") => None,
            Some(room) => Some(room),
            None => Some(first),
        }
    }
}

/// The files that `mod` lines outside tests reach.
pub(crate) fn production_modules() -> Vec<Module> {
    let files = reached(false);
    files.into_iter().map(|file| Module { paths: paths_of(&read(&file)), file }).collect()
}

/// Files that no `mod` line reaches, test-only ones included.
pub(crate) fn unreached_files() -> Vec<PathBuf> {
    let reached = reached(true);
    let mut all = Vec::new();
    collect(Path::new("src"), &mut all);
    all.into_iter().filter(|file| !reached.contains(file)).collect()
}

/// The paths a file's code names, tests left out.
pub(crate) fn paths_of(text: &str) -> BTreeSet<String> {
    let tokens = without_tests(tokens(text));
    let mut paths = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        let after_separator = at > 0 && tokens[at - 1] == "::";
        match is_word(&tokens[at]) && !after_separator {
            true => at = read_path(&tokens, at, "", &mut paths).max(at + 1),
            false => at += 1,
        }
    }
    paths
}

/// Reads one path, braces unfolded, from token `at`; answers where it ends.
fn read_path(tokens: &[String], mut at: usize, prefix: &str, paths: &mut BTreeSet<String>) -> usize {
    let mut path = prefix.to_owned();
    while let Some(word) = tokens.get(at).filter(|token| is_word(token) || *token == "*") {
        path = if path.is_empty() { word.clone() } else { format!("{path}::{word}") };
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
        if tokens.get(at).is_some_and(|token| token == "{") {
            return read_group(tokens, at + 1, &path, paths);
        }
    }
    if path.contains("::") {
        paths.insert(path);
    }
    at
}

/// Reads the members of a `use` group up to its closing brace.
fn read_group(tokens: &[String], mut at: usize, prefix: &str, paths: &mut BTreeSet<String>) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "}" => return at + 1,
            "as" => at += 2,
            word if is_word(word) || word == "*" => at = read_path(tokens, at, prefix, paths),
            _ => at += 1,
        }
    }
    at
}

/// Follows the `mod` lines from the crate roots.
fn reached(tests_too: bool) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![PathBuf::from("src/lib.rs"), PathBuf::from("src/main.rs")];
    while let Some(file) = waiting.pop() {
        let text = read(&file);
        let tokens = if tests_too { tokens(&text) } else { without_tests(tokens(&text)) };
        waiting.extend(tokens.windows(3).filter(|w| w[0] == "mod" && w[2] == ";").filter_map(|w| child(&file, &w[1])));
        if tests_too {
            waiting.extend(by_path(&file, &text));
        }
        found.insert(file);
    }
    found
}

/// The files that `#[path = "..."]` lines name. Only test modules stand under such a line.
fn by_path(file: &Path, text: &str) -> Vec<PathBuf> {
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]"));
    names.filter_map(|name| Some(file.parent()?.join(name))).collect()
}

/// The file of `mod name;` in `parent`.
fn child(parent: &Path, name: &str) -> Option<PathBuf> {
    let stem = parent.file_stem()?.to_str()?;
    let folder = parent.parent()?;
    let folder = if ["lib", "main", "mod"].contains(&stem) { folder.to_owned() } else { folder.join(stem) };
    [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")]
        .into_iter()
        .find(|file| root().join(file).exists())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(root().join(folder)).expect("src can be listed");
    for entry in entries.map(|entry| entry.expect("src can be listed")) {
        let path = folder.join(entry.file_name());
        match entry.path().is_dir() {
            true => collect(&path, files),
            false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
            false => {}
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Drops every item behind `#[cfg(test)]`: up to its semicolon, or its closing brace.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at..].iter().zip(MARK).filter(|(token, mark)| *token == mark).count() == MARK.len() {
            true => at = end_of_item(&tokens, at + MARK.len()),
            false => {
                kept.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    kept
}

fn end_of_item(tokens: &[String], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => {
                // `use a::{b};` ends with its semicolon.
                return if tokens.get(at + 1).is_some_and(|next| next == ";") { at + 2 } else { at + 1 };
            }
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Words, `::` and single marks; comments and literals left out.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            'r' if rest.starts_with("r\"") || rest.starts_with("r#\"") => raw_string(&rest[1..]) + 1,
            'b' if rest.starts_with("br\"") || rest.starts_with("br#\"") => raw_string(&rest[2..]) + 2,
            '"' => quoted(rest),
            '\'' => quote_or_lifetime(rest),
            _ if rest.starts_with("::") => push(&mut found, &rest[..2]),
            _ if is_word(rest) => push(&mut found, &rest[..word(rest)]),
            _ if first.is_whitespace() => first.len_utf8(),
            _ => push(&mut found, &rest[..first.len_utf8()]),
        };
        rest = &rest[length..];
    }
    found
}

fn push(found: &mut Vec<String>, token: &str) -> usize {
    found.push(token.to_owned());
    token.len()
}

fn word(rest: &str) -> usize {
    rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len())
}

/// The length of `"..."` with its escapes.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            '"' if !escaped => return at + 1,
            _ => escaped = letter == '\\' && !escaped,
        }
    }
    rest.len()
}

/// The length of `"..."`, `#"..."#` and so on, without escapes.
fn raw_string(rest: &str) -> usize {
    let hashes = rest.find('"').unwrap_or(0);
    let close = format!("\"{}", "#".repeat(hashes));
    rest[hashes + 1..].find(&close).map_or(rest.len(), |end| hashes + 1 + end + close.len())
}

/// A character literal, or the tick of a lifetime.
fn quote_or_lifetime(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => letters.skip(1).find(|(_, letter)| *letter == '\'').map_or(rest.len(), |(at, _)| at + 1),
        _ => letters.next().filter(|(_, letter)| *letter == '\'').map_or(1, |(at, _)| at + 1),
    }
}
