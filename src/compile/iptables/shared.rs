//! The chains all services share: what is wanted in one, and changes within one.
//!
//! What a port has in such a chain by address, or by node port, is a block of rules. Every frontend has one owner, so no packet meets two blocks of a kind
//! and their order says nothing: new ones come where that costs least, and any order is right.

use std::collections::HashMap;

use super::dispatch::Lines;
use super::restore::Edited;
use super::rule::{Rule, canonical};
use super::{Table, wanted};
use crate::compile::ruleset::Name;

/// A chain is written whole where more than one part in so many of it changes.
const SHARE: usize = 16;
/// Rules that are taken out one by one: `iptables-nft-restore` compares each with those before it.
const GONE: usize = 16;

/// A table and the name of a shared chain in it.
pub(super) type Chain = (Table, &'static str);
/// Rules of one port that stand together.
pub(super) type Block = Vec<Rule>;

/// A shared chain as it is wanted.
pub(super) struct Shared {
    /// What stands there whatever the services.
    pub(super) frame: Block,
    /// What addresses lead to.
    pub(super) by_address: Vec<Block>,
    /// What node ports lead to: after the addresses, which are the more particular claim.
    pub(super) by_node_port: Vec<Block>,
    /// What comes after everything else.
    pub(super) last: Block,
}

impl Shared {
    /// Its rules, the blocks in the order of services.
    pub(super) fn body(&self, name: &Name) -> super::restore::Body {
        let blocks = self.by_address.iter().chain(&self.by_node_port).flatten();
        wanted::text(name, self.frame.iter().chain(blocks).chain(&self.last))
    }

    /// Whether rules as `iptables-save` tells them are these, the blocks of a kind in any order.
    pub(super) fn stands(&self, rules: &[String]) -> bool {
        let rules: Vec<String> = rules.iter().map(|rule| canonical(rule)).collect();
        let (frame, last) = (std::slice::from_ref(&self.frame), std::slice::from_ref(&self.last));
        let kinds = [frame, &self.by_address, &self.by_node_port, last];
        kinds.into_iter().try_fold(&rules[..], |rest, blocks| past(blocks, rest)).is_some_and(<[String]>::is_empty)
    }
}

/// What comes after some blocks, which stand first in any order.
fn past<'a>(blocks: &[Block], mut rest: &'a [String]) -> Option<&'a [String]> {
    let mut awaited: HashMap<String, Vec<Vec<String>>> = HashMap::new();
    let blocks = blocks.iter().filter(|block| !block.is_empty());
    for block in blocks.map(|block| block.iter().map(|rule| canonical(&rule.to_string())).collect::<Vec<_>>()) {
        awaited.entry(block[0].clone()).or_default().push(block);
    }
    let count: usize = awaited.values().map(Vec::len).sum();
    for _ in 0..count {
        let block = awaited.get_mut(rest.first()?)?.pop()?;
        rest = rest.strip_prefix(&block[..])?;
    }
    Some(rest)
}

/// Changes within a shared chain that are not in force yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Edits {
    gone: Vec<Block>,
    by_address: Vec<Block>,
    by_node_port: Vec<Block>,
}

impl Edits {
    /// Notes what a service brought to the chain and what it brings now.
    pub(super) fn exchange(&mut self, chain: Chain, old: &[Lines], new: &[Lines]) {
        let Edits { gone, by_address, by_node_port } = self;
        exchange(gone, by_address, |lines| lines.by_address.get(&chain), old, new);
        exchange(gone, by_node_port, |lines| lines.by_node_port.get(&chain), old, new);
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        *self == Edits::default()
    }

    /// Whether it is more than is worth it in a chain of so many rules.
    pub(super) fn is_too_much(&self, rules: usize) -> bool {
        let count = |blocks: &[Block]| blocks.iter().map(Vec::len).sum::<usize>();
        let gone = count(&self.gone);
        gone > GONE || (gone + count(&self.by_address) + count(&self.by_node_port)) * SHARE > rules
    }

    /// The same as text.
    pub(super) fn edited(&self) -> Edited {
        let text = |blocks: &[Block]| blocks.iter().flatten().map(Rule::to_string).collect();
        Edited { gone: text(&self.gone), first: text(&self.by_address), last: text(&self.by_node_port) }
    }
}

/// What comes and is among what is to go stays, and what goes and is not there yet does not come.
fn exchange<'a>(
    gone: &mut Vec<Block>,
    come: &mut Vec<Block>,
    of: impl Fn(&'a Lines) -> Option<&'a Block>,
    old: &'a [Lines],
    new: &'a [Lines],
) {
    let (old, new): (Vec<_>, Vec<_>) = (old.iter().filter_map(&of).collect(), new.iter().filter_map(&of).collect());
    let only = |these: &[&Block], those: &[&Block]| -> Vec<Block> {
        these.iter().filter(|block| !those.contains(block)).map(|block| (*block).clone()).collect()
    };
    only(&old, &new).into_iter().for_each(|block| cancel_or_push(come, gone, block));
    only(&new, &old).into_iter().for_each(|block| cancel_or_push(gone, come, block));
}

fn cancel_or_push(others: &mut Vec<Block>, blocks: &mut Vec<Block>, block: Block) {
    match others.iter().position(|other| *other == block) {
        Some(at) => drop(others.remove(at)),
        None => blocks.push(block),
    }
}
