//! Chains and their rules, there and back.

use super::attr::{Writer, by_kind, str_of, u32_of};
use super::message::TABLE_ATTR;
use super::{expr, userdata};
use crate::apply::target::LiveChain;
use crate::compile::expr::Expr;
use crate::compile::lower::lower;
use crate::compile::ruleset::{ChainKind, Hook, HookPoint, Name, TABLE};
use crate::compile::stmt::Rule;
use crate::model::Family;

/// `NFTA_CHAIN_NAME`.
pub(super) const NAME: u16 = 3;
/// `NFTA_RULE_CHAIN`.
pub(super) const RULE_CHAIN: u16 = 2;

/// `NFTA_CHAIN_*`.
const HOOK: u16 = 4;
const POLICY: u16 = 5;
const TYPE: u16 = 7;

/// `NFTA_HOOK_*`.
const HOOK_POINT: u16 = 1;
const HOOK_PRIORITY: u16 = 2;

/// `NFTA_RULE_*`.
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;

/// `NF_ACCEPT`.
const POLICY_ACCEPT: u32 = 1;

/// Writes the attributes of a chain.
pub(super) fn encode(w: &mut Writer, name: &Name, hook: Option<Hook>) {
    w.put_str(TABLE_ATTR, TABLE);
    w.put_str(NAME, name.as_str());
    let Some(hook) = hook else { return };
    w.nest(HOOK, |w| {
        w.put_u32(HOOK_POINT, hook.point.number());
        w.put_u32(HOOK_PRIORITY, hook.priority as u32);
    });
    w.put_u32(POLICY, POLICY_ACCEPT);
    w.put_str(TYPE, hook.kind.nft());
}

/// Reads a chain, without rules.
pub(super) fn decode(body: &[u8]) -> Option<(Name, LiveChain)> {
    let chain = by_kind::<8>(body);
    let at = |kind: u16| chain[usize::from(kind)];
    // A base chain with another policy counts as one without a hook: it is made anew.
    let accepts = u32_of(at(POLICY)).is_none_or(|policy| policy == POLICY_ACCEPT);
    let hook = at(HOOK).filter(|_| accepts).and_then(|hook| {
        let [_, point, priority] = by_kind::<3>(hook);
        decode_hook(str_of(at(TYPE))?, u32_of(point)?, u32_of(priority)? as i32)
    });
    Some((str_of(at(NAME))?.into(), LiveChain { hook, rules: Vec::new() }))
}

fn decode_hook(kind: &str, point: u32, priority: i32) -> Option<Hook> {
    use HookPoint::{Forward, Input, Output, Postrouting, Prerouting};
    let kind = [ChainKind::Nat, ChainKind::Filter].into_iter().find(|k| k.nft() == kind)?;
    let point = [Prerouting, Input, Forward, Output, Postrouting].into_iter().find(|p| p.number() == point)?;
    Some(Hook { kind, point, priority })
}

/// Writes the attributes of a rule.
pub(super) fn encode_rule(w: &mut Writer, chain: &Name, rule: &Rule, family: Family) {
    w.put_str(TABLE_ATTR, TABLE);
    w.put_str(RULE_CHAIN, chain.as_str());
    w.nest(RULE_EXPRESSIONS, |w| expr::encode_rule(w, &lower(rule, family), family));
    if let Some(comment) = rule.comment {
        w.put_with(RULE_USERDATA, |out| userdata::comment(out, comment));
    }
}

/// Reads the chain a rule is in and its expressions; `None` for those if one is none that ferroproxy writes.
pub(super) fn decode_rule(body: &[u8], family: Family) -> Option<(&str, Option<Vec<Expr>>)> {
    let rule = by_kind::<8>(body);
    let exprs = rule[usize::from(RULE_EXPRESSIONS)].unwrap_or_default();
    Some((str_of(rule[usize::from(RULE_CHAIN)])?, expr::decode_rule(exprs, family)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_is_read_as_written() {
        for number in 0..5 {
            for (kind, priority) in [(ChainKind::Nat, -100), (ChainKind::Filter, 10)] {
                let hook = decode_hook(kind.nft(), number, priority).unwrap();
                assert_eq!((hook.kind, hook.point.number(), hook.priority), (kind, number, priority));
                let mut w = Writer::default();
                encode(&mut w, &"c".into(), Some(hook));
                assert_eq!(decode(&w.bytes), Some(("c".into(), LiveChain { hook: Some(hook), rules: Vec::new() })));
            }
        }
    }
}
