//! Log lines to stderr, without ever waiting for who reads them: a full disk or a pipe nobody empties holds back no rule.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::model::{LogConfig, LogFormat};

/// Lines that wait to be written. What does not fit is lost, and counted.
const WAITING: usize = 8192;
/// How long the end of the process waits for lines to be written.
const PATIENCE: Duration = Duration::from_secs(1);

static LINES: OnceLock<SyncSender<Line>> = OnceLock::new();
static LOST: AtomicUsize = AtomicUsize::new(0);

enum Line {
    Text(Vec<u8>),
    /// Everything before is written; tell so.
    Mark(SyncSender<()>),
}

/// Starts logging. `RUST_LOG` overrides the verbosity. A second call changes nothing.
pub(super) fn start(config: &LogConfig) {
    let level = match config.verbosity {
        0 | 1 => "info",
        2..=4 => "info,ferroproxy=debug",
        _ => "debug,ferroproxy=trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    LINES.get_or_init(|| {
        let (sender, lines) = sync_channel(WAITING);
        thread::spawn(move || write_out(&lines));
        sender
    });
    // The library's own complaints about a stderr that cannot be written would end the process.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Queue).log_internal_errors(false);
    // A subscriber that is already there stays; nothing else can go wrong.
    let _ = match config.format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// Writes a line of our own to stderr: behind what was logged, or at once where logging never started.
pub(super) fn tell(line: &str) {
    let text = format!("{line}\n").into_bytes();
    match LINES.get() {
        // Where the queue is full nobody reads, and the exit code has to do.
        Some(lines) => drop(lines.try_send(Line::Text(text))),
        None => drop(io::stderr().write_all(&text)),
    }
}

/// Waits a moment for what was logged to be written: for the end of the process.
pub(super) fn flush() {
    let (told, done) = sync_channel(1);
    if LINES.get().is_some_and(|lines| lines.try_send(Line::Mark(told)).is_ok()) {
        let _: Result<(), RecvTimeoutError> = done.recv_timeout(PATIENCE);
    }
}

/// Puts whole lines in the queue: the subscriber writes each with one call.
struct Queue;

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = LINES.get().is_some_and(|lines| lines.try_send(Line::Text(bytes.to_vec())).is_ok());
        LOST.fetch_add(usize::from(!sent), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line that cannot be written is lost; the next may go through.
fn write_out(lines: &Receiver<Line>) {
    for line in lines {
        let lost = LOST.swap(0, Ordering::Relaxed);
        let mut stderr = io::stderr().lock();
        if lost > 0 {
            let _ = writeln!(stderr, "ferroproxy: {lost} log lines were lost: they could not be written in time");
        }
        match line {
            Line::Text(text) => drop(stderr.write_all(&text)),
            Line::Mark(told) => drop(told.try_send(())),
        }
    }
}
