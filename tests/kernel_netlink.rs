//! The netlink target against the real kernel, each test in a network namespace of its own.

mod support;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use ferroproxy::apply::netlink::{FamilySupport, Netlink};
use ferroproxy::apply::rebuild;
use ferroproxy::apply::target::{CommitError, LiveSet, Outcome, Receipt, Remedy, Target};
use ferroproxy::apply::transaction::{Op, Transaction};
use ferroproxy::compile::bytes::Bytes;
use ferroproxy::compile::lower::lower;
use ferroproxy::compile::ruleset::{Chain, ChainKind, Element, Hook, HookPoint, Set, Table, Value, Verdict};
use ferroproxy::compile::stmt::{Rule, Stmt};
use ferroproxy::model::{Family, PerFamily, Protocol};
use support::everything::{both, endpoint, endpoints_def, expected, frontend, full, ip, make, only, table};
use support::netns::{self, Netns};

fn v4(ops: Vec<Op>) -> Transaction {
    only(Family::V4, ops)
}

/// Runs a test in a new namespace with an open target; does nothing where that is not possible.
fn in_kernel(what: &str, test: impl FnOnce(&Netns, &mut Netlink) + Send) {
    if !netns::is_possible() {
        return;
    }
    let netns = Netns::new(what);
    netns.enter(|| test(&netns, &mut Netlink::open().expect("open nf_tables")));
}

/// Compares piece by piece, so that a failure names the piece.
fn assert_live(netlink: &mut Netlink, family: Family, table: &Table) {
    let live = netlink.read_back().expect("read back");
    let live = live.get(family).as_ref().expect("the table is there");
    let expected = expected(table, family);
    for (name, set) in &expected.sets {
        assert_eq!(live.sets.get(name), Some(set), "{family}: set {name}");
    }
    for (name, chain) in &expected.chains {
        let found = live.chains.get(name).unwrap_or_else(|| panic!("{family}: no chain {name}"));
        assert_eq!(found.hook, chain.hook, "{family}: hook of {name}");
        for (at, rule) in chain.rules.iter().enumerate() {
            assert_eq!(found.rules.get(at), Some(rule), "{family}: rule {at} of {name}");
        }
    }
    assert_eq!(*live, expected, "{family}: nothing else is there");
}

#[track_caller]
fn assert_done(receipt: &Receipt) {
    for (family, outcome) in receipt.families.iter() {
        assert_eq!(*outcome, Outcome::Done, "{family}");
    }
}

#[track_caller]
fn error(receipt: &Receipt, family: Family) -> &CommitError {
    match receipt.families.get(family) {
        Outcome::Failed(error) => error,
        Outcome::Done => panic!("{family}: no error"),
    }
}

#[test]
fn every_kind_of_object_is_read_back_as_committed() {
    in_kernel("back", |_, netlink| {
        let receipt = netlink.commit(&both(|family| make(&table(family))));
        assert_done(&receipt);
        assert!(receipt.bytes > 1000);
        Family::ALL.into_iter().for_each(|family| assert_live(netlink, family, &table(family)));
    });
}

/// Lines of `nft list ruleset` of [`table`] in both families.
const PRINTED: [&str; 28] = [
    "typeof ip6 daddr . meta l4proto . th dport . numgen random mod 16 : ip6 daddr . th dport",
    "typeof meta l4proto . th dport : verdict",
    "typeof ip saddr . meta l4proto . meta mark : ip daddr . th dport",
    "flags dynamic,timeout",
    "timeout 3h",
    "10.96.0.1 . tcp . 80 comment \"default/web:http\" : goto KUBE-SVC-a/b",
    "10.96.0.1 . tcp . 80 . 3 comment \"default/web-3:http\" : 10.1.0.3 . 8080",
    "10.96.0.0/24 comment \"the service CIDR\"",
    "10.96.0.1 . tcp . 80 . 10.7.0.0/24 comment \"a source range\"",
    "udp . 30000 : jump MARK",
    "sctp . 30000 . 3 comment \"default/web-3:http\" : fd00:1::3 . 8080",
    "type nat hook postrouting priority srcnat; policy accept;",
    "type filter hook forward priority filter; policy accept;",
    "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 10 map @endpoints",
    "dnat ip6 to meta l4proto . th dport . numgen random mod 4 map @nodeport-endpoints",
    "meta l4proto udp dnat to 10.1.0.1:53",
    "meta l4proto udp dnat to [fd00:1::1]:53",
    "ip6 saddr . ip6 daddr @hairpin",
    "ip daddr != @active jump MARK",
    "fib daddr type local meta l4proto . th dport vmap @nodeports",
    "fib saddr type local",
    "iifname \"cni0\" jump MARK",
    "iifname != \"veth*\" return",
    "ip saddr 0.0.0.0/0",
    "ip6 daddr != fd00::/31 return",
    "ct status dnat meta mark & 0x00004000 != 0x00000000 meta mark set meta mark ^ 0x00004000 masquerade fully-random",
    "meta mark set meta mark | 0x00004000",
    "accept comment \"a rule's comment\"",
];

#[test]
fn nft_prints_all_of_it_and_what_it_prints_reloads_equal() {
    in_kernel("list", |netns, netlink| {
        assert_done(&netlink.commit(&both(|family| make(&table(family)))));
        let text = netns.nft_list();
        for line in PRINTED {
            assert!(text.contains(line), "nft does not print {line:?}:\n{text}");
        }
        assert_eq!(text.matches("\t\treject\n").count(), 2, "port unreachable is each family's default reject");
        let second = Netns::new("reload");
        second.nft_load(&text);
        assert_eq!(second.nft_list(), text);
        second.enter(|| {
            let mut netlink = Netlink::open().expect("open nf_tables");
            Family::ALL.into_iter().for_each(|family| assert_live(&mut netlink, family, &table(family)));
        });
    });
}

#[test]
fn an_endpoint_is_replaced_in_its_slot() {
    in_kernel("replace", |_, netlink| {
        let mut table = table(Family::V4);
        assert_done(&netlink.commit(&v4(make(&table))));
        let (def, key) = (endpoints_def(Family::V4, 100), frontend(Family::V4, 1).number(3));
        let one = |n| BTreeMap::from([(key.clone(), endpoint(Family::V4, n))]);
        let replace = v4(vec![
            Op::DeleteElements("endpoints".into(), def.clone(), one(3).into()),
            Op::AddElements("endpoints".into(), def, one(77).into()),
        ]);
        assert_done(&netlink.commit(&replace));
        table.sets.get_mut("endpoints").unwrap().elements.extend(one(77));
        assert_live(netlink, Family::V4, &table);
    });
}

#[test]
fn ranges_are_replaced_and_may_touch() {
    in_kernel("ranges", |_, netlink| {
        let mut tables = PerFamily::from_fn(table);
        assert_done(&netlink.commit(&both(|family| make(tables.get(family)))));
        let change = both(|family| {
            let start = |net, n| Bytes::new().addr(ip(family, net, n));
            let until = |end| Element { value: Value::Until(end), comment: Some("another".into()) };
            let sources = |n| frontend(family, 1).addr(ip(family, 7, n));
            let cidrs = [(start(96, 0), until(start(96, 0x1ff))), (start(96, 0x200), until(start(96, 0x2ff)))];
            let ranges = [(sources(0), until(sources(0x1ff))), (sources(0x200), until(sources(0x2ff)))];
            let mut ops = Vec::new();
            for (name, new) in [("service-cidrs", cidrs), ("ranges", ranges)] {
                let set = tables.get_mut(family).sets.get_mut(name).unwrap();
                let old = BTreeMap::from_iter(set.elements.pop_first());
                let new = BTreeMap::from(new);
                set.elements.extend(new.clone());
                ops.push(Op::DeleteElements(name.into(), set.def.clone(), old.into()));
                ops.push(Op::AddElements(name.into(), set.def.clone(), new.into()));
            }
            ops
        });
        assert_done(&netlink.commit(&change));
        Family::ALL.into_iter().for_each(|family| assert_live(netlink, family, tables.get(family)));
    });
}

#[test]
fn elements_of_every_set_can_be_removed() {
    in_kernel("remove", |_, netlink| {
        let tables = PerFamily::from_fn(table);
        assert_done(&netlink.commit(&both(|family| make(tables.get(family)))));
        let filled = |family| tables.get(family).sets.iter().filter(|(_, set)| !set.elements.is_empty());
        let remove = both(|family| {
            filled(family).map(|(n, s)| Op::DeleteElements(n.clone(), s.def.clone(), s.elements.clone())).collect()
        });
        assert_done(&netlink.commit(&remove));
        for family in Family::ALL {
            let mut empty = table(family);
            empty.sets.values_mut().for_each(|set| set.elements.clear());
            assert_live(netlink, family, &empty);
        }
    });
}

#[test]
fn a_full_map_takes_a_replacement_and_refuses_one_too_many() {
    in_kernel("full", |_, netlink| {
        let table = full(Family::V4, 4);
        assert_done(&netlink.commit(&v4(make(&table))));
        let def = endpoints_def(Family::V4, 4);
        let slot = |n: u32| BTreeMap::from([(frontend(Family::V4, 1).number(n), endpoint(Family::V4, n as u16))]);
        let add = |n| Op::AddElements("endpoints".into(), def.clone(), slot(n).into());
        let delete = |n| Op::DeleteElements("endpoints".into(), def.clone(), slot(n).into());
        assert_done(&netlink.commit(&v4(vec![delete(0), add(10)])));
        let receipt = netlink.commit(&v4(vec![add(11)]));
        let error = error(&receipt, Family::V4);
        assert_eq!((error.remedy, error.errno), (Remedy::Rebuild, Some(23)));
        assert_eq!(error.element, Some(("endpoints".into(), frontend(Family::V4, 1).number(11))));
        assert!(error.message.contains("ip: adding an element to map endpoints: ENFILE"), "{error}");
    });
}

#[test]
fn a_refused_family_costs_only_itself() {
    in_kernel("alone", |_, netlink| {
        let refused = vec![Op::AddTable, Op::AddRule("nowhere".into(), Rule::new([Stmt::Masquerade]).comment("lost"))];
        let tx = Transaction { families: PerFamily { v4: make(&table(Family::V4)), v6: refused } };
        let receipt = netlink.commit(&tx);
        assert_eq!(receipt.families.v4, Outcome::Done);
        let error = error(&receipt, Family::V6);
        assert_eq!((error.remedy, error.errno), (Remedy::Resync, Some(2)));
        assert!(error.message.contains("ip6: adding the rule \"lost\" to chain nowhere"), "{error}");
        assert_live(netlink, Family::V4, &table(Family::V4));
        assert_eq!(netlink.read_back().expect("read back").v6, None);
    });
}

#[test]
fn what_is_not_there_is_to_be_read_back() {
    in_kernel("absent", |_, netlink| {
        assert_done(&netlink.commit(&v4(make(&full(Family::V4, 4)))));
        let gone = BTreeMap::from([(frontend(Family::V4, 9).number(0), endpoint(Family::V4, 0))]);
        let delete = Op::DeleteElements("endpoints".into(), endpoints_def(Family::V4, 4), gone.into());
        let receipt = netlink.commit(&v4(vec![delete]));
        let error = error(&receipt, Family::V4);
        assert_eq!((error.remedy, error.errno), (Remedy::Resync, Some(2)));
        assert_eq!(error.element, Some(("endpoints".into(), frontend(Family::V4, 9).number(0))));
    });
}

#[test]
fn a_check_changes_nothing_and_finds_what_a_commit_would() {
    in_kernel("check", |_, netlink| {
        let before = netlink.generation().expect("generation");
        assert_done(&netlink.check(&both(|family| make(&table(family)))));
        let receipt = netlink.check(&v4(vec![Op::AddTable, Op::FlushChain("nowhere".into())]));
        assert!(error(&receipt, Family::V4).message.contains("emptying chain nowhere"));
        assert_eq!(netlink.generation().expect("generation"), before);
        assert_eq!(netlink.read_back().expect("read back"), PerFamily { v4: None, v6: None });
    });
}

#[test]
fn a_commit_at_an_old_generation_is_to_be_retried() {
    in_kernel("generation", |_, netlink| {
        let old = netlink.generation().expect("generation");
        assert_done(&netlink.commit_at(&v4(vec![Op::AddTable]), Some(old)));
        let receipt = netlink.commit_at(&v4(vec![Op::DeleteTable]), Some(old));
        assert_eq!(error(&receipt, Family::V4).remedy, Remedy::Retry);
        let now = netlink.generation().expect("generation");
        assert_ne!(now, old);
        assert_done(&netlink.commit_at(&v4(vec![Op::DeleteTable]), Some(now)));
    });
}

#[test]
fn this_kernel_lacks_nothing() {
    in_kernel("probe", |_, netlink| {
        let before = netlink.generation().expect("generation");
        let probe = netlink.probe().expect("probe");
        assert_eq!(probe.families, PerFamily { v4: FamilySupport::Full, v6: FamilySupport::Full });
        assert_eq!(netlink.generation().expect("generation"), before, "a probe changes nothing");
    });
}

#[test]
fn a_feature_that_is_refused_is_named_in_its_family() {
    in_kernel("lacks", |netns, netlink| {
        netns.nft_load("table ip ferroproxy { set probe-sized { type mark; }; set probe-ranges { type mark; }; }");
        let probe = netlink.probe().expect("probe");
        let refused = ["maps of concatenations with a size", "interval sets"];
        assert_eq!(probe.families.v4, FamilySupport::Lacks(refused.into()));
        assert_eq!(probe.families.v6, FamilySupport::Full);
        assert!(probe.families.v4.to_string().contains("interval sets"), "{}", probe.families.v4);
    });
}

#[test]
fn without_the_capability_the_error_says_so() {
    in_kernel("nocap", |_, _| {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        let mut sets = capabilities(None).expect("capabilities");
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).expect("drop CAP_NET_ADMIN in this thread");
        let error = Netlink::open().expect_err("nf_tables needs CAP_NET_ADMIN");
        assert_eq!(error.remedy, Remedy::GiveUp);
        assert!(error.message.contains("CAP_NET_ADMIN"), "{error}");
    });
}

#[test]
fn a_transaction_longer_than_a_limited_send_buffer_says_what_it_needs() {
    const INSIDE: &str = "FERROPROXY_TEST_IN_USER_NAMESPACE";
    if std::env::var_os(INSIDE).is_none() {
        if netns::is_possible() {
            // In a user namespace of its own a process may raise its send buffer only as far as any process.
            let itself = std::env::current_exe().expect("this test's program");
            let name = "a_transaction_longer_than_a_limited_send_buffer_says_what_it_needs";
            let mut command = Command::new("unshare");
            let printed =
                netns::run(command.arg("-Urn").arg(itself).args(["--exact", name, "--nocapture"]).env(INSIDE, "1"));
            assert!(printed.contains("1 passed"), "{printed}");
        }
        return;
    }
    let mut netlink = Netlink::open().expect("open nf_tables");
    assert_done(&netlink.commit(&both(|family| make(&table(family)))));
    // A process may ask for wmem_max and gets twice that; an element takes more than 50 bytes.
    let wmem_max = std::fs::read_to_string("/proc/sys/net/core/wmem_max").expect("wmem_max");
    let too_many = wmem_max.trim().parse::<u32>().expect("wmem_max") / 25;
    let many = (0..too_many).map(|n| (frontend(Family::V4, 1).number(n), endpoint(Family::V4, 1))).collect();
    let receipt = netlink.check(&v4(vec![Op::AddElements("endpoints".into(), endpoints_def(Family::V4, 100), many)]));
    let error = error(&receipt, Family::V4);
    assert_eq!((error.remedy, error.errno), (Remedy::GiveUp, Some(90)));
    assert!(error.message.contains("net.core.wmem_max"), "{error}");
    assert_live(&mut netlink, Family::V4, &table(Family::V4));
}

#[test]
fn what_rules_have_learned_is_not_read_back() {
    in_kernel("learned", |_, netlink| {
        let mut learned = table(Family::V6);
        let client = Bytes::new().addr(ip(Family::V6, 5, 5)).proto(Protocol::Tcp).number(0x10_0000);
        learned.sets.get_mut("affinity").unwrap().elements.insert(client, endpoint(Family::V6, 5));
        assert_done(&netlink.commit(&only(Family::V6, make(&learned))));
        assert_live(netlink, Family::V6, &table(Family::V6));
    });
}

#[test]
fn emptied_chains_can_be_removed() {
    in_kernel("unchain", |_, netlink| {
        let mut table = table(Family::V4);
        assert_done(&netlink.commit(&v4(make(&table))));
        let services = table.sets.get_mut("services").unwrap();
        let gone = services.elements.pop_first().into_iter().collect();
        let mut ops = vec![Op::DeleteElements("services".into(), services.def.clone(), gone)];
        for name in ["KUBE-SVC-a/b", "postrouting"] {
            ops.extend([Op::FlushChain(name.into()), Op::DeleteChain(name.into())]);
            table.chains.remove(name);
        }
        assert_done(&netlink.commit(&v4(ops)));
        assert_live(netlink, Family::V4, &table);
    });
}

#[test]
fn a_chain_that_is_used_is_not_removed() {
    in_kernel("busy", |_, netlink| {
        assert_done(&netlink.commit(&v4(make(&table(Family::V4)))));
        let receipt = netlink.commit(&v4(vec![Op::FlushChain("MARK".into()), Op::DeleteChain("MARK".into())]));
        let error = error(&receipt, Family::V4);
        assert_eq!((error.remedy, error.errno), (Remedy::Resync, Some(16)));
        assert!(error.message.contains("ip: removing chain MARK"), "{error}");
        assert_live(netlink, Family::V4, &table(Family::V4));
    });
}

#[test]
fn reading_back_is_whole_while_others_change_the_ruleset() {
    in_kernel("torn", |netns, netlink| {
        let table = full(Family::V4, 2_000);
        assert_done(&netlink.commit(&v4(make(&table))));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let stop = &stop;
            let other = || {
                let mut other = Netlink::open().expect("open nf_tables");
                let change = only(Family::V6, vec![Op::AddTable, Op::DeleteTable]);
                while !stop.load(Ordering::Relaxed) {
                    assert_done(&other.commit(&change));
                }
            };
            let changing = scope.spawn(move || netns.enter(other));
            let whole = expected(&table, Family::V4);
            let read: Vec<_> = (0..30).map(|_| netlink.read_back()).collect();
            stop.store(true, Ordering::Relaxed);
            changing.join().expect("the other agent");
            for live in read {
                match live {
                    Ok(live) => assert!(live.v4.as_ref() == Some(&whole), "a torn table was read"),
                    Err(error) => assert_eq!(error.remedy, Remedy::Retry, "{error}"),
                }
            }
        });
    });
}

#[test]
fn a_hundred_thousand_elements_are_one_transaction() {
    in_kernel("many", |_, netlink| {
        let services = 0..10_000u16;
        let elements =
            services.flat_map(|s| (0..10).map(move |n| (frontend(Family::V6, s).number(n), endpoint(Family::V6, s))));
        let sets = BTreeMap::from([(
            "endpoints".into(),
            Set { def: endpoints_def(Family::V6, 131_072), elements: elements.collect() },
        )]);
        let table = Table { sets, chains: BTreeMap::new() };
        let before = netlink.generation().expect("generation");
        assert_done(&netlink.commit(&only(Family::V6, make(&table))));
        assert_eq!(netlink.generation().expect("generation"), before.wrapping_add(1));
        let live = netlink.read_back().expect("read back").v6.expect("the table is there");
        assert!(live == expected(&table, Family::V6), "100,000 elements are not read back equal");
    });
}

#[test]
fn a_map_is_made_anew_with_another_size_in_one_transaction() {
    in_kernel("grow", |_, netlink| {
        let mut old = full(Family::V4, 4);
        let pick = Stmt::DnatMap(endpoints_def(Family::V4, 4).key, "endpoints".into());
        let hook = Some(Hook { kind: ChainKind::Nat, point: HookPoint::Prerouting, priority: -100 });
        old.chains.insert("pick".into(), Chain { hook, rules: vec![Rule::new([pick])] });
        assert_done(&netlink.commit(&v4(make(&old))));
        let mut new = Table { sets: full(Family::V4, 16).sets, ..old.clone() };
        new.chains.get_mut("pick").unwrap().hook = hook;
        let mut ops = vec![
            Op::FlushChain("pick".into()),
            Op::DeleteSet("endpoints".into(), endpoints_def(Family::V4, 4)),
            Op::AddSet("endpoints".into(), endpoints_def(Family::V4, 16)),
        ];
        ops.extend(make(&new).into_iter().filter(|op| matches!(op, Op::AddRule(..) | Op::AddElements(..))));
        assert_done(&netlink.commit(&v4(ops)));
        assert_live(netlink, Family::V4, &new);
    });
}

#[test]
fn the_whole_table_is_replaced_in_one_transaction() {
    in_kernel("whole", |_, netlink| {
        assert_done(&netlink.commit(&both(|family| make(&table(family)))));
        let before = netlink.generation().expect("generation");
        let new = PerFamily::from_fn(|family| full(family, 3));
        assert_done(&netlink.commit(&both(|family| [vec![Op::DeleteTable], make(new.get(family))].concat())));
        assert_eq!(netlink.generation().expect("generation"), before.wrapping_add(1));
        Family::ALL.into_iter().for_each(|family| assert_live(netlink, family, new.get(family)));
    });
}

#[test]
fn a_table_is_built_anew_whether_there_is_one_or_not() {
    in_kernel("anew", |_, netlink| {
        for services in [2, 5] {
            let new = PerFamily::from_fn(|family| full(family, services));
            assert_done(&netlink.commit(&both(|family| rebuild(new.get(family)))));
            Family::ALL.into_iter().for_each(|family| assert_live(netlink, family, new.get(family)));
        }
    });
}

#[test]
fn a_foreign_set_and_rule_are_seen_as_foreign() {
    in_kernel("foreign", |netns, netlink| {
        netns.nft_load("table ip ferroproxy { set s { type ipv4_addr; elements = { 1.2.3.4 } }; chain c { ip ttl 5 counter; accept; }; }");
        let live = netlink.read_back().expect("read back").v4.expect("the table is there");
        let unknown = LiveSet { def: None, elements: Default::default() };
        assert_eq!(live.sets, BTreeMap::from([("s".into(), unknown)]));
        let accept = Some(lower(&Rule::new([Stmt::Verdict(Verdict::Accept)]), Family::V4));
        assert_eq!(live.chains.get("c").expect("the chain").rules, [None, accept]);
    });
}

#[test]
fn another_table_is_none_of_ours() {
    in_kernel("others", |netns, netlink| {
        netns.nft_load("table ip other { chain c { accept; }; set s { type ipv4_addr; }; }; table inet ferroproxy { chain c { }; }");
        assert_eq!(netlink.read_back().expect("read back"), PerFamily { v4: None, v6: None });
        assert_done(&netlink.commit(&both(|family| make(&full(family, 3)))));
        Family::ALL.into_iter().for_each(|family| assert_live(netlink, family, &full(family, 3)));
    });
}

#[test]
fn a_namespace_is_removed_when_its_test_panics() {
    if !netns::is_possible() {
        return;
    }
    let netns = Netns::new("panic");
    let path = std::path::PathBuf::from(format!("/run/netns/{}", netns.name()));
    assert!(path.exists());
    let panicking = std::panic::AssertUnwindSafe(move || netns.enter(|| panic!("as a failing test does")));
    std::panic::catch_unwind(panicking).expect_err("the panic goes on outside the namespace");
    assert!(!path.exists());
}
