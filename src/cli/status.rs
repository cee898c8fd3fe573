//! `ferroproxy status`: one screen about the process that runs in this network namespace.

mod ask;
mod screen;

use std::io::{IsTerminal, Write};
use std::thread::sleep;
use std::time::Duration;

use super::args::{Output, StatusArgs};
use super::gather::say;
use super::{DIFFERENT, OK};
use crate::observe::Status;

/// Between two looks with `--watch`.
const PERIOD: Duration = Duration::from_secs(1);

/// Cursor home, and everything below cleared.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints what the process tells; with `watch` again and again, until it cannot be asked any more.
pub(super) fn status(args: &StatusArgs) -> anyhow::Result<u8> {
    let colour = std::io::stdout().is_terminal();
    loop {
        let status = ask::ask(&args.admin_socket)?;
        let text = match args.output {
            Output::Text => screen::screen(&status, colour),
            Output::Json => format!("{}\n", serde_json::to_string_pretty(&status)?),
        };
        if !args.watch {
            say(&text)?;
            return Ok(code(&status));
        }
        let page = if colour { format!("{CLEAR}{text}") } else { text };
        // A reader that has seen enough ends it.
        if std::io::stdout().write_all(page.as_bytes()).is_err() {
            return Ok(code(&status));
        }
        sleep(PERIOD);
    }
}

fn code(status: &Status) -> u8 {
    if status.ready { OK } else { DIFFERENT }
}
