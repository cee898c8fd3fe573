//! Arguments, subcommands and exit codes.

use std::process::ExitCode;

/// Runs the command line and answers its exit code.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
