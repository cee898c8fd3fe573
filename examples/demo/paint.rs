//! Plain text, with colour where standard output is a terminal.

use std::io::{IsTerminal, stdout};
use std::sync::LazyLock;
use std::time::Duration;

static COLOUR: LazyLock<bool> = LazyLock::new(|| stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "1;36";

fn paint(code: &str, text: &str) -> String {
    if *COLOUR { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// The first line of all.
pub(crate) fn title(text: &str) {
    println!("{}", paint(BOLD, text));
}

/// The heading of a part.
pub(crate) fn step(number: usize, text: &str) {
    println!("\n{}", paint(CYAN, &format!("[{number}/7] {text}")));
}

/// A remark.
pub(crate) fn note(text: &str) {
    println!("    {}", paint(DIM, text));
}

/// A line of a diff or a transaction, coloured by what it does.
pub(crate) fn rule(text: &str) {
    let code = match text {
        _ if text.starts_with("add") || text.starts_with("create") => GREEN,
        _ if text.starts_with("delete") || text.starts_with("destroy") || text.starts_with("flush") => RED,
        _ => DIM,
    };
    println!("    | {}", paint(code, text));
}

/// The last line of a good story.
pub(crate) fn good(text: &str) {
    println!("\n{}", paint(GREEN, text));
}

/// The last line of another one.
pub(crate) fn bad(text: &str) {
    println!("\n{}", paint(RED, text));
}

/// Prints whether a claim holds; answers how many do not.
pub(crate) fn check(holds: bool, claim: &str) -> usize {
    println!("    {} {claim}", verdict(holds));
    usize::from(!holds)
}

/// `ok`, or `WRONG`.
pub(crate) fn verdict(holds: bool) -> String {
    if holds { paint(GREEN, "ok   ") } else { paint(RED, "WRONG") }
}

/// A short duration in the unit that suits it.
pub(crate) fn duration(time: Duration) -> String {
    match time.as_micros() {
        micros @ ..10_000 => format!("{:.2} ms", f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0),
        _ => format!("{} ms", time.as_millis()),
    }
}
