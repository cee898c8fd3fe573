//! A transaction as text `nft -f` accepts: the dry run, the failure log and the golden file.

use std::fmt;

use super::transaction::{Op, Transaction};
use crate::compile::print::{definition_items, elements_text, hook_text, rule_text, set_keyword};
use crate::compile::ruleset::{Hook, Name, SetDef, TABLE};
use crate::model::Family;

pub use crate::compile::print::{expr_text, program_text};

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (family, ops) in self.families.iter() {
            for op in ops {
                f.write_str(&op_text(op, family))?;
            }
        }
        Ok(())
    }
}

/// One operation, each line ended by a newline. Empty when there is no element to add or delete: nft refuses an empty block.
pub fn op_text(op: &Op, family: Family) -> String {
    let table = format!("{} {TABLE}", family.nft());
    match op {
        Op::AddTable => format!("add table {table}\n"),
        Op::DeleteTable => format!("delete table {table}\n"),
        Op::AddSet(name, def) => add_set(&table, name, def),
        Op::DeleteSet(name, def) => format!("delete {} {table} {name}\n", set_keyword(def)),
        Op::AddChain(name, hook) => add_chain(&table, name, *hook),
        Op::DeleteChain(name) => format!("delete chain {table} {name}\n"),
        Op::FlushChain(name) => format!("flush chain {table} {name}\n"),
        Op::AddRule(chain, rule) => format!("add rule {table} {chain} {}\n", rule_text(rule, family)),
        Op::DeleteElements(_, _, elements) | Op::AddElements(_, _, elements) if elements.is_empty() => String::new(),
        Op::DeleteElements(name, def, elements) => {
            format!("delete element {table} {name} {{\n{}}}\n", elements_text(def, elements, "\t"))
        }
        Op::AddElements(name, def, elements) => {
            format!("add element {table} {name} {{\n{}}}\n", elements_text(def, elements, "\t"))
        }
    }
}

fn add_set(table: &str, name: &Name, def: &SetDef) -> String {
    format!("add {} {table} {name} {{ {}; }}\n", set_keyword(def), definition_items(def).join("; "))
}

fn add_chain(table: &str, name: &Name, hook: Option<Hook>) -> String {
    match hook {
        Some(hook) => format!("add chain {table} {name} {{ {} }}\n", hook_text(hook)),
        None => format!("add chain {table} {name}\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::compile::bytes::Bytes;
    use crate::compile::elements::Elements;
    use crate::compile::ruleset::{ChainKind, DataType, Element, Field, HookPoint, Value, Verdict};
    use crate::compile::stmt::{Rule, Stmt};
    use crate::model::{PerFamily, Protocol};

    fn services() -> (Name, SetDef, BTreeMap<Bytes, Element>) {
        let key = vec![Field::Daddr(Family::V4), Field::L4Proto, Field::Dport];
        let def =
            SetDef { key, data: DataType::Verdict, interval: false, size: Some(1024), learned: None, counted: false };
        let frontend = Bytes::new().addr([10, 96, 0, 1].into()).proto(Protocol::Tcp).port(80);
        let value = Value::Verdict(Verdict::Goto("KUBE-SVC-3".into()));
        let element = Element { value, comment: Some("default/web:http".into()) };
        ("services".into(), def, [(frontend, element)].into())
    }

    #[test]
    fn a_transaction_prints_its_operations_in_order() {
        let (name, def, elements) = services();
        let hook = Hook { kind: ChainKind::Nat, point: HookPoint::Output, priority: -100 };
        let rule = Rule::new([Stmt::Masquerade]).comment("all of it");
        let v4 = vec![
            Op::AddTable,
            Op::AddSet(name.clone(), def.clone()),
            Op::AddChain("KUBE-SVC-3".into(), None),
            Op::AddChain("output".into(), Some(hook)),
            Op::AddRule("KUBE-SVC-3".into(), rule),
            Op::FlushChain("KUBE-SVC-4".into()),
            Op::DeleteElements(name.clone(), def.clone(), Elements::new()),
            Op::AddElements(name.clone(), def.clone(), elements.into()),
            Op::DeleteChain("KUBE-SVC-4".into()),
            Op::DeleteSet(name, def),
        ];
        let text = Transaction { families: PerFamily { v4, v6: vec![Op::DeleteTable] } }.to_string();
        assert_eq!(
            text,
            "\
add table ip ferroproxy
add map ip ferroproxy services { typeof ip daddr . meta l4proto . th dport : verdict; size 1024; }
add chain ip ferroproxy KUBE-SVC-3
add chain ip ferroproxy output { type nat hook output priority -100; policy accept; }
add rule ip ferroproxy KUBE-SVC-3 masquerade fully-random comment \"all of it\"
flush chain ip ferroproxy KUBE-SVC-4
add element ip ferroproxy services {
	10.96.0.1 . tcp . 80 comment \"default/web:http\" : goto KUBE-SVC-3,
}
delete chain ip ferroproxy KUBE-SVC-4
delete map ip ferroproxy services
delete table ip6 ferroproxy
"
        );
    }
}
