//! Which mode runs, on what it stands, and what is left of the other one.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tracing::{info, warn};

use super::run::usable_families;
use crate::agent::on_loopback;
use crate::apply::iptables::{IptablesKernel, RestoreTarget, Variant};
use crate::apply::netlink::Netlink;
use crate::apply::target::{CommitError, Outcome, Target};
use crate::apply::transaction::{Op, Transaction};
use crate::compile::iptables::{MARK, Table, removal, unmark};
use crate::compile::ruleset::TABLE;
use crate::host;
use crate::model::{Config, Family, ModeReason, PerFamily, ProxyMode};
use crate::observe::Observer;

/// What a mode stands on.
pub(super) enum Ground {
    /// nf_tables.
    Tables(Netlink, Vec<Family>),
    /// The classical chains.
    Chains(IptablesKernel, Vec<Family>),
}

/// The configuration of the mode that runs, what it stands on, and why it is that mode. Where nobody chose a mode and nftables does not work here,
/// `again` makes the configuration of iptables mode.
pub(super) fn choose(
    config: Config,
    again: impl FnOnce() -> anyhow::Result<Config>,
) -> anyhow::Result<(Config, Ground, ModeReason)> {
    let (ground, mode, reason) = settle(config.mode, config.mode_is_free, tables, chains)?;
    let config = if mode == config.mode { config } else { Config { admin: config.admin, ..again()? } };
    Ok((config, ground, reason))
}

/// The mode that runs: the one asked for or none; where nobody asks, nftables, and iptables where that does not work.
fn settle<G>(
    mode: ProxyMode,
    is_free: bool,
    tables: impl FnOnce() -> anyhow::Result<G>,
    chains: impl FnOnce() -> anyhow::Result<G>,
) -> anyhow::Result<(G, ProxyMode, ModeReason)> {
    match (mode, is_free) {
        (ProxyMode::Iptables, _) => Ok((chains()?, mode, ModeReason::Asked)),
        (ProxyMode::Nftables, false) => {
            let ground = tables().context("nftables mode does not work here; --proxy-mode=iptables may")?;
            Ok((ground, mode, ModeReason::Asked))
        }
        (ProxyMode::Nftables, true) => match tables() {
            Ok(ground) => Ok((ground, mode, ModeReason::Default)),
            Err(error) => {
                warn!("no mode is asked for, and nftables does not work here, so iptables is used: {error:#}");
                let ground = chains().with_context(|| format!("neither mode works here; nftables: {error:#}"))?;
                Ok((ground, ProxyMode::Iptables, ModeReason::Fallback))
            }
        },
    }
}

fn tables() -> anyhow::Result<Ground> {
    let mut netlink = Netlink::open()?;
    let families = usable_families(&mut netlink)?;
    Ok(Ground::Tables(netlink, families))
}

fn chains() -> anyhow::Result<Ground> {
    let (kernel, families) = usable_chains()?;
    Ok(Ground::Chains(kernel, families))
}

/// The variant this node uses, and the families it can hold chains in.
pub(super) fn usable_chains() -> anyhow::Result<(IptablesKernel, Vec<Family>)> {
    let mut kernel = IptablesKernel::new(Variant::find().context("iptables mode cannot run")?);
    let mut families = Vec::new();
    for family in Family::ALL {
        match kernel.save(family) {
            Ok(_) => families.push(family),
            Err(error) => warn!(%family, %error, "no rules are written for this family"),
        }
    }
    if families.is_empty() {
        bail!("iptables-{} holds no tables here", kernel.variant().name());
    }
    info!(variant = kernel.variant().name(), ?families, "iptables");
    Ok((kernel, families))
}

/// Loopback addresses may be routed to. Only once the rule against strangers is in force.
pub(super) fn open_loopback(config: &Config) {
    if on_loopback(config)
        && let Err(warning) = host::allow_loopback_routing(Path::new("/"))
    {
        warn!("node ports do not answer on loopback addresses: {warning}");
    }
}

/// Pauses in seconds before the other mode's rules are tried again: somebody may hold the xtables lock for long.
const TRY_AGAIN: [u64; 6] = [1, 2, 5, 10, 30, 60];

/// Removes what the other mode has left, now that this one's rules are in force. What cannot be removed is told, and tried again beside
/// all else.
pub(super) fn remove_the_other(mode: ProxyMode, observer: Observer) {
    let is_over = move || {
        let failed = removed(mode);
        for (family, error) in &failed {
            warn!(%family, "the rules of the other mode stay: {error}");
            observer.cleanup_failed(*family);
        }
        failed.is_empty()
    };
    if is_over() {
        return;
    }
    let again = move || {
        TRY_AGAIN.into_iter().find(|pause| {
            std::thread::sleep(Duration::from_secs(*pause));
            is_over()
        })
    };
    if let Err(error) = std::thread::Builder::new().name("other-mode".into()).spawn(again) {
        warn!("the rules of the other mode stay: {error}");
    }
}

/// Removes what the other mode has left, if anything. Answers what could not be done.
fn removed(mode: ProxyMode) -> Vec<(Family, String)> {
    match mode {
        // A kernel without nf_tables holds none of our tables.
        ProxyMode::Iptables => Netlink::open().map_or_else(|_| Vec::new(), |mut netlink| remove_tables(&mut netlink)),
        ProxyMode::Nftables => {
            Variant::ALL.into_iter().filter(|variant| variant.is_marked()).flat_map(remove_chains).collect()
        }
    }
}

/// Removes our tables. Answers what could not be done.
fn remove_tables(netlink: &mut Netlink) -> Vec<(Family, String)> {
    let live = match netlink.read_back() {
        Ok(live) => live,
        Err(error) => return vec![(Family::V4, error.to_string())],
    };
    let removal = |family| live.get(family).as_ref().map(|_| Op::DeleteTable).into_iter().collect();
    let transaction = Transaction { families: PerFamily::from_fn(removal) };
    let receipt = netlink.commit(&transaction);
    let mut failed = Vec::new();
    for family in transaction.touched() {
        match receipt.families.get(family) {
            Outcome::Done => info!("removed table {} {TABLE}, which nftables mode had left", family.nft()),
            Outcome::Failed(error) => failed.push((family, error.to_string())),
        }
    }
    failed
}

/// Removes the classical chains that ferroproxy has made in a variant. Answers what could not be done.
pub(super) fn remove_chains(variant: Variant) -> Vec<(Family, String)> {
    let mut kernel = IptablesKernel::new(variant);
    let mut failed = Vec::new();
    for family in Family::ALL {
        let removed = kernel.save(family).and_then(|existing| {
            removal(&existing).iter().try_for_each(|told| kernel.restore(family, told).map(|_| ()))
        });
        match removed {
            Ok(()) => info!(%family, variant = variant.name(), "removed the chains of iptables mode"),
            Err(error) => failed.push((family, error.to_string())),
        }
    }
    failed
}

/// Removes the mark that says that the classical chains are ferroproxy's, where a kube-proxy has taken them over. Answers what could not be done.
pub(super) fn remove_marks(variant: Variant) -> Vec<(Family, String)> {
    let mut kernel = IptablesKernel::new(variant);
    let mut removed = |family| {
        let is_marked = kernel.save(family)?.get(&Table::Mangle).is_some_and(|chains| chains.contains_key(MARK));
        if is_marked { kernel.restore(family, &unmark()).map(drop) } else { Ok(()) }
    };
    let failed = |family| removed(family).err().map(|error: CommitError| (family, error.to_string()));
    Family::ALL.into_iter().filter_map(failed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(is_free: bool, nft: bool, classical: bool) -> Result<(&'static str, ProxyMode, ModeReason), String> {
        let works = |is: bool, what: &'static str| if is { Ok(what) } else { Err(anyhow::anyhow!("no {what}")) };
        settle(ProxyMode::Nftables, is_free, || works(nft, "tables"), || works(classical, "chains"))
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn iptables_steps_in_only_where_nobody_chose_and_nftables_does_not_work() {
        assert_eq!(settled(true, true, true), Ok(("tables", ProxyMode::Nftables, ModeReason::Default)));
        assert_eq!(settled(true, false, true), Ok(("chains", ProxyMode::Iptables, ModeReason::Fallback)));
        assert_eq!(settled(false, true, true), Ok(("tables", ProxyMode::Nftables, ModeReason::Asked)));
        let refused = settled(false, false, true).expect_err("it was asked for");
        assert!(refused.contains("--proxy-mode=iptables") && refused.contains("no tables"), "{refused}");
        let neither = settled(true, false, false).expect_err("nothing works");
        assert!(neither.contains("no tables") && neither.contains("no chains"), "{neither}");
    }
}
