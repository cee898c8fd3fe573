//! `ferroproxy render`: the ruleset of a source as nft text.

use super::OK;
use super::gather::{gather, reject, say};
use crate::agent::plan;
use crate::compile::print;
use crate::compile::seed::Seed;
use crate::model::{Config, Family};

/// Prints the ruleset on stdout.
pub(super) fn render(config: &Config) -> anyhow::Result<u8> {
    let state = gather(config)?;
    let (compiler, rejections) = plan(config, state.snapshot(), &Family::ALL, Seed::default());
    rejections.iter().for_each(reject);
    say(&print::ruleset(compiler.draft().ruleset()))?;
    Ok(OK)
}
