//! `ferroproxy cleanup --kube-proxy`.

use std::path::Path;

use anyhow::{Context, bail};

use crate::cli::gather::say;
use crate::cli::{OK, TROUBLE};
use crate::peer::cleanup::{Piece, Remains, find};
use crate::peer::process;

/// Removes what kube-proxy left, or says what would go. A kube-proxy that runs would write it anew: then only with `force`.
pub(in crate::cli) fn kube_proxy(dry_run: bool, force: bool) -> anyhow::Result<u8> {
    let root = Path::new("/");
    let Remains { pieces, remarks, obstacles } =
        find(root).context("cannot look for what kube-proxy left (it needs root or CAP_NET_ADMIN)")?;
    remarks.iter().for_each(|remark| eprintln!("{remark}"));
    if let Some(sign) = process::kube_proxy(root) {
        eprintln!("warning: a kube-proxy runs here: {sign}");
        if !dry_run && !force {
            bail!(
                "kube-proxy would write its rules anew, or fail for lack of them: stop it first (or give --force). Nothing was removed"
            );
        }
    }
    if pieces.is_empty() && obstacles.is_empty() {
        say("nothing of kube-proxy's to clean up\n")?;
    }
    let mut is_complete = obstacles.is_empty();
    for piece in &pieces {
        is_complete &= take_out(piece, dry_run)?;
    }
    obstacles.iter().for_each(|obstacle| eprintln!("left: {obstacle}"));
    Ok(if is_complete { OK } else { TROUBLE })
}

/// Whether it is gone, or would be.
fn take_out(piece: &Piece, dry_run: bool) -> anyhow::Result<bool> {
    if dry_run {
        let details: String = piece.details().iter().map(|detail| format!("  {detail}\n")).collect();
        say(&format!("would remove {piece}\n{details}"))?;
    } else if let Err(error) = piece.remove() {
        eprintln!("left: {piece}: {error}");
        return Ok(false);
    } else {
        say(&format!("removed {piece}\n"))?;
    }
    for rule in piece.referring() {
        eprintln!("note: a rule of somebody else leads to a chain of kube-proxy's, which is emptied and stays: {rule}");
    }
    Ok(true)
}
