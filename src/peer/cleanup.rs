//! Removes what kube-proxy left, and nothing else: found first, so that it can be shown, and then taken out piece by piece.

use std::fmt;
use std::io;
use std::path::Path;

use super::iptables::{self, Cut, OF_FERROPROXY, Programs, Variant, is_of_kube_proxy};
use super::link;
use super::nft::{Nft, TABLE};
use crate::model::Family;

/// Something of kube-proxy's that can be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Its nftables table.
    Table(Family),
    /// Its chains in iptables' tables.
    Chains(Programs, Cut),
    /// The interface of its ipvs mode.
    Link,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Remains {
    /// What goes.
    pub pieces: Vec<Piece>,
    /// What is said besides: nothing to do about it here, or nothing that matters.
    pub remarks: Vec<String>,
    /// What is there and cannot be removed, with what to do.
    pub obstacles: Vec<String>,
}

/// Looks for everything kube-proxy leaves in this network namespace. `root` is `/`, for what procfs tells.
///
/// # Errors
/// When nf_tables or the interfaces cannot be asked.
pub fn find(root: &Path) -> io::Result<Remains> {
    let (mut remains, mut nft) = (Remains::default(), Nft::open()?);
    for family in Family::ALL {
        if nft.has_table(family, TABLE)? {
            remains.pieces.push(Piece::Table(family));
        }
    }
    for family in Family::ALL {
        remains.iptables(family, &mut nft, root)?;
    }
    match link::kind(link::IPVS_LINK)?.as_deref() {
        None => {}
        Some(link::IPVS_LINK_KIND) => remains.pieces.push(Piece::Link),
        Some(kind) => remains.obstacles.push(format!(
            "{} is no {} interface but {kind:?}: kube-proxy did not make it, and it stays",
            link::IPVS_LINK,
            link::IPVS_LINK_KIND
        )),
    }
    if let services @ 1.. = link::ipvs_services(root) {
        remains.obstacles.push(format!(
            "ipvs has {services} virtual services; ferroproxy does not remove them, because it cannot tell kube-proxy's from others'. \
             If all are kube-proxy's: ipvsadm --clear"
        ));
    }
    Ok(remains)
}

impl Remains {
    /// What iptables holds of a family; where the binaries are missing, whether that matters.
    fn iptables(&mut self, family: Family, nft: &mut Nft, root: &Path) -> io::Result<()> {
        let programs = iptables::programs(family);
        for programs in &programs {
            match programs.save() {
                Ok(save) if save.is_ferroproxys() => {
                    let remark =
                        "has chains of kube-proxy's names that are ferroproxy's own, in iptables mode: they stay";
                    self.remarks.push(format!("{} {remark}", programs.name()));
                }
                Ok(save) => {
                    let cut = iptables::cut(&save);
                    self.pieces.extend(cut.map(|cut| Piece::Chains(programs.clone(), cut)));
                }
                Err(error) => self.obstacles.push(format!("cannot read iptables' rules: {error}")),
            }
        }
        let lacks =
            |variant| !programs.iter().any(|found| found.variant == variant || found.variant == Variant::Unnamed);
        if lacks(Variant::Nft) {
            self.without_nft_variant(family, nft)?;
        }
        if lacks(Variant::Legacy) {
            self.without_legacy(family, root);
        }
        Ok(())
    }

    /// iptables-nft's chains can be seen without its binaries.
    fn without_nft_variant(&mut self, family: Family, nft: &mut Nft) -> io::Result<()> {
        let binary = binary(family, "-nft");
        if nft.chain_names(family, "mangle")?.iter().any(|chain| chain == OF_FERROPROXY) {
            return Ok(());
        }
        for table in ["nat", "filter", "mangle"] {
            let mut chains = nft.chain_names(family, table)?.into_iter();
            if let Some(chain) = chains.find(|chain| is_of_kube_proxy(table, chain)) {
                self.obstacles.push(format!(
                    "kube-proxy's chain {chain} is in the table {} {table}, and there is no {binary}-restore to remove it with: \
                     install iptables, or use the image that has it",
                    family.nft()
                ));
                return Ok(());
            }
        }
        self.remarks.push(format!("no {binary} here, and none of kube-proxy's chains that would need it"));
        Ok(())
    }

    /// iptables-legacy's tables are known by name only.
    fn without_legacy(&mut self, family: Family, root: &Path) {
        let (binary, tables) = (binary(family, "-legacy"), iptables::legacy_tables(family, root));
        if tables.is_empty() {
            self.remarks.push(format!("no {binary} here, and no table it would show"));
        } else {
            self.obstacles.push(format!(
                "{binary} is missing, and the kernel holds its tables {}: whether kube-proxy's chains are in them cannot be told. \
                 Install iptables, or use the image that has it",
                tables.join(", ")
            ));
        }
    }
}

fn binary(family: Family, infix: &str) -> String {
    let prefix = if family == Family::V4 { "iptables" } else { "ip6tables" };
    format!("{prefix}{infix}")
}

impl Piece {
    /// Removes it. One that is gone by now is fine.
    ///
    /// # Errors
    /// What the kernel or the iptables binary says.
    pub fn remove(&self) -> io::Result<()> {
        match self {
            Piece::Table(family) => Nft::open()?.delete(*family).map(drop),
            Piece::Chains(programs, cut) => programs.restore(&cut.text),
            Piece::Link => link::remove(link::IPVS_LINK).map(drop),
        }
    }

    /// What goes, a line each.
    pub fn details(&self) -> &[String] {
        match self {
            Piece::Chains(_, cut) => &cut.removed,
            Piece::Table(_) | Piece::Link => &[],
        }
    }

    /// Rules of others that lead to chains of this piece; the chains are emptied and stay.
    pub fn referring(&self) -> &[String] {
        match self {
            Piece::Chains(_, cut) => &cut.referring,
            Piece::Table(_) | Piece::Link => &[],
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Piece::Table(family) => write!(f, "table {} {TABLE}", family.nft()),
            Piece::Chains(programs, cut) => {
                write!(f, "kube-proxy's chains and jumps of {} ({})", programs.name(), cut.removed.len())
            }
            Piece::Link => write!(f, "interface {}", link::IPVS_LINK),
        }
    }
}
