//! `ferroproxy diff`: the live kernel against a source. Changes nothing, and works beside a running daemon.

use std::io::IsTerminal;

use anyhow::Context;
use serde_json::json;

use super::args::DiffOutput;
use super::gather::{gather, reject, say};
use super::mode::usable_chains;
use super::run::usable_families;
use super::{DIFFERENT, OK};
use crate::agent::{plan, plan_iptables};
use crate::apply::grouped::{ServiceDifference, grouped, grouped_text};
use crate::apply::iptables::RestoreTarget;
use crate::apply::netlink::Netlink;
use crate::apply::target::Target;
use crate::apply::unified::Difference;
use crate::apply::{diff as transaction_of, learn, seed};
use crate::compile::iptables::Measure;
use crate::model::{Config, Event, ProxyMode, SourceConfig};
use crate::source::addresses;
use crate::state::State;

/// Prints the difference on stdout.
pub(super) fn diff(config: &Config, output: DiffOutput) -> anyhow::Result<u8> {
    let mut state = gather(config)?;
    state.apply(Event::LocalAddresses(addresses::local()?));
    if config.mode == ProxyMode::Iptables {
        return diff_chains(config, &state, output);
    }
    let mut netlink = Netlink::open().context("cannot read the kernel's rules")?;
    let families = usable_families(&mut netlink)?;
    let live = netlink.read_back().context("cannot read the kernel's rules")?;
    let (mut compiler, rejections) = plan(config, state.snapshot(), &families, seed(&live));
    rejections.iter().for_each(reject);
    learn(compiler.draft_mut(), &live);
    let groups = grouped(compiler.draft(), &live);
    let transaction = transaction_of(compiler.draft());
    say(&match output {
        DiffOutput::Text => grouped_text(&groups, "kernel", &origin(config), std::io::stdout().is_terminal()),
        DiffOutput::Json => format!("{:#}\n", as_json(&groups, &transaction.to_string())),
        DiffOutput::Nft => transaction.to_string(),
    })?;
    Ok(if transaction.is_empty() { OK } else { DIFFERENT })
}

/// The same in iptables mode: what `iptables-restore` would be told.
fn diff_chains(config: &Config, state: &State, output: DiffOutput) -> anyhow::Result<u8> {
    let (mut kernel, families) = usable_chains()?;
    let (mut compiler, rejections) = plan_iptables(config, state.snapshot(), &families);
    rejections.iter().for_each(reject);
    for family in families {
        let existing = kernel.save(family).context("cannot read the kernel's rules")?;
        compiler.learn(family, &existing, Measure::Difference);
    }
    let restore = compiler.restore();
    say(&match output {
        DiffOutput::Text | DiffOutput::Nft => restore.to_string(),
        DiffOutput::Json => {
            let shown = json!({ "different": !restore.is_empty(), "transaction": restore.to_string() });
            format!("{shown:#}\n")
        }
    })?;
    Ok(if restore.is_empty() { OK } else { DIFFERENT })
}

fn origin(config: &Config) -> String {
    match &config.source {
        SourceConfig::Manifests(dir) => dir.display().to_string(),
        SourceConfig::Api(_) => "cluster".to_owned(),
    }
}

fn as_json(groups: &[ServiceDifference], transaction: &str) -> serde_json::Value {
    let object = |difference: &Difference| {
        json!({
            "family": difference.family.kubernetes(),
            "object": difference.object,
            "removed": difference.removed,
            "added": difference.added,
        })
    };
    let objects = |group: &ServiceDifference| group.differences.iter().map(object).collect::<Vec<_>>();
    json!({
        "different": !transaction.is_empty(),
        "differences": groups.iter().flat_map(objects).collect::<Vec<_>>(),
        "services": groups.iter().map(|group| json!({ "service": group.service, "differences": objects(group) })).collect::<Vec<_>>(),
        "transaction": transaction,
    })
}
