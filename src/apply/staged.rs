//! What has to stand before anything leads to it.
//!
//! A packet reads the rules of all chains it comes to as of the generation in which it entered the base chain (`nft_do_chain`), but looks maps
//! up in the current one. A verdict that is looked up in the moment of a commit may so lead it to a chain of the same commit, of which it sees
//! the rules before: none. It would pass by untouched. So new chains are filled first, in a commit of their own.

use super::transaction::{Op, Transaction};
use crate::compile::ruleset::Name;

/// The chains that elements of this transaction may lead to and that are not there yet, with the sets they need; and the rest. `None` where
/// it can be had in one commit.
pub fn staged(transaction: &Transaction) -> Option<(Transaction, Transaction)> {
    if !transaction.families.iter().any(|(_, ops)| is_to_be_split(ops)) {
        return None;
    }
    let (mut before, mut rest) = (Transaction::default(), Transaction::default());
    for family in transaction.touched() {
        let ops = transaction.families.get(family);
        let parts = if is_to_be_split(ops) { split(ops) } else { (Vec::new(), ops.clone()) };
        (*before.families.get_mut(family), *rest.families.get_mut(family)) = parts;
    }
    Some((before, rest))
}

/// A table that is made anew has no packets under way, and a set that is has none either: they are with the old one, and that leads to old chains.
fn is_to_be_split(ops: &[Op]) -> bool {
    let any = |is: fn(&Op) -> bool| ops.iter().any(is);
    let is_made_anew = any(|op| matches!(op, Op::AddTable | Op::DeleteTable | Op::DeleteSet(..)));
    !is_made_anew && any(|op| new_chain(op).is_some()) && any(|op| matches!(op, Op::AddElements(..)))
}

/// The chain it makes, if elements can lead to it: to those with a hook they cannot.
fn new_chain(op: &Op) -> Option<&Name> {
    match op {
        Op::AddChain(name, None) => Some(name),
        _ => None,
    }
}

fn split(ops: &[Op]) -> (Vec<Op>, Vec<Op>) {
    let new: Vec<&Name> = ops.iter().filter_map(new_chain).collect();
    let (mut before, mut rest) = (Vec::new(), Vec::new());
    for op in ops {
        match op {
            // Where the rest is refused the chain stands, and is filled once more with the next try.
            Op::AddChain(name, None) => before.extend([op.clone(), Op::FlushChain(name.clone())]),
            Op::AddSet(..) => before.push(op.clone()),
            Op::AddRule(name, _) if new.contains(&name) => before.push(op.clone()),
            _ => rest.push(op.clone()),
        }
    }
    (before, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::elements::Elements;
    use crate::compile::ruleset::{DataType, SetDef};
    use crate::compile::stmt::Rule;
    use crate::model::{Family, PerFamily};

    fn def() -> SetDef {
        SetDef { key: Vec::new(), data: DataType::Verdict, interval: false, size: None, learned: None, counted: false }
    }

    fn rule(chain: &str) -> Op {
        Op::AddRule(chain.into(), Rule::default())
    }

    fn joining() -> Op {
        Op::AddElements("services".into(), def(), Elements::default())
    }

    fn only(ops: Vec<Op>) -> Transaction {
        Transaction { families: PerFamily { v4: ops, v6: Vec::new() } }
    }

    #[test]
    fn new_chains_are_filled_before_elements_lead_to_them() {
        let new = Op::AddChain("KUBE-NEW".into(), None);
        let (set, gone) = (Op::AddSet("more".into(), def()), Op::DeleteChain("KUBE-GONE".into()));
        let old = Op::FlushChain("KUBE-OLD".into());
        let all = [&old, &set, &new, &rule("KUBE-NEW"), &rule("KUBE-OLD"), &joining(), &gone];
        let (before, rest) = staged(&only(all.into_iter().cloned().collect())).expect("two parts");
        assert_eq!(before, only(vec![set, new, Op::FlushChain("KUBE-NEW".into()), rule("KUBE-NEW")]));
        assert_eq!(rest, only(vec![old, rule("KUBE-OLD"), joining(), gone]));
    }

    #[test]
    fn what_no_packet_can_meet_half_done_is_one_commit() {
        let chain = || Op::AddChain("KUBE-NEW".into(), None);
        for ops in [
            vec![joining()],
            vec![chain(), rule("KUBE-NEW")],
            vec![Op::AddTable, chain(), joining()],
            vec![Op::DeleteSet("services".into(), def()), chain(), joining()],
        ] {
            assert_eq!(staged(&only(ops.clone())), None, "{ops:?}");
        }
    }

    #[test]
    fn a_family_without_new_chains_waits_for_the_other() {
        let v4 = vec![Op::AddChain("KUBE-NEW".into(), None), joining()];
        let both = Transaction { families: PerFamily { v4, v6: vec![joining()] } };
        let (before, rest) = staged(&both).expect("two parts");
        assert_eq!(before.touched().collect::<Vec<_>>(), [Family::V4]);
        assert_eq!(rest.families, PerFamily { v4: vec![joining()], v6: vec![joining()] }, "together, as before");
    }
}
