//! kube-proxy's table as it was read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::expr::{Comparison, Expr, Load, Use, Verdict};
use super::machine::Machine;
use super::set::{Set, Value};
use crate::model::{Family, Protocol};
use crate::peer::draws::Draws;
use crate::peer::packet::{Fate, Frontend, Unread};
use crate::peer::way::{Flow, Hook, Rules, Stage};

/// Maps and sets of kube-proxy whose keys are frontends: address, protocol and port, or protocol and port.
const BY_ADDRESS: [&str; 3] = ["service-ips", "no-endpoint-services", "firewall-ips"];
const BY_NODE_PORT: [&str; 2] = ["service-nodeports", "no-endpoint-nodeports"];

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub(super) family: Family,
    pub(super) chains: BTreeMap<String, Chain>,
    pub(super) sets: BTreeMap<String, Set>,
}

/// A chain with its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) hook: Option<BaseHook>,
    pub(super) rules: Vec<Vec<Expr>>,
}

/// Where a base chain is hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BaseHook {
    pub(super) hook: Hook,
    pub(super) priority: i32,
    pub(super) is_nat: bool,
    /// Its policy.
    pub(super) drops: bool,
}

impl Rules for Table {
    fn stages(&self, hook: Hook) -> Vec<Stage<'_>> {
        let hooked = self.chains.iter().filter_map(|(name, chain)| Some((name.as_str(), chain.hook?)));
        let mut here: Vec<_> = hooked.filter(|(_, base)| base.hook == hook).collect();
        here.sort_by_key(|(_, base)| base.priority);
        here.into_iter().map(|(chain, base)| Stage { chain, is_nat: base.is_nat }).collect()
    }

    fn run(&self, stage: Stage<'_>, flow: &mut Flow<'_>, draws: &mut Draws) -> Result<Fate, Unread> {
        Machine { table: self, flow, draws }.base(stage.chain)
    }
}

impl Table {
    /// The family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Every frontend, with the service port's name where the table tells.
    pub fn frontends(&self) -> BTreeMap<Frontend, Option<String>> {
        let mut found: BTreeMap<Frontend, Option<String>> = BTreeMap::new();
        for (set, has_address) in
            BY_ADDRESS.map(|set| (set, true)).into_iter().chain(BY_NODE_PORT.map(|set| (set, false)))
        {
            let elements = self.sets.get(set).into_iter().flat_map(|set| &set.elements);
            for (key, element) in elements {
                let Some(frontend) = frontend(self.family, has_address, key) else { continue };
                let name = element.comment.clone().or_else(|| match &element.value {
                    Value::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain)) => name_in(chain),
                    _ => None,
                });
                let known = found.entry(frontend).or_default();
                *known = known.take().or(name);
            }
        }
        found
    }

    /// For each frontend that only some sources may reach, an address of each range that may.
    pub fn admitted(&self) -> BTreeMap<Frontend, BTreeSet<IpAddr>> {
        let guarded = self.sets.get("firewall-ips").into_iter().flat_map(|set| &set.elements);
        let told = guarded.filter_map(|(key, element)| {
            let Value::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain)) = &element.value else { return None };
            let rules = self.chains.get(chain)?.rules.iter().flatten();
            let sets = rules.filter_map(|expr| match expr {
                Expr::Lookup { set, then: Use::Test { .. }, .. } => self.sets.get(set),
                _ => None,
            });
            let sources = sets.flat_map(Set::starts).filter_map(ip).collect();
            Some((frontend(self.family, true, key)?, sources))
        });
        told.collect()
    }

    /// The networks by which rules tell sources inside the cluster.
    pub fn local_networks(&self) -> BTreeSet<IpNet> {
        let told = |rule: &Vec<Expr>| rule.windows(3).chain(rule.windows(2)).filter_map(source_network).next();
        self.chains.get("services").into_iter().flat_map(|chain| &chain.rules).filter_map(told).collect()
    }

    /// For each frontend that leads to endpoints how long clients stick to one, in seconds; `None` where they do not.
    pub fn stickiness(&self) -> BTreeMap<Frontend, Option<u64>> {
        let of = |(name, has_address)| {
            let elements = self.sets.get(name).into_iter().flat_map(|set| &set.elements);
            elements.filter_map(move |(key, element)| match &element.value {
                Value::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain)) => {
                    Some((frontend(self.family, has_address, key)?, self.affinity_from(chain, 0)))
                }
                _ => None,
            })
        };
        [("service-ips", true), ("service-nodeports", false)].into_iter().flat_map(of).collect()
    }

    fn affinity_from(&self, chain: &str, depth: usize) -> Option<u64> {
        let rules = self.chains.get(chain).filter(|_| depth < 4)?.rules.iter().flatten();
        rules.into_iter().find_map(|expr| match expr {
            Expr::Lookup { set, then: Use::Test { .. }, .. } => self.sets.get(set)?.timeout.map(|ms| ms / 1000),
            Expr::Verdict(Verdict::Goto(next) | Verdict::Jump(next)) => self.affinity_from(next, depth + 1),
            _ => None,
        })
    }
}

/// A comparison of the source address, or of its first bits, that is to fail.
fn source_network(exprs: &[Expr]) -> Option<IpNet> {
    let (Expr::Load(Load::Network { offset, len }, _), rest) = exprs.split_first()? else { return None };
    let full = match offset {
        12 => 4,
        8 => 16,
        _ => return None,
    };
    let with = |expr: &Expr| match expr {
        Expr::Compare { how: Comparison::NotEqual, with, .. } => Some(with.clone()),
        _ => None,
    };
    let (bytes, prefix) = match rest {
        // Whole bytes are compared without a mask.
        [compare] => (with(compare)?, len * 8),
        [Expr::Bitwise { mask, .. }, compare] => (with(compare)?, mask.iter().map(|byte| byte.count_ones()).sum()),
        _ => return None,
    };
    let mut padded = bytes;
    padded.resize(full, 0);
    IpNet::new(ip(&padded)?, u8::try_from(prefix).ok()?).ok()
}

fn frontend(family: Family, has_address: bool, key: &[u8]) -> Option<Frontend> {
    let (address, rest) = key.split_at_checked(if has_address { family.addr_len() } else { 0 })?;
    let ip = if has_address { Some(ip(address)?) } else { None };
    let [protocol, _, _, _, high, low, ..] = rest else { return None };
    let port = u16::from_be_bytes([*high, *low]);
    Some(Frontend { family, ip, protocol: Protocol::from_number(*protocol)?, port })
}

/// `ns/name:port` from a chain's name, which is `kind-HASH-ns/name/protocol/port`.
fn name_in(chain: &str) -> Option<String> {
    let mut words = chain.splitn(3, '-').nth(2)?.split('/');
    let (namespace, name) = (words.next()?, words.next()?);
    let port = words.nth(1).filter(|port| !port.is_empty()).map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{namespace}/{name}{port}"))
}

/// An address from as many bytes as one has.
fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|octets| Ipv4Addr::from(octets).into());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|octets| Ipv6Addr::from(octets).into())).ok()
}

/// The bytes of an address.
pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests;
