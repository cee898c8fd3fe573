//! Running the programs.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use crate::apply::target::{CommitError, Remedy};

/// The exit status of a program that could not get at a resource: the lock, or the kernel for a moment.
const RESOURCE_PROBLEM: i32 = 4;

/// Lines of complaint that are kept.
const COMPLAINT: usize = 3;

/// Runs a program with this input, and answers what it prints.
pub(super) fn run(program: &str, args: &[&str], input: Option<&str>) -> Result<String, CommitError> {
    let output = spawn(program, args, input).map_err(|error| cannot_run(program, &error))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(refused(program, &output, input)),
    }
}

/// Runs a program for its exit status only.
pub(super) fn succeeds(program: &str, args: &[&str]) -> Result<bool, CommitError> {
    let output = spawn(program, args, None).map_err(|error| cannot_run(program, &error))?;
    match output.status.code() {
        Some(RESOURCE_PROBLEM) | None => Err(refused(program, &output, None)),
        Some(code) => Ok(code == 0),
    }
}

fn spawn(program: &str, args: &[&str], input: Option<&str>) -> io::Result<Output> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child =
        Command::new(program).args(args).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // A program that stops reading says why when it ends.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

fn cannot_run(program: &str, error: &io::Error) -> CommitError {
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!("{program} is not installed (Debian: package iptables)"),
        _ => format!("cannot run {program}: {error}"),
    };
    CommitError { remedy: Remedy::GiveUp, errno: error.raw_os_error(), message, element: None }
}

/// A refusal with the program's first words, and the line of the input that it names.
fn refused(program: &str, output: &Output, input: Option<&str>) -> CommitError {
    let remedy = match output.status.code() {
        Some(RESOURCE_PROBLEM) | None => Remedy::Retry,
        _ => Remedy::Resync,
    };
    let complaint = String::from_utf8_lossy(&output.stderr);
    let words: Vec<&str> = complaint.lines().filter(|line| !line.trim().is_empty()).take(COMPLAINT).collect();
    let line = named_line(&complaint).and_then(|number| input?.lines().nth(number.checked_sub(1)?));
    let line = line.map(|line| format!(" (the line is `{line}`)")).unwrap_or_default();
    let message = format!("{program} ended with {}: {}{line}", output.status, words.join("; "));
    CommitError { remedy, errno: None, message, element: None }
}

/// The number after `line` in a complaint.
fn named_line(complaint: &str) -> Option<usize> {
    let mut words = complaint.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.find(|word| *word == "line")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_line() {
        let error = run("sh", &["-c", "echo 'iptables-restore: line 2 failed' >&2; exit 1"], Some("*nat\n-A X -j Y\n"));
        let error = error.expect_err("refused");
        assert_eq!(error.remedy, Remedy::Resync);
        assert!(error.message.contains("line 2 failed (the line is `-A X -j Y`)"), "{error}");
    }

    #[test]
    fn a_lock_that_is_taken_asks_for_another_try_and_a_missing_program_for_a_person() {
        assert_eq!(run("sh", &["-c", "exit 4"], None).expect_err("refused").remedy, Remedy::Retry);
        let error = run("no-such-program", &[], None).expect_err("missing");
        assert_eq!(error.remedy, Remedy::GiveUp);
        assert!(error.message.contains("is not installed"), "{error}");
    }

    #[test]
    fn only_an_answer_is_an_answer() {
        assert!(succeeds("true", &[]).unwrap());
        assert!(!succeeds("false", &[]).unwrap());
        assert!(succeeds("sh", &["-c", "exit 4"]).is_err());
    }
}
