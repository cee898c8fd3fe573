//! Rung 1: the rooms keep to themselves. Reads every `crate::` path and every external crate under `src/` against the table
//! of ARCHITECTURE.md, and finds files that no `mod` line reaches. Test-only code is exempt.

#[path = "support/source_tree.rs"]
mod source_tree;

use std::collections::{BTreeMap, BTreeSet};

use source_tree::{Module, production_modules};

/// Who may name whose words. Nothing else of the house may be named.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("netlink", &["model"]),
    ("source", &["model"]),
    ("state", &["model"]),
    ("policy", &["model", "state"]),
    ("compile", &["model", "policy"]),
    ("apply", &["model", "compile", "netlink"]),
    ("host", &["model", "netlink"]),
    ("observe", &["model"]),
    ("peer", &["model", "netlink"]),
    ("agent", &["model", "source", "state", "policy", "compile", "apply", "host", "observe"]),
    ("cli", &["model", "source", "state", "policy", "compile", "apply", "host", "observe", "peer", "agent"]),
];

/// Crates that only some rooms may use: everyone else goes without.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("kube", &["source", "cli"]),
    ("k8s_openapi", &["source", "cli"]),
    ("http_body_util", &["source"]),
    ("prost", &["source"]),
    ("tokio_util", &["source"]),
    ("netlink_sys", &["apply", "host", "source", "peer"]),
    ("rustix", &["apply", "host", "source", "observe", "peer", "cli"]),
    ("notify", &["source", "cli"]),
    ("tokio", &["source", "observe", "agent", "cli", "host"]),
    ("futures", &["source", "observe", "agent", "cli", "host"]),
    ("axum", &["observe", "cli"]),
    ("prometheus", &["observe"]),
    ("clap", &["cli"]),
];

/// What a pure room does without: clocks, files, sockets, processes, logs.
const PURE: &[&str] = &["model", "netlink", "state", "policy", "compile"];
const IMPURE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::time::SystemTime",
    "std::time::Instant",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "tracing",
];

#[test]
fn rooms_name_only_their_neighbours_words() {
    let table: BTreeMap<_, _> = MAY_NAME.iter().copied().collect();
    let mut broken = Vec::new();
    for module in production_modules() {
        let Some(room) = module.room() else { continue };
        let allowed = table.get(room).unwrap_or_else(|| panic!("{room} is a room the table does not know"));
        let named: BTreeSet<&str> =
            module.paths.iter().filter_map(|path| path.strip_prefix("crate::")).map(head).collect();
        let strangers = named.into_iter().filter(|name| *name != room && !allowed.contains(name));
        broken.extend(strangers.map(|name| format!("{}: names crate::{name}", module.file.display())));
    }
    assert!(broken.is_empty(), "rooms that look where they must not:\n{}", broken.join("\n"));
}

/// Where a room stands on the previous one's output, it takes the type and calls nothing.
const TYPES_ONLY: &[(&str, &str)] = &[("policy", "crate::state"), ("compile", "crate::policy")];

#[test]
fn rooms_call_nothing_of_the_room_before() {
    let mut broken = Vec::new();
    for module in production_modules() {
        let Some((_, before)) = TYPES_ONLY.iter().find(|(room, _)| module.room() == Some(room)) else { continue };
        let called = module.paths.iter().filter(|path| begins_with(path, before) && !names_a_type(path));
        broken.extend(called.map(|path| format!("{}: {path} is no type", module.file.display())));
    }
    assert!(broken.is_empty(), "functions of the room before:\n{}", broken.join("\n"));
}

/// Whether a word of the path is written as types and constants are.
fn names_a_type(path: &str) -> bool {
    path.split("::").any(|word| word.starts_with(char::is_uppercase))
}

#[test]
fn external_crates_stay_in_their_rooms() {
    let mut broken = Vec::new();
    for module in production_modules() {
        let Some(room) = module.room() else { continue };
        for (name, rooms) in ONLY_IN {
            let used = module.paths.iter().any(|path| head(path) == *name);
            if used && !rooms.contains(&room) {
                broken.push(format!("{}: uses {name}, which belongs to {}", module.file.display(), rooms.join(", ")));
            }
        }
    }
    assert!(broken.is_empty(), "crates in the wrong room:\n{}", broken.join("\n"));
}

#[test]
fn pure_rooms_have_no_clock_no_file_and_no_socket() {
    let in_pure_rooms = |module: &Module| module.room().is_some_and(|room| PURE.contains(&room));
    let mut broken = Vec::new();
    for module in production_modules().into_iter().filter(in_pure_rooms) {
        let impure = IMPURE.iter().filter(|bad| module.paths.iter().any(|path| begins_with(path, bad)));
        broken.extend(impure.map(|bad| format!("{}: uses {bad}", module.file.display())));
    }
    assert!(broken.is_empty(), "pure rooms that are not:\n{}", broken.join("\n"));
}

#[test]
fn every_file_is_reached_by_a_mod_line() {
    let unreached = source_tree::unreached_files();
    assert!(unreached.is_empty(), "files that no `mod` line reaches: {unreached:?}");
}

#[test]
fn the_reader_sees_what_it_must() {
    let paths = source_tree::paths_of(
        "use crate::{model::Family, state as memory};\nuse kube::{Api, core};\n// crate::cli::x\nlet s = \"crate::cli\";\n\
         fn f(x: crate::apply::Live) { tokio::spawn(y) }\n#[cfg(test)]\nmod tests { use crate::agent::Engine; }\n\
         #[cfg(test)]\nuse crate::host;\nuse crate::policy::{\n    Pool, Route,\n};\nlet life: &'a str = '\\'';\n",
    );
    let expected = [
        "crate::apply::Live",
        "crate::model::Family",
        "crate::policy::Pool",
        "crate::policy::Route",
        "crate::state",
        "kube::Api",
        "kube::core",
        "tokio::spawn",
    ];
    assert_eq!(paths.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

/// The first word of a path.
fn head(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

/// Whether `path` is `prefix` or something in it.
fn begins_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
