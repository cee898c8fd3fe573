//! `ferroproxy diff`: the live kernel against a source. Changes nothing, and works beside a running daemon.

use anyhow::Context;
use serde_json::json;

use super::args::Output;
use super::gather::{gather, reject, say};
use super::run::usable_families;
use super::{DIFFERENT, OK};
use crate::agent::plan;
use crate::apply::netlink::Netlink;
use crate::apply::target::Target;
use crate::apply::unified::{Difference, differences, unified};
use crate::apply::{diff as transaction_of, learn, seed};
use crate::model::{Config, Event, SourceConfig};
use crate::source::addresses;

/// Prints the difference on stdout.
pub(super) fn diff(config: &Config, output: Output) -> anyhow::Result<u8> {
    let mut state = gather(config)?;
    state.apply(Event::LocalAddresses(addresses::local()?));
    let mut netlink = Netlink::open().context("cannot read the kernel's rules")?;
    let families = usable_families(&mut netlink)?;
    let live = netlink.read_back().context("cannot read the kernel's rules")?;
    let (mut compiler, rejections) = plan(config, state.snapshot(), &families, seed(&live));
    rejections.iter().for_each(reject);
    learn(compiler.draft_mut(), &live);
    let differences = differences(compiler.draft(), &live);
    say(&match output {
        Output::Text => unified(&differences, "kernel", &origin(config)),
        Output::Json => {
            let transaction = transaction_of(compiler.draft()).to_string();
            format!("{:#}\n", as_json(&differences, &transaction))
        }
    })?;
    Ok(if differences.is_empty() { OK } else { DIFFERENT })
}

fn origin(config: &Config) -> String {
    match &config.source {
        SourceConfig::Manifests(dir) => dir.display().to_string(),
        SourceConfig::Api(_) => "cluster".to_owned(),
    }
}

fn as_json(differences: &[Difference], transaction: &str) -> serde_json::Value {
    let object = |difference: &Difference| {
        json!({
            "family": difference.family.kubernetes(),
            "object": difference.object,
            "removed": difference.removed,
            "added": difference.added,
        })
    };
    json!({
        "different": !differences.is_empty(),
        "differences": differences.iter().map(object).collect::<Vec<_>>(),
        "transaction": transaction,
    })
}
