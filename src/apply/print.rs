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
