//! What this kernel can do, found out in dry runs of throwaway rules.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use super::Netlink;
use crate::apply::target::{CommitError, Outcome, Remedy};
use crate::apply::transaction::{Op, Transaction};
use crate::compile::ruleset::{ChainKind, DataType, Field, Hook, HookPoint, Name, SetDef, Verdict};
use crate::compile::stmt::{Is, Rule, Stmt};
use crate::model::{Family, PerFamily};

/// What each family lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// The findings of each family.
    pub families: PerFamily<FamilySupport>,
}

/// What a kernel has of a family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FamilySupport {
    /// Everything ferroproxy needs.
    #[default]
    Full,
    /// These features are missing.
    Lacks(Vec<&'static str>),
    /// No tables of this family at all.
    NoFamily,
}

impl Probe {
    /// The families that have all that is needed.
    pub fn families(&self) -> Vec<Family> {
        Family::ALL.into_iter().filter(|family| *self.families.get(*family) == FamilySupport::Full).collect()
    }

    /// One sentence for each family that cannot be used, naming what is missing.
    pub fn complaints(&self) -> Vec<String> {
        let wanting = self.families.iter().filter(|(_, support)| **support != FamilySupport::Full);
        wanting.map(|(family, support)| format!("{family}: {support}")).collect()
    }
}

impl fmt::Display for FamilySupport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FamilySupport::Full => f.write_str("the kernel has all that ferroproxy needs"),
            FamilySupport::Lacks(features) => write!(f, "the kernel lacks: {}", features.join(", ")),
            FamilySupport::NoFamily => f.write_str("the kernel has no tables of this family"),
        }
    }
}

/// Finds out what both families have. When all is there, that takes one dry run; else each feature is tried alone.
pub(super) fn probe(netlink: &mut Netlink) -> Result<Probe, CommitError> {
    let everything = PerFamily::from_fn(|family| ops(&features(family)));
    let receipt = netlink.check(&Transaction { families: everything });
    if receipt.families.iter().all(|(_, outcome)| *outcome == Outcome::Done) {
        return Ok(Probe::default());
    }
    let v4 = probe_family(netlink, Family::V4)?;
    let v6 = probe_family(netlink, Family::V6)?;
    Ok(Probe { families: PerFamily { v4, v6 } })
}

fn probe_family(netlink: &mut Netlink, family: Family) -> Result<FamilySupport, CommitError> {
    if let Err(error) = dry_run(netlink, family, &[]) {
        return match error.errno.map(Errno::from_raw_os_error) {
            Some(Errno::AFNOSUPPORT | Errno::OPNOTSUPP) => Ok(FamilySupport::NoFamily),
            // Nobody may try anything in a table that another ferroproxy owns; that it is there shows that all works.
            Some(Errno::PERM) if netlink.is_owned(family)? => Ok(FamilySupport::Full),
            _ => Err(error),
        };
    }
    let mut missing = Vec::new();
    for feature in features(family) {
        match dry_run(netlink, family, std::slice::from_ref(&feature)) {
            Ok(()) => {}
            Err(error) if error.remedy == Remedy::Retry => return Err(error),
            Err(_) => missing.push(feature.name),
        }
    }
    Ok(if missing.is_empty() { FamilySupport::Full } else { FamilySupport::Lacks(missing) })
}

fn dry_run(netlink: &mut Netlink, family: Family, features: &[Feature]) -> Result<(), CommitError> {
    let mut tx = Transaction::default();
    *tx.families.get_mut(family) = ops(features);
    match std::mem::take(netlink.check(&tx).families.get_mut(family)) {
        Outcome::Done => Ok(()),
        Outcome::Failed(error) => Err(error),
    }
}

/// Something ferroproxy needs: a rule in a nat chain at some hook, perhaps over a set or map.
struct Feature {
    /// What it is called when it is missing.
    name: &'static str,
    point: HookPoint,
    stmts: Vec<Stmt>,
    set: Option<(Name, SetDef)>,
}

/// The prefix of the probes' objects. ferroproxy gives no object of its own such a name: a table of ours may be in force.
const PROBE: &str = "probe";

/// What makes all these features in one table.
fn ops(features: &[Feature]) -> Vec<Op> {
    let sets = features.iter().filter_map(|feature| feature.set.clone());
    let mut ops: Vec<Op> = sets.map(|(name, def)| Op::AddSet(name, def)).collect();
    ops.insert(0, Op::AddTable);
    let points: BTreeSet<HookPoint> = features.iter().map(|feature| feature.point).collect();
    for point in points {
        let chain = Name::from(format!("{PROBE}-{}", point.nft()));
        let hook = Hook { kind: ChainKind::Nat, point, priority: 0 };
        ops.push(Op::AddChain(chain.clone(), Some(hook)));
        let here = features.iter().filter(|feature| feature.point == point && !feature.stmts.is_empty());
        ops.extend(here.map(|feature| Op::AddRule(chain.clone(), Rule::new(feature.stmts.clone()))));
    }
    ops
}

fn features(family: Family) -> Vec<Feature> {
    use HookPoint::{Output, Postrouting, Prerouting};
    let feature = |name, point, stmts: &[Stmt]| Feature { name, point, stmts: stmts.to_vec(), set: None };
    let port = [Stmt::RejectPortUnreachable];
    let mut features = vec![
        feature("nat chains at prerouting", Prerouting, &[]),
        feature("nat chains at output", Output, &[]),
        feature("nat chains at postrouting", Postrouting, &[]),
        feature("dnat", Prerouting, &[Stmt::Dnat(unspecified(family), 1)]),
        feature("fib address types", Prerouting, &[Stmt::DestinationIsLocal(Is::In), Stmt::SourceIsLocal]),
        feature("ct status", Postrouting, &[Stmt::WasDnated]),
        feature(
            "meta mark and masquerade fully-random",
            Postrouting,
            &[Stmt::MarkHas(1), Stmt::MarkToggle(1), Stmt::Masquerade],
        ),
        feature("reject in nat chains at prerouting", Prerouting, &port),
        feature("reject in nat chains at output", Output, &port),
        feature("reject with tcp reset in nat chains", Prerouting, &[Stmt::L4Proto(6), Stmt::RejectTcpReset]),
        feature("drop in nat chains", Prerouting, &[Stmt::Verdict(Verdict::Drop)]),
    ];
    features.extend(set_features(family));
    features
}

/// The features that are about sets and maps.
fn set_features(family: Family) -> Vec<Feature> {
    let key = vec![Field::Daddr(family), Field::L4Proto, Field::Dport];
    let slots = [&key[..], &[Field::Random(2)]].concat();
    let data = DataType::Fields(vec![Field::Daddr(family), Field::Dport]);
    let services = SetDef { size: Some(8), ..set_def(&key, DataType::Verdict) };
    let endpoints = SetDef { size: Some(8), ..set_def(&slots, data) };
    let ranges = SetDef { interval: true, ..set_def(&key[..1], DataType::None) };
    let name = |what: &str| Name::from(format!("{PROBE}-{what}"));
    let with = |title, what: &str, def: &SetDef, stmts: Vec<Stmt>| {
        let set = Some((name(what), def.clone()));
        Feature { name: title, point: HookPoint::Prerouting, stmts, set }
    };
    let in_ranges = Stmt::InSet(ranges.key.clone(), Is::In, name("ranges"));
    vec![
        with("maps of concatenations with a size", "sized", &endpoints, Vec::new()),
        with("verdict maps", "verdicts", &services, vec![Stmt::Vmap(key, name("verdicts"))]),
        with("interval sets", "ranges", &ranges, vec![in_ranges]),
        with("numgen and dnat by a map", "slots", &endpoints, vec![Stmt::DnatMap(slots, name("slots"))]),
    ]
}

fn set_def(key: &[Field], data: DataType) -> SetDef {
    SetDef { key: key.to_vec(), data, interval: false, size: None, learned: None, counted: false }
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}
