//! `ferroproxy cleanup`: removes everything ferroproxy ever made, or (`--kube-proxy`) what kube-proxy left.

mod kube_proxy;

use std::time::Duration;

use anyhow::{Context, bail};

use super::OK;
use super::lock::Lock;
use super::mode::remove_chains;
use crate::apply::iptables::Variant;
use crate::apply::netlink::Netlink;
use crate::apply::target::{Outcome, Target};
use crate::apply::transaction::{Op, Transaction};
use crate::compile::ruleset::TABLE;
use crate::model::PerFamily;

pub(super) use kube_proxy::kube_proxy;

/// Removes both tables, in one transaction. Nothing to remove is fine. A dry run says what would go.
pub(super) fn cleanup(dry_run: bool) -> anyhow::Result<u8> {
    // A running ferroproxy would write everything anew at once; to look beside one is fine.
    let _lock = if dry_run { None } else { Some(Lock::take(Duration::ZERO).context("cannot clean up")?) };
    let chains = clean_chains(dry_run)?;
    let mut netlink = Netlink::open().context("cannot clean up")?;
    let live = netlink.read_back().context("cannot read the kernel's rules")?;
    let removal = |family| live.get(family).as_ref().map(|_| Op::DeleteTable).into_iter().collect();
    let transaction = Transaction { families: PerFamily::from_fn(removal) };
    let touched: Vec<_> = transaction.touched().collect();
    if touched.is_empty() {
        if !chains {
            println!("nothing to clean up");
        }
        return Ok(OK);
    }
    if dry_run {
        touched.iter().for_each(|family| println!("would remove table {} {TABLE}", family.nft()));
        return Ok(OK);
    }
    let receipt = netlink.commit(&transaction);
    for family in touched {
        match receipt.families.get(family) {
            Outcome::Done => println!("removed table {} {TABLE}", family.nft()),
            Outcome::Failed(error) => bail!("cannot remove table {} {TABLE}: {error}", family.nft()),
        }
    }
    Ok(OK)
}

/// Removes the classical chains of iptables mode. Says whether there were any.
fn clean_chains(dry_run: bool) -> anyhow::Result<bool> {
    let marked: Vec<Variant> = Variant::ALL.into_iter().filter(|variant| variant.is_marked()).collect();
    if dry_run {
        marked.iter().for_each(|v| println!("would remove the chains of iptables mode (iptables-{})", v.name()));
        return Ok(!marked.is_empty());
    }
    if let Some((family, error)) = remove_chains().into_iter().next() {
        bail!("cannot remove the {family} chains of iptables mode: {error}");
    }
    for variant in &marked {
        println!("removed the chains of iptables mode (iptables-{})", variant.name());
    }
    Ok(!marked.is_empty())
}
