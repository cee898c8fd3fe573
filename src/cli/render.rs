//! `ferroproxy render`: the ruleset of a source as text: nft's, or iptables-restore's.

use super::OK;
use super::gather::{gather, reject, say};
use crate::agent::{plan, plan_iptables};
use crate::compile::print;
use crate::compile::seed::Seed;
use crate::model::{Config, Family, ProxyMode};

/// Prints the ruleset on stdout.
pub(super) fn render(config: &Config) -> anyhow::Result<u8> {
    let state = gather(config)?;
    let (text, rejections) = match config.mode {
        ProxyMode::Nftables => {
            let (compiler, rejections) = plan(config, state.snapshot(), &Family::ALL, Seed::default());
            (print::ruleset(compiler.draft().ruleset()), rejections)
        }
        ProxyMode::Iptables => {
            let (compiler, rejections) = plan_iptables(config, state.snapshot(), &Family::ALL);
            (compiler.render().to_string(), rejections)
        }
    };
    rejections.iter().for_each(reject);
    say(&text)?;
    Ok(OK)
}
