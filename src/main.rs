//! The binary: hands the arguments to [`ferroproxy::cli`] and its answer to the shell.

use std::process::ExitCode;

/// Gives freed memory back in the background: what a cold start needs for a moment is not kept for ever. See
/// `docs/decisions/0011-memory.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ferroproxy::cli::main()
}
