//! Log lines to stderr.

use tracing_subscriber::EnvFilter;

use crate::model::{LogConfig, LogFormat};

/// Starts logging. `RUST_LOG` overrides the verbosity. A second call changes nothing.
pub(super) fn start(config: &LogConfig) {
    let level = match config.verbosity {
        0 | 1 => "info",
        2..=4 => "info,ferroproxy=debug",
        _ => "debug,ferroproxy=trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A subscriber that is already there stays; nothing else can go wrong.
    let _ = match config.format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
