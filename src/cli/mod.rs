//! Arguments, subcommands and exit codes.

pub mod args;
pub mod config;
pub mod resolve;

use std::process::ExitCode;

/// Runs the command line and answers its exit code.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
