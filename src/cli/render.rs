//! `ferroproxy render`: the ruleset of a source as nft text.

use std::io::Write;

use super::OK;
use super::gather::{gather, reject};
use crate::agent::plan;
use crate::compile::print;
use crate::compile::seed::Seed;
use crate::model::{Config, Family};

/// Prints the ruleset on stdout.
pub(super) fn render(config: &Config) -> anyhow::Result<u8> {
    let state = gather(config)?;
    let (compiler, rejections) = plan(config, state.snapshot(), &Family::ALL, Seed::default());
    rejections.iter().for_each(reject);
    let text = print::ruleset(compiler.draft().ruleset());
    match std::io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough (`| head`) is no trouble.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(OK),
    }
}
