//! The rules to walk: as compiled, or as the kernel has them.

use anyhow::{Context, bail};

use crate::apply::netlink::Netlink;
use crate::apply::target::{LiveChain, LiveTable, Target};
use crate::compile::Compiler;
use crate::compile::lower::lower;
use crate::compile::ruleset::{Set, TABLE};
use crate::compile::walk::{Program, Programs};
use crate::model::Family;

/// The rules the source asks for.
pub(in crate::cli) fn compiled(compiler: &Compiler, family: Family) -> Programs {
    match compiler.draft().ruleset().get(family) {
        Some(table) => Programs::from_table(table, family, |rule| lower(rule, family)),
        None => Programs { family, sets: Default::default(), chains: Default::default() },
    }
}

/// The rules in the kernel now.
pub(super) fn live(family: Family) -> anyhow::Result<Programs> {
    let mut netlink = Netlink::open().context("cannot read the kernel's rules")?;
    let live = netlink.read_back().context("cannot read the kernel's rules")?;
    match live.get(family) {
        Some(table) => of_live(table, family),
        None => bail!("the kernel has no table {} {TABLE}: ferroproxy has not run here", family.nft()),
    }
}

fn of_live(table: &LiveTable, family: Family) -> anyhow::Result<Programs> {
    let mut programs = Programs { family, sets: Default::default(), chains: Default::default() };
    for (name, set) in &table.sets {
        let def = set.def.clone().with_context(|| format!("the kernel's set {name} is none that ferroproxy makes"))?;
        programs.sets.insert(name.clone(), Set { def, elements: set.elements.clone() });
    }
    for (name, LiveChain { hook, rules }) in &table.chains {
        let rules = rules.iter().cloned().collect::<Option<Vec<_>>>();
        let rules =
            rules.with_context(|| format!("the kernel's chain {name} has a rule that ferroproxy never writes"))?;
        programs.chains.insert(name.clone(), Program { hook: *hook, rules });
    }
    Ok(programs)
}
