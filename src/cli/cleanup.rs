//! `ferroproxy cleanup`: removes everything ferroproxy ever made, or (`--kube-proxy`) what kube-proxy left.

mod kube_proxy;

use std::path::Path;

use anyhow::{Context, bail};

use super::OK;
use super::lock::Lock;
use super::mode::{remove_chains, remove_marks};
use crate::apply::iptables::Variant;
use crate::apply::netlink::Netlink;
use crate::apply::target::{Outcome, Target};
use crate::apply::transaction::{Op, Transaction};
use crate::compile::ruleset::TABLE;
use crate::model::PerFamily;
use crate::peer::{self, process};

pub(super) use kube_proxy::kube_proxy;

/// Removes both tables, in one transaction. Nothing to remove is fine. A dry run says what would go.
pub(super) fn cleanup(dry_run: bool) -> anyhow::Result<u8> {
    // A running ferroproxy would write everything anew at once; to look beside one is fine.
    let _lock = if dry_run { None } else { Some(Lock::take().context("cannot clean up")?) };
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

/// Removes the classical chains of iptables mode; of those that a kube-proxy has taken over only the mark that they are ours. Says whether
/// there were any.
fn clean_chains(dry_run: bool) -> anyhow::Result<bool> {
    let marked: Vec<Variant> = Variant::ALL.into_iter().filter(|variant| variant.is_marked()).collect();
    if marked.is_empty() {
        return Ok(false);
    }
    let taken_over = taken_over()?;
    let what = if taken_over.is_some() { "mark" } else { "chains" };
    if let Some(sign) = taken_over {
        eprintln!(
            "note: a kube-proxy runs here, and has no rules but those chains: {sign}. They are its own by now, and stay"
        );
    }
    for variant in marked {
        let name = variant.name();
        if dry_run {
            println!("would remove the {what} of iptables mode (iptables-{name})");
            continue;
        }
        let failed = if what == "mark" { remove_marks(variant) } else { remove_chains(variant) };
        if let Some((family, error)) = failed.into_iter().next() {
            bail!("cannot remove the {family} {what} of iptables mode: {error}");
        }
        println!("removed the {what} of iptables mode (iptables-{name})");
    }
    Ok(true)
}

/// What speaks for a kube-proxy that runs on our chains: one runs, and no rules of its own are anywhere else.
fn taken_over() -> anyhow::Result<Option<String>> {
    let Some(sign) = process::kube_proxy(Path::new("/")) else { return Ok(None) };
    let elsewhere = peer::find().context("cannot look for kube-proxy's rules")?;
    Ok(elsewhere.is_empty().then_some(sign))
}
