//! Rules as nft writes them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::value::{comment_suffix, mark_text, priority_text, protocol_text, selector, selectors, verdict_text};
use crate::compile::stmt::{Is, Rule, Stmt};
use crate::model::Family;

/// The statements of a rule from left to right, and its comment.
pub fn rule_text(rule: &Rule, family: Family) -> String {
    let stmts: Vec<String> = rule.stmts.iter().map(|stmt| stmt_text(stmt, family)).collect();
    stmts.join(" ") + &comment_suffix(rule.comment)
}

/// One statement. [`Stmt::Dnat`] and [`Stmt::RejectTcpReset`] are refused by nft unless a [`Stmt::L4Proto`] stands before them.
pub fn stmt_text(stmt: &Stmt, family: Family) -> String {
    match stmt {
        Stmt::Net(field, is, net) => format!("{} {}{}", selector(*field), not(*is), net_text(*net)),
        Stmt::L4Proto(number) => format!("meta l4proto {}", protocol_text(*number)),
        Stmt::InputInterface { name, prefix, is } => format!("iifname {}{}", not(*is), interface_text(name, *prefix)),
        Stmt::SourceIsLocal => "fib saddr type local".into(),
        Stmt::DestinationIsLocal(is) => format!("fib daddr type {}local", not(*is)),
        Stmt::WasDnated => "ct status dnat".into(),
        Stmt::MarkHas(bits) => format!("meta mark & {} != 0", mark_text(*bits)),
        Stmt::InSet(fields, is, set) => format!("{} {}@{set}", selectors(fields), not(*is)),
        Stmt::Vmap(fields, map) => format!("{} vmap @{map}", selectors(fields)),
        Stmt::MarkSet(bits) => format!("meta mark set meta mark | {}", mark_text(*bits)),
        Stmt::MarkToggle(bits) => format!("meta mark set meta mark ^ {}", mark_text(*bits)),
        Stmt::PriorityHas(bits) => format!("meta priority & {0} == {0}", priority_text(*bits)),
        Stmt::PriorityClear => "meta priority set none".into(),
        Stmt::PriorityMap(fields, map) => format!("meta priority set {} map @{map}", selectors(fields)),
        Stmt::Learn { map, key, seconds } => {
            format!("update @{map} {{ {} timeout {seconds}s : meta priority }}", selectors(key))
        }
        Stmt::Forget { map, key } => format!("delete @{map} {{ {} : meta priority }}", selectors(key)),
        Stmt::DnatMap(fields, map) => format!("dnat {} to {} map @{map}", family.nft(), selectors(fields)),
        Stmt::Dnat(IpAddr::V4(ip), port) => format!("dnat to {ip}:{port}"),
        Stmt::Dnat(IpAddr::V6(ip), port) => format!("dnat to [{ip}]:{port}"),
        Stmt::Masquerade => "masquerade fully-random".into(),
        Stmt::RejectTcpReset => "reject with tcp reset".into(),
        Stmt::RejectPortUnreachable => "reject".into(),
        Stmt::Verdict(verdict) => verdict_text(verdict),
    }
}

fn not(is: Is) -> &'static str {
    match is {
        Is::In => "",
        Is::NotIn => "!= ",
    }
}

/// A network without host bits; a single address without its length.
fn net_text(net: IpNet) -> String {
    match net.prefix_len() == net.max_prefix_len() {
        true => net.addr().to_string(),
        false => net.trunc().to_string(),
    }
}

/// A quoted name; a star that is part of the name is escaped. Quotes and control characters cannot be written, nor stand in a name.
fn interface_text(name: &str, prefix: bool) -> String {
    let name: String = name.chars().filter(|c| *c != '"' && !c.is_control()).collect();
    match (prefix, name.strip_suffix('*')) {
        (true, _) => format!("\"{name}*\""),
        (false, Some(start)) => format!("\"{start}\\*\""),
        (false, None) => format!("\"{name}\""),
    }
}
