//! The rules kube-proxy has in the kernel now, whatever they are written in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use super::iptables::{self, Own, Save};
use super::nft::{Nft, Table};
use super::packet::{Frontend, Outcome, Packet, Unread};
use super::way::{Rules, outcomes};
use crate::model::{Family, ProxyMode};

/// What the rules are written in.
#[derive(Clone, Debug)]
pub enum Kind {
    /// The table `kube-proxy` of nf_tables.
    Nftables(Table),
    /// Chains in iptables' tables, and the name of the binary that shows them.
    Iptables(Own, String),
}

/// kube-proxy's rules of one family.
#[derive(Clone, Debug)]
pub struct Left {
    /// The family.
    pub family: Family,
    /// The rules.
    pub kind: Kind,
}

/// Everything kube-proxy has in the kernel that decides where packets go.
///
/// # Errors
/// When the kernel or an iptables binary refuses to tell.
pub fn find() -> io::Result<Vec<Left>> {
    let mut nft = Nft::open()?;
    let mut found = Vec::new();
    for family in Family::ALL {
        found.extend(nft.read(family)?.map(|table| Left { family, kind: Kind::Nftables(table) }));
        for programs in iptables::programs(family) {
            let save = programs.save()?;
            if save.serves() {
                found.push(Left { family, kind: Kind::Iptables(Own(save), programs.name()) });
            }
        }
    }
    Ok(found)
}

impl Left {
    /// The mode that wrote them.
    pub fn mode(&self) -> ProxyMode {
        match self.kind {
            Kind::Nftables(_) => ProxyMode::Nftables,
            Kind::Iptables(..) => ProxyMode::Iptables,
        }
    }

    /// Everything that can become of a packet on a node with these addresses.
    ///
    /// # Errors
    /// [`Unread`] when it meets a rule that cannot be judged.
    pub fn outcomes(&self, packet: &Packet, local: &BTreeSet<IpAddr>) -> Result<BTreeSet<Outcome>, Unread> {
        let rules: &dyn Rules = match &self.kind {
            Kind::Nftables(table) => table,
            Kind::Iptables(own, _) => own,
        };
        outcomes(rules, packet, local)
    }

    /// Every frontend, with the service port's name where the rules tell.
    pub fn frontends(&self) -> BTreeMap<Frontend, Option<String>> {
        match &self.kind {
            Kind::Nftables(table) => table.frontends(),
            Kind::Iptables(Own(save), _) => iptables::frontends(save, self.family),
        }
    }

    /// For each frontend that only some sources may reach, an address of each range that may.
    pub fn admitted(&self) -> BTreeMap<Frontend, BTreeSet<IpAddr>> {
        match &self.kind {
            Kind::Nftables(table) => table.admitted(),
            Kind::Iptables(Own(save), _) => iptables::admitted(save, self.family),
        }
    }

    /// The networks by which the rules tell sources inside the cluster.
    pub fn local_networks(&self) -> BTreeSet<IpNet> {
        match &self.kind {
            Kind::Nftables(table) => table.local_networks(),
            Kind::Iptables(Own(save), _) => iptables::local_networks(save),
        }
    }

    /// For each frontend that leads to endpoints how long clients stick to one, in seconds; `None` where they do not.
    pub fn stickiness(&self) -> BTreeMap<Frontend, Option<u64>> {
        match &self.kind {
            Kind::Nftables(table) => table.stickiness(),
            Kind::Iptables(Own(save), _) => iptables::stickiness(save, self.family),
        }
    }

    /// Whether endpoints are chosen by ipvs, where no rule tells.
    pub fn is_ipvs(&self) -> bool {
        matches!(&self.kind, Kind::Iptables(Own(save), _) if Save::is_ipvs(save))
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Nftables(_) => write!(f, "nftables table {} {}", self.family.nft(), super::nft::TABLE),
            Kind::Iptables(_, name) => write!(f, "{name} chains"),
        }
    }
}
