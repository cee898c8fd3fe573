//! `ferroproxy migrate check`: what would differ or break on this node.

use crate::cli::args::CheckArgs;

/// Prints the findings on stdout.
pub(in crate::cli) fn check(_args: &CheckArgs) -> anyhow::Result<u8> {
    Ok(0)
}
