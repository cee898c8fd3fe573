//! What this kernel can do, found out in dry runs of throwaway rules.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use super::Netlink;
use crate::apply::target::{CommitError, Outcome, Remedy};
use crate::apply::transaction::{Op, Transaction};
use crate::compile::ruleset::{ChainKind, DataType, Field, Hook, HookPoint, SetDef, Verdict};
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

impl fmt::Display for FamilySupport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FamilySupport::Full => f.write_str("the kernel has all that ferroproxy needs"),
            FamilySupport::Lacks(features) => write!(f, "the kernel lacks: {}", features.join(", ")),
            FamilySupport::NoFamily => f.write_str("the kernel has no tables of this family"),
        }
    }
}

/// Runs every probe in both families.
pub(super) fn probe(netlink: &mut Netlink) -> Result<Probe, CommitError> {
    let v4 = probe_family(netlink, Family::V4)?;
    let v6 = probe_family(netlink, Family::V6)?;
    Ok(Probe { families: PerFamily { v4, v6 } })
}

fn probe_family(netlink: &mut Netlink, family: Family) -> Result<FamilySupport, CommitError> {
    if let Err(error) = dry_run(netlink, family, Vec::new()) {
        return match error.errno.map(Errno::from_raw_os_error) {
            Some(Errno::AFNOSUPPORT | Errno::OPNOTSUPP) => Ok(FamilySupport::NoFamily),
            _ => Err(error),
        };
    }
    let mut missing = Vec::new();
    for (name, ops) in features(family) {
        match dry_run(netlink, family, ops) {
            Ok(()) => {}
            Err(error) if error.remedy == Remedy::Retry => return Err(error),
            Err(_) => missing.push(name),
        }
    }
    Ok(if missing.is_empty() { FamilySupport::Full } else { FamilySupport::Lacks(missing) })
}

fn dry_run(netlink: &mut Netlink, family: Family, mut ops: Vec<Op>) -> Result<(), CommitError> {
    ops.insert(0, Op::AddTable);
    let mut tx = Transaction::default();
    *tx.families.get_mut(family) = ops;
    match std::mem::take(netlink.check(&tx).families.get_mut(family)) {
        Outcome::Done => Ok(()),
        Outcome::Failed(error) => Err(error),
    }
}

/// The object of the probes. ferroproxy gives no object of its own this name: a table of ours may be in force.
const NAME: &str = "probe";

/// The name of each feature, and what needs it in a table that is there.
fn features(family: Family) -> Vec<(&'static str, Vec<Op>)> {
    use HookPoint::{Output, Postrouting, Prerouting};
    let masquerade = [Stmt::MarkHas(1), Stmt::MarkToggle(1), Stmt::Masquerade];
    let reset = [Stmt::L4Proto(6), Stmt::RejectTcpReset];
    let port = Stmt::RejectPortUnreachable;
    let constant = Stmt::Dnat(unspecified(family), 1);
    let mut features = vec![
        ("nat chains at prerouting", nat_chain(Prerouting, [])),
        ("nat chains at output", nat_chain(Output, [])),
        ("nat chains at postrouting", nat_chain(Postrouting, [])),
        ("dnat", nat_chain(Prerouting, [constant])),
        ("fib address types", nat_chain(Prerouting, [Stmt::DestinationIsLocal, Stmt::SourceIsLocal])),
        ("ct status", nat_chain(Postrouting, [Stmt::WasDnated])),
        ("meta mark and masquerade fully-random", nat_chain(Postrouting, masquerade)),
        ("reject in nat chains at prerouting", nat_chain(Prerouting, [port.clone()])),
        ("reject in nat chains at output", nat_chain(Output, [port])),
        ("reject with tcp reset in nat chains", nat_chain(Prerouting, reset)),
        ("drop in nat chains", nat_chain(Prerouting, [Stmt::Verdict(Verdict::Drop)])),
    ];
    features.extend(set_features(family));
    features
}

/// The features that are about sets and maps.
fn set_features(family: Family) -> Vec<(&'static str, Vec<Op>)> {
    let key = vec![Field::Daddr(family), Field::L4Proto, Field::Dport];
    let slots = [&key[..], &[Field::Random(2)]].concat();
    let data = DataType::Fields(vec![Field::Daddr(family), Field::Dport]);
    let services = SetDef { size: Some(8), ..set_def(&key, DataType::Verdict) };
    let endpoints = SetDef { size: Some(8), ..set_def(&slots, data) };
    let ranges = SetDef { interval: true, ..set_def(&key[..1], DataType::None) };
    let in_ranges = Stmt::InSet(ranges.key.clone(), Is::In, NAME.into());
    vec![
        ("maps of concatenations with a size", vec![Op::AddSet(NAME.into(), endpoints.clone())]),
        ("verdict maps", with_set(services, Stmt::Vmap(key, NAME.into()))),
        ("interval sets", with_set(ranges, in_ranges)),
        ("numgen and dnat by a map", with_set(endpoints, Stmt::DnatMap(slots, NAME.into()))),
    ]
}

fn set_def(key: &[Field], data: DataType) -> SetDef {
    SetDef { key: key.to_vec(), data, interval: false, size: None, learned: None }
}

/// A nat chain at a hook, with one rule if there are statements.
fn nat_chain<const N: usize>(point: HookPoint, stmts: [Stmt; N]) -> Vec<Op> {
    let hook = Hook { kind: ChainKind::Nat, point, priority: 0 };
    let mut ops = vec![Op::AddChain(NAME.into(), Some(hook))];
    if N > 0 {
        ops.push(Op::AddRule(NAME.into(), Rule::new(stmts)));
    }
    ops
}

fn with_set(def: SetDef, stmt: Stmt) -> Vec<Op> {
    let mut ops = vec![Op::AddSet(NAME.into(), def)];
    ops.extend(nat_chain(HookPoint::Prerouting, [stmt]));
    ops
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}
