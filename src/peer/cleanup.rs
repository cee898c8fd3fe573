//! Removes what kube-proxy left, and nothing else: found first, so that it can be shown, and then taken out piece by piece.

use std::fmt;
use std::io;
use std::path::Path;

use super::ipset::Ipsets;
use super::iptables::{self, Cut, OF_FERROPROXY, Programs, Variant, is_of_kube_proxy};
use super::ipvs::{Ipvs, Signs, VirtualService};
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
    /// What its ipvs mode made: virtual services, and the interface that tells them from others', if it is there.
    Ipvs(Vec<VirtualService>, bool),
    /// Its ipsets.
    Sets(Vec<String>),
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
    remains.ipvs(root)?;
    Ok(remains)
}

/// So many of others' virtual services are named.
const NAMED: usize = 5;

impl Remains {
    /// What the ipvs mode left. The sets go last of all: rules refer to them until those are gone.
    fn ipvs(&mut self, root: &Path) -> io::Result<()> {
        let has_link = match link::kind(link::IPVS_LINK)?.as_deref() {
            None => false,
            Some(link::IPVS_LINK_KIND) => true,
            Some(kind) => {
                self.obstacles.push(format!(
                    "{} is no {} interface but {kind:?}: kube-proxy did not make it, and it stays",
                    link::IPVS_LINK,
                    link::IPVS_LINK_KIND
                ));
                false
            }
        };
        let (mut signs, mut sets) = (Signs::default(), Vec::new());
        if let Some(mut ipsets) = Ipsets::open(root)? {
            sets = ipsets.of_kube_proxy()?;
            signs.node_ports.extend(ipsets.node_ports()?);
        }
        if has_link {
            signs.addresses = link::addresses(link::IPVS_LINK)?;
        }
        let services = match Ipvs::open(root)? {
            Some(mut ipvs) => ipvs.services()?,
            None => Vec::new(),
        };
        self.told_apart(services, &signs, has_link);
        if !sets.is_empty() {
            self.pieces.push(Piece::Sets(sets));
        }
        Ok(())
    }

    /// Of the virtual services kube-proxy's go; others' stay, and are named.
    fn told_apart(&mut self, services: Vec<VirtualService>, signs: &Signs, has_link: bool) {
        let (ours, others): (Vec<_>, Vec<_>) = services.into_iter().partition(|service| signs.are_of(service));
        if has_link || !ours.is_empty() {
            self.pieces.push(Piece::Ipvs(ours, has_link));
        }
        if !others.is_empty() {
            let named: Vec<String> = others.iter().take(NAMED).map(VirtualService::to_string).collect();
            let more = if others.len() > NAMED { ", ..." } else { "" };
            self.remarks.push(format!(
                "ipvs has {} virtual services that are neither on {} nor on a node port kube-proxy has noted down: they are others', and stay: {}{more}",
                others.len(),
                link::IPVS_LINK,
                named.join(", ")
            ));
        }
    }

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
            Piece::Ipvs(services, has_link) => remove_ipvs(services, *has_link),
            Piece::Sets(names) => destroy(names),
        }
    }

    /// What goes, a line each.
    pub fn details(&self) -> Vec<String> {
        match self {
            Piece::Table(_) => Vec::new(),
            Piece::Chains(_, cut) => cut.removed.clone(),
            Piece::Ipvs(services, _) => services.iter().map(VirtualService::to_string).collect(),
            Piece::Sets(names) => names.clone(),
        }
    }

    /// Rules of others that lead to chains of this piece; the chains are emptied and stay.
    pub fn referring(&self) -> &[String] {
        match self {
            Piece::Chains(_, cut) => &cut.referring,
            Piece::Table(_) | Piece::Ipvs(..) | Piece::Sets(_) => &[],
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
            Piece::Ipvs(services, true) if services.is_empty() => write!(f, "interface {}", link::IPVS_LINK),
            Piece::Ipvs(services, true) => {
                write!(
                    f,
                    "kube-proxy's virtual services of ipvs ({}) and the interface {}",
                    services.len(),
                    link::IPVS_LINK
                )
            }
            Piece::Ipvs(services, false) => write!(f, "kube-proxy's virtual services of ipvs ({})", services.len()),
            Piece::Sets(names) => write!(f, "kube-proxy's ipsets ({})", names.len()),
        }
    }
}

/// The services first: without the interface nobody could tell whose those are that are left.
fn remove_ipvs(services: &[VirtualService], has_link: bool) -> io::Result<()> {
    if !services.is_empty()
        && let Some(mut ipvs) = Ipvs::open(Path::new("/"))?
    {
        services.iter().try_for_each(|service| ipvs.delete(service).map(drop))?;
    }
    if has_link { link::remove(link::IPVS_LINK).map(drop) } else { Ok(()) }
}

fn destroy(names: &[String]) -> io::Result<()> {
    let Some(mut ipsets) = Ipsets::open(Path::new("/"))? else { return Ok(()) };
    let failed = |name: &str, error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    names.iter().try_for_each(|name| ipsets.destroy(name).map(drop).map_err(|error| failed(name, error)))
}
