//! The binary: hands the arguments to [`ferroproxy::cli`] and its answer to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    ferroproxy::cli::main()
}
