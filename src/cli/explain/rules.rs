//! The rules the kernel has now.

use anyhow::{Context, bail};

use crate::apply::netlink::Netlink;
use crate::apply::target::{LiveChain, LiveTable, Target};
use crate::cli::planned::Rules;
use crate::compile::ruleset::{Set, TABLE};
use crate::compile::walk::{Program, Programs};
use crate::model::{Family, ProxyMode};
use crate::peer::iptables::{Own, programs};

/// The rules in the kernel now, of this mode.
pub(super) fn live(mode: ProxyMode, family: Family) -> anyhow::Result<Rules> {
    match mode {
        ProxyMode::Nftables => tables(family).map(Rules::Tables),
        ProxyMode::Iptables => chains(family).map(Rules::Chains),
    }
}

fn tables(family: Family) -> anyhow::Result<Programs> {
    let mut netlink = Netlink::open().context("cannot read the kernel's rules")?;
    let live = netlink.read_back().context("cannot read the kernel's rules")?;
    match live.get(family) {
        Some(table) => of_live(table, family),
        None => bail!("the kernel has no table {} {TABLE}: ferroproxy has not run here", family.nft()),
    }
}

/// Of the variant in which ferroproxy has left its mark.
fn chains(family: Family) -> anyhow::Result<Own> {
    for programs in programs(family) {
        let save = programs.save().context("cannot read the kernel's rules")?;
        if save.is_ferroproxys() {
            return Ok(Own(save));
        }
    }
    bail!("the kernel has no {family} chains of ferroproxy's: it has not run here in iptables mode")
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
