//! Every form ferroproxy prints is loaded by the real nft, in a network namespace of its own, and listed again.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use ferroproxy::apply::transaction::{Op, Transaction};
use ferroproxy::compile::bytes::Bytes;
use ferroproxy::compile::print;
use ferroproxy::compile::ruleset::{
    Chain, ChainKind, DataType, Element, Field, Hook, HookPoint, Name, Ruleset, Set, SetDef, Table, Value, Verdict,
};
use ferroproxy::compile::stmt::{Is, Rule, Stmt};
use ferroproxy::model::{Family, PerFamily, Protocol};

#[test]
fn nft_loads_and_lists_every_form() {
    if !can_run_nft() {
        return;
    }
    let printed = print::ruleset(&everything());
    let listing = load_and_list(&printed);
    assert_eq!(load_and_list(&listing), listing, "what nft lists of it reloads unchanged");
    for family in Family::ALL {
        let table = everything_in(family);
        assert!(listing.contains(&format!("table {} ferroproxy", family.nft())));
        for name in table.sets.keys().chain(table.chains.keys()) {
            assert!(listing.contains(&format!(" {name} {{")), "{name} is missing in\n{listing}");
        }
        let elements: usize = table.sets.values().map(|set| set.elements.len()).sum();
        assert_eq!(count_elements(&listing, family), elements, "{listing}");
    }
}

#[test]
fn a_transaction_prints_what_the_ruleset_prints() {
    if !can_run_nft() {
        return;
    }
    let ruleset = everything();
    let build = Transaction { families: PerFamily::from_fn(|f| building(ruleset.get(f).as_ref().unwrap())) };
    assert_eq!(load_and_list(&build.to_string()), load_and_list(&print::ruleset(&ruleset)));
}

#[test]
fn a_transaction_can_take_everything_away_again() {
    if !can_run_nft() {
        return;
    }
    let ruleset = everything();
    let ops = |f: Family| {
        let table = ruleset.get(f).as_ref().unwrap();
        let mut ops = building(table);
        ops.extend(dismantling(table));
        ops
    };
    let text = Transaction { families: PerFamily::from_fn(ops) }.to_string();
    assert_eq!(load_and_list(&text), "table ip ferroproxy {\n}\ntable ip6 ferroproxy {\n}\n");
    let text = format!("{text}{}", Transaction { families: PerFamily::from_fn(|_| vec![Op::DeleteTable]) });
    assert_eq!(load_and_list(&text), "");
}

/// Whether nft and a network namespace are there. Where they must be (`CI` is set), their absence is a failure.
fn can_run_nft() -> bool {
    let answer = Command::new("unshare").args(["-n", "nft", "list", "ruleset"]).output();
    let trouble = match answer {
        Ok(out) if out.status.success() => return true,
        Ok(out) => String::from_utf8_lossy(&out.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    assert!(std::env::var_os("CI").is_none(), "CI is set, but `unshare -n nft` does not run: {trouble}");
    // Not eprintln!: the test harness would swallow it.
    let _ = writeln!(std::io::stderr(), "SKIPPED, NOTHING CHECKED: this test needs root, unshare and nft: {trouble}");
    false
}

/// Loads text in a fresh network namespace and gives what nft lists then.
fn load_and_list(text: &str) -> String {
    let mut child = Command::new("unshare")
        .args(["-n", "sh", "-c", "nft -f - && nft list ruleset"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let numbered: String = text.lines().enumerate().map(|(n, line)| format!("{:4} {line}\n", n + 1)).collect();
    assert!(out.status.success(), "{}\n{numbered}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Counts the elements of one family's sets in a listing.
fn count_elements(listing: &str, family: Family) -> usize {
    let start = listing.find(&format!("table {} ferroproxy", family.nft())).unwrap();
    let table = &listing[start..];
    let table = &table[..table.find("\n}\n").unwrap()];
    let blocks = table.split("elements = {").skip(1).map(|rest| &rest[..rest.find('}').unwrap()]);
    blocks.map(|block| block.split(',').count()).sum()
}

fn building(table: &Table) -> Vec<Op> {
    let mut ops = vec![Op::AddTable];
    ops.extend(table.sets.iter().map(|(name, set)| Op::AddSet(name.clone(), set.def.clone())));
    ops.extend(table.chains.iter().map(|(name, chain)| Op::AddChain(name.clone(), chain.hook)));
    for (name, chain) in &table.chains {
        ops.extend(chain.rules.iter().map(|rule| Op::AddRule(name.clone(), rule.clone())));
    }
    let fill = |(name, set): (&Name, &Set)| Op::AddElements(name.clone(), set.def.clone(), set.elements.clone());
    ops.extend(table.sets.iter().map(fill));
    ops
}

fn dismantling(table: &Table) -> Vec<Op> {
    let empty = |(name, set): (&Name, &Set)| Op::DeleteElements(name.clone(), set.def.clone(), set.elements.clone());
    let mut ops: Vec<Op> = table.sets.iter().map(empty).collect();
    ops.extend(table.chains.keys().map(|name| Op::FlushChain(name.clone())));
    ops.extend(table.chains.keys().map(|name| Op::DeleteChain(name.clone())));
    ops.extend(table.sets.iter().map(|(name, set)| Op::DeleteSet(name.clone(), set.def.clone())));
    ops
}

fn everything() -> Ruleset {
    PerFamily::from_fn(|family| Some(everything_in(family)))
}

fn everything_in(family: Family) -> Table {
    Table { sets: sets(family), chains: chains(family) }
}

/// Fields and values of one family.
struct Words {
    frontend: Vec<Field>,
    pick: Vec<Field>,
    target: Vec<Field>,
    saddr: Field,
    a: Bytes,
    b: Bytes,
}

fn words(family: Family) -> Words {
    let frontend = vec![Field::Daddr(family), Field::L4Proto, Field::Dport];
    let pick = [&frontend[..], &[Field::Random(16)]].concat();
    let addr = |v4: &str, v6: &str| Bytes::new().addr(if family == Family::V4 { v4 } else { v6 }.parse().unwrap());
    Words {
        frontend,
        pick,
        target: vec![Field::Daddr(family), Field::Dport],
        saddr: Field::Saddr(family),
        a: addr("10.96.0.0", "fd00:96::"),
        b: addr("10.96.255.255", "fd00:96::ffff:ffff"),
    }
}

fn set(key: &[Field], data: DataType, elements: Vec<(Bytes, Value)>) -> Set {
    let comment = |n: usize| (n == 0).then(|| "default/\"web\":\nhttp".into());
    let elements =
        elements.into_iter().enumerate().map(|(n, (key, value))| (key, Element { value, comment: comment(n) }));
    let def = SetDef { key: key.to_vec(), data, interval: false, size: Some(64), learned: None, counted: false };
    Set { def, elements: elements.collect() }
}

fn interval(key: &[Field], elements: Vec<(Bytes, Value)>) -> Set {
    let mut set = set(key, DataType::None, elements);
    set.def.interval = true;
    set
}

fn sets(family: Family) -> BTreeMap<Name, Set> {
    let mut all = maps(family);
    let Words { frontend, saddr, a, b, .. } = words(family);
    let whole = |port| a.clone().proto(Protocol::Tcp).port(port);
    let end = |port| Value::Until(b.clone().proto(Protocol::Tcp).port(port));
    let pair = |x: &Bytes, y: &Bytes| Bytes::from_wire(&[x.as_slice(), y.as_slice()].concat()).unwrap();
    let present = |key: &Bytes| (key.clone(), Value::Present);
    let hairpin = pair(&a, &pair(&a, &Bytes::new().proto(Protocol::Sctp).port(443)));
    let hairpin_key = [&[saddr], &frontend[..]].concat();
    let last = Bytes::from_wire(&vec![255; family.addr_len()]).unwrap();
    let first = Bytes::from_wire(&vec![0; family.addr_len()]).unwrap();
    let marks = vec![
        present(&Bytes::new().number(3).number(0x10).port(9)),
        present(&Bytes::new().number(300).number(1).port(9)),
    ];
    all.extend([
        ("cluster-ips".into(), set(&[frontend[0]], DataType::None, vec![present(&a), present(&b)])),
        ("hairpin".into(), set(&hairpin_key, DataType::None, vec![present(&hairpin)])),
        ("protocols".into(), set(&[Field::L4Proto], DataType::None, [6, 132, 33].map(|n| present(&raw(n))).into())),
        ("marks".into(), set(&[Field::Random(512), Field::Mark, Field::Sport], DataType::None, marks)),
        ("empty".into(), set(&frontend, DataType::None, vec![])),
        ("cidrs".into(), interval(&[frontend[0]], vec![(a.clone(), Value::Until(b.clone()))])),
        ("everyone".into(), interval(&[saddr], vec![(first, Value::Until(last))])),
        ("ports".into(), interval(&[Field::Dport], vec![(Bytes::new().port(80), Value::Until(Bytes::new().port(90)))])),
        ("kinds".into(), interval(&[Field::L4Proto], vec![(raw(6), Value::Until(raw(17)))])),
        ("ranges".into(), interval(&frontend, vec![(whole(80), end(80)), (whole(90), end(99))])),
        ("pairs".into(), interval(&[saddr, frontend[0]], vec![(pair(&a, &b), Value::Until(pair(&b, &b)))])),
    ]);
    all
}

/// A protocol of any number.
fn raw(number: u8) -> Bytes {
    Bytes::from_wire(&[number, 0, 0, 0]).unwrap()
}

fn maps(family: Family) -> BTreeMap<Name, Set> {
    let Words { frontend, pick, target, saddr, a, b } = words(family);
    let key = |port| a.clone().proto(Protocol::Tcp).port(port);
    let verdicts = [
        Verdict::Goto("KUBE-SVC-3".into()),
        Verdict::Jump("KUBE-SVC-3".into()),
        Verdict::Drop,
        Verdict::Accept,
        Verdict::Return,
    ];
    let services = (80..).zip(verdicts).map(|(port, verdict)| (key(port), Value::Verdict(verdict)));
    let nodeport = |port: u16| Bytes::new().proto(Protocol::Udp).port(port);
    let slots = [0, 9, 256].map(|slot| (key(80).number(slot), Value::Data(b.clone().port(8080))));
    let data = DataType::Fields(target);
    let node_slots = vec![(nodeport(30080).number(1), Value::Data(b.clone().port(8080)))];
    let mut affinity = set(&[saddr, Field::L4Proto, Field::Mark], data.clone(), vec![]);
    affinity.def.learned = Some(10_800_500);
    let mut connections = set(&frontend, DataType::None, vec![(key(80), Value::Present)]);
    connections.def.counted = true;
    let mark = (key(80), Value::Data(Bytes::new().number(0x4000)));
    BTreeMap::from([
        ("services".into(), set(&frontend, DataType::Verdict, services.collect())),
        (
            "nodeports".into(),
            set(&frontend[1..], DataType::Verdict, vec![(nodeport(30080), Value::Verdict(Verdict::Drop))]),
        ),
        ("endpoints".into(), set(&pick, data.clone(), slots.into())),
        ("nodeport-endpoints".into(), set(&pick[1..], data.clone(), node_slots)),
        ("singles".into(), set(&frontend, data, vec![(key(80), Value::Data(b.port(8080)))])),
        ("service-ids".into(), set(&frontend, DataType::Fields(vec![Field::Mark]), vec![mark])),
        ("affinity".into(), affinity),
        ("connections".into(), connections),
    ])
}

fn chains(family: Family) -> BTreeMap<Name, Chain> {
    use {ChainKind::*, HookPoint::*};
    let base = |kind, point, priority, rules| Chain { hook: Some(Hook { kind, point, priority }), rules };
    let plain = |rules| Chain { hook: None, rules };
    BTreeMap::from([
        ("KUBE-SVC-3".into(), plain(picks(family))),
        ("KUBE-MATCHES".into(), plain(matches(family))),
        ("KUBE-ENDS".into(), plain(endings())),
        ("KUBE-EMPTY".into(), plain(vec![])),
        ("pre".into(), base(Nat, Prerouting, -100, vec![])),
        ("late-out".into(), base(Nat, Output, -90, vec![])),
        ("out".into(), base(Nat, Output, -100, vec![])),
        ("post".into(), base(Nat, Postrouting, 100, vec![])),
        ("in-nat".into(), base(Nat, Input, 100, vec![])),
        ("forwarded".into(), base(Filter, Forward, 0, vec![])),
        (
            "incoming".into(),
            base(Filter, Input, -1, vec![Rule::new([Stmt::Verdict(Verdict::Goto("KUBE-EMPTY".into()))])]),
        ),
    ])
}

fn picks(family: Family) -> Vec<Rule> {
    let Words { frontend, mut pick, .. } = words(family);
    pick[3] = Field::Random(3);
    let fixed = match family {
        Family::V4 => "10.1.1.2",
        Family::V6 => "fd00:1::2",
    };
    let fixed = Stmt::Dnat(fixed.parse().unwrap(), 8080);
    vec![
        Rule::new([Stmt::DnatMap(pick.clone(), "endpoints".into())]).comment("one of three"),
        Rule::new([Stmt::L4Proto(6), Stmt::DnatMap(pick[1..].to_vec(), "nodeport-endpoints".into())]),
        Rule::new([Stmt::DnatMap(frontend, "singles".into())]),
        Rule::new([Stmt::L4Proto(17), fixed]),
        Rule::new([Stmt::MarkHas(0x4000), Stmt::MarkToggle(0x4000), Stmt::Masquerade]),
    ]
}

fn matches(family: Family) -> Vec<Rule> {
    let Words { frontend, saddr, .. } = words(family);
    let nets = match family {
        Family::V4 => ["10.244.0.7/16", "10.0.0.1/32", "0.0.0.0/0"],
        Family::V6 => ["fd00:244::7/64", "fd00::1/128", "::/0"],
    };
    let interface = |name: &str, prefix, is| Stmt::InputInterface { name: name.into(), prefix, is };
    let mut rules = vec![
        Rule::new([Stmt::InSet(frontend.clone(), Is::In, "ranges".into())]),
        Rule::new([Stmt::InSet(frontend.clone(), Is::NotIn, "empty".into())]),
        Rule::new([Stmt::InSet(vec![saddr], Is::In, "everyone".into()), Stmt::SourceIsLocal]),
        Rule::new([Stmt::InSet([&[saddr], &frontend[..]].concat(), Is::In, "hairpin".into()), Stmt::WasDnated]),
        Rule::new([Stmt::InSet(vec![Field::Random(16), Field::Mark, Field::Sport], Is::In, "marks".into())]),
        Rule::new([Stmt::InSet(vec![Field::L4Proto], Is::NotIn, "protocols".into())]),
        Rule::new([Stmt::DestinationIsLocal(Is::NotIn)]),
        Rule::new([Stmt::DestinationIsLocal(Is::In), Stmt::Vmap(frontend[1..].to_vec(), "nodeports".into())]),
        Rule::new([Stmt::Vmap(frontend.clone(), "services".into())]),
    ];
    for is in [Is::In, Is::NotIn] {
        rules.extend(nets.map(|net| Rule::new([Stmt::Net(saddr, is, net.parse().unwrap())])));
        rules.push(Rule::new([Stmt::Net(frontend[0], is, nets[0].parse().unwrap())]));
        rules.push(Rule::new([
            interface("veth", true, is),
            interface("cni0", false, is),
            interface("odd*", false, is),
        ]));
    }
    rules
}

fn endings() -> Vec<Rule> {
    let verdicts = [
        Verdict::Accept,
        Verdict::Drop,
        Verdict::Return,
        Verdict::Jump("KUBE-EMPTY".into()),
        Verdict::Goto("KUBE-EMPTY".into()),
    ];
    let mut rules: Vec<Rule> = [6, 17, 132, 1, 58].map(|n| Rule::new([Stmt::L4Proto(n), Stmt::MarkSet(0x4000)])).into();
    rules.push(Rule::new([Stmt::L4Proto(6), Stmt::RejectTcpReset]));
    rules.push(Rule::new([Stmt::RejectPortUnreachable]).comment("refused: no \"endpoint\""));
    rules.extend(verdicts.map(|verdict| Rule::new([Stmt::Verdict(verdict)])));
    rules
}
