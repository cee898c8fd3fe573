//! What this node is like.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use crate::apply::netlink::Netlink;
use crate::host;
use crate::model::{ConntrackConfig, Family};
use crate::peer::iptables::{Save, legacy_tables, programs};
use crate::peer::nft::{Nft, Strict, TABLE};
use crate::peer::process;
use crate::source::addresses;

/// What was found out about the node, and what could not be.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Addresses on its interfaces.
    pub(super) local: BTreeSet<IpAddr>,
    /// Its interfaces.
    pub(super) interfaces: Vec<String>,
    /// Bridges with ports.
    pub(super) bridges: Vec<String>,
    /// Whether packets between ports of a bridge pass netfilter, by family.
    pub(super) bridged_is_filtered: Vec<(Family, bool)>,
    /// What each iptables binary prints.
    pub(super) saves: Vec<(Family, String, Save)>,
    /// Families in which kube-proxy has an nftables table.
    pub(super) tables: Vec<Family>,
    /// Base chains that forward only what a rule accepts.
    pub(super) strict: Vec<(Family, Strict)>,
    /// What the kernel lacks, a sentence a family.
    pub(super) complaints: Vec<String>,
    /// Whether there is a family with all that is needed.
    pub(super) is_able: bool,
    /// Whether the nft binary is here.
    pub(super) has_nft: bool,
    /// What speaks for a running kube-proxy.
    pub(super) running: Option<String>,
    /// `net.ipv4.conf.all.route_localnet`.
    pub(super) routes_loopback: bool,
    /// Sysctls of conntrack: name, value, and the value ferroproxy writes.
    pub(super) conntrack: Vec<(&'static str, u64, u64)>,
    /// What could not be found out, and why.
    pub(super) unknown: Vec<String>,
}

impl Facts {
    /// Looks around below `root`, which is `/` but for tests, and asks the kernel.
    pub(super) fn gather(root: &Path, conntrack: &ConntrackConfig) -> Facts {
        let mut facts = Facts { running: process::kube_proxy(root), ..Facts::default() };
        match addresses::local() {
            Ok(local) => facts.local = local,
            Err(error) => facts.unknown.push(error.to_string()),
        }
        facts.files(root, conntrack);
        facts.kernel();
        facts.tables();
        for family in Family::ALL {
            facts.iptables(family, root);
        }
        facts
    }

    /// What procfs and sysfs tell.
    pub(super) fn files(&mut self, root: &Path, conntrack: &ConntrackConfig) {
        let number = |path: &str| fs::read_to_string(root.join(path)).ok()?.trim().parse::<u64>().ok();
        let entries = |path: &str| fs::read_dir(root.join(path)).into_iter().flatten().flatten();
        self.interfaces =
            entries("sys/class/net").map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        self.interfaces.sort();
        let has_ports = |name: &&String| entries(&format!("sys/class/net/{name}/brif")).next().is_some();
        self.bridges = self.interfaces.iter().filter(has_ports).cloned().collect();
        let filtered = |file: &str| number(&format!("proc/sys/net/bridge/{file}")) == Some(1);
        self.bridged_is_filtered =
            vec![(Family::V4, filtered("bridge-nf-call-iptables")), (Family::V6, filtered("bridge-nf-call-ip6tables"))];
        self.routes_loopback = number("proc/sys/net/ipv4/conf/all/route_localnet") == Some(1);
        let wanted = host::conntrack_values(conntrack, host::cores(root)).into_iter();
        self.conntrack = wanted
            .filter_map(|(name, value)| Some((name, number(&format!("proc/sys/net/netfilter/{name}"))?, value)))
            .collect();
        let places = ["usr/sbin/nft", "sbin/nft", "usr/bin/nft", "usr/local/sbin/nft"];
        self.has_nft = places.iter().any(|place| root.join(place).is_file());
    }

    fn kernel(&mut self) {
        match Netlink::open().and_then(|mut netlink| netlink.probe()) {
            Ok(probe) => {
                self.complaints = probe.complaints();
                self.is_able = !probe.families().is_empty();
            }
            Err(error) => self.unknown.push(format!("what the kernel can do: {error}")),
        }
    }

    fn tables(&mut self) {
        let mut look = || -> std::io::Result<()> {
            let mut nft = Nft::open()?;
            for family in Family::ALL {
                if nft.has_table(family, TABLE)? {
                    self.tables.push(family);
                }
                self.strict.extend(nft.strict_forwarders(family)?.into_iter().map(|chain| (family, chain)));
            }
            Ok(())
        };
        if let Err(error) = look() {
            self.unknown.push(format!("which nftables tables there are: {error}"));
        }
    }

    fn iptables(&mut self, family: Family, root: &Path) {
        let programs = programs(family);
        for programs in &programs {
            match programs.save() {
                Ok(save) => self.saves.push((family, programs.name(), save)),
                Err(error) => self.unknown.push(format!("{family} rules of iptables: {error}")),
            }
        }
        let tables = legacy_tables(family, root);
        if programs.is_empty() && !tables.is_empty() {
            let tables = tables.join(", ");
            self.unknown
                .push(format!("{family} rules of iptables in {tables}: there is no iptables-save here to read them"));
        }
    }
}
