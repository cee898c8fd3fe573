//! A ruleset as nft text: what `nft list ruleset` would show, and `nft -f` accepts (checked with nft 1.0.6).

mod expr;
mod rule;
mod set;
mod value;

use std::fmt::Write;

pub use expr::{expr_text, program_text};
pub use rule::{rule_text, stmt_text};
pub use set::{definition_items, element_text, elements_text, set_keyword};
pub use value::{clean_comment, data_text, key_text, verdict_text};
pub(crate) use value::{field_words, split_fields};

use super::ruleset::{Chain, Hook, Name, Ruleset, Set, TABLE, Table};
use crate::model::Family;

/// Both tables, IPv4 first; a table that is not there prints nothing. Same input, same bytes.
pub fn ruleset(ruleset: &Ruleset) -> String {
    let tables = ruleset.iter().filter_map(|(family, table)| Some(table_text(table.as_ref()?, family)));
    tables.collect::<Vec<_>>().join("\n")
}

/// One table with its sets, maps and chains, each by name.
pub fn table_text(table: &Table, family: Family) -> String {
    let sets = table.sets.iter().map(|(name, set)| set_text(name, set));
    let chains = table.chains.iter().map(|(name, chain)| chain_text(name, chain, family));
    let blocks: Vec<String> = sets.chain(chains).collect();
    format!("table {} {TABLE} {{\n{}}}\n", family.nft(), blocks.join("\n"))
}

/// `type nat hook prerouting priority -100; policy accept;`
pub fn hook_text(hook: Hook) -> String {
    let Hook { kind, point, priority } = hook;
    format!("type {} hook {} priority {priority}; policy accept;", kind.nft(), point.nft())
}

fn set_text(name: &Name, set: &Set) -> String {
    let mut out = format!("\t{} {name} {{\n", set_keyword(&set.def));
    for item in definition_items(&set.def) {
        line(&mut out, &item);
    }
    if !set.elements.is_empty() {
        let elements = elements_text(&set.def, &set.elements, "\t\t\t");
        line(&mut out, &format!("elements = {{\n{elements}\t\t}}"));
    }
    out.push_str("\t}\n");
    out
}

fn chain_text(name: &Name, chain: &Chain, family: Family) -> String {
    let mut out = format!("\tchain {name} {{\n");
    if let Some(hook) = chain.hook {
        line(&mut out, &hook_text(hook));
    }
    for rule in &chain.rules {
        line(&mut out, &rule_text(rule, family));
    }
    out.push_str("\t}\n");
    out
}

/// Appends an indented line (writing to a `String` cannot fail).
fn line(out: &mut String, text: &str) {
    let _ = writeln!(out, "\t\t{text}");
}

#[cfg(test)]
mod tests;
