//! Tables with one of every kind of object ferroproxy can make, and what the kernel must hold after they were committed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ferroproxy::apply::target::{LiveChain, LiveSet, LiveTable};
use ferroproxy::apply::transaction::{Op, Transaction};
use ferroproxy::compile::bytes::Bytes;
use ferroproxy::compile::lower::lower;
use ferroproxy::compile::ruleset::{
    Chain, ChainKind, DataType, Element, Field, Hook, HookPoint, Set, SetDef, Table, Value, Verdict,
};
use ferroproxy::compile::stmt::{Is, Rule, Stmt};
use ferroproxy::model::{Family, PerFamily, Protocol};

/// The address number `n` in the network `net`.
pub fn ip(family: Family, net: u8, n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    match family {
        Family::V4 => [10, net, high, low].into(),
        Family::V6 => [0xfd00, net.into(), 0, 0, 0, 0, 0, n].into(),
    }
}

/// The key of frontend `n`: TCP port 80 of its address.
pub fn frontend(family: Family, n: u16) -> Bytes {
    Bytes::new().addr(ip(family, 96, n)).proto(Protocol::Tcp).port(80)
}

/// Endpoint `n` with a comment.
pub fn endpoint(family: Family, n: u16) -> Element {
    let value = Value::Data(Bytes::new().addr(ip(family, 1, n)).port(8080));
    Element { value, comment: Some(format!("default/web-{n}:http").into()) }
}

/// `ip daddr . meta l4proto . th dport`.
pub fn frontend_key(family: Family) -> Vec<Field> {
    vec![Field::Daddr(family), Field::L4Proto, Field::Dport]
}

/// The shape of a map of endpoints.
pub fn endpoints_def(family: Family, size: u32) -> SetDef {
    let key = [frontend_key(family), vec![Field::Random(16)]].concat();
    sized(key, endpoint_data(family), size)
}

/// A table of one full map.
pub fn full(family: Family, size: u32) -> Table {
    let elements = (0..size).map(|n| (frontend(family, 1).number(n), endpoint(family, n as u16)));
    let endpoints = Set { def: endpoints_def(family, size), elements: elements.collect() };
    Table { sets: BTreeMap::from([("endpoints".into(), endpoints)]), chains: BTreeMap::new() }
}

/// Every kind of set, map, chain and statement.
pub fn table(family: Family) -> Table {
    let sets =
        plain_sets(family).into_iter().chain(range_sets(family)).chain(verdict_maps(family)).chain(data_maps(family));
    let chains = base_chains(family).into_iter().chain(other_chains(family));
    Table {
        sets: sets
            .map(|(name, def, elements)| (name.into(), Set { def, elements: elements.into_iter().collect() }))
            .collect(),
        chains: chains.map(|(name, chain)| (name.into(), chain)).collect(),
    }
}

/// The operations that make a table: sets, chains, rules, elements.
pub fn make(table: &Table) -> Vec<Op> {
    let mut ops = vec![Op::AddTable];
    ops.extend(table.sets.iter().map(|(name, set)| Op::AddSet(name.clone(), set.def.clone())));
    ops.extend(table.chains.iter().map(|(name, chain)| Op::AddChain(name.clone(), chain.hook)));
    for (name, chain) in &table.chains {
        ops.extend(chain.rules.iter().map(|rule| Op::AddRule(name.clone(), rule.clone())));
    }
    let filled = table.sets.iter().filter(|(_, set)| !set.elements.is_empty());
    ops.extend(filled.map(|(name, set)| Op::AddElements(name.clone(), set.def.clone(), set.elements.clone())));
    ops
}

/// A transaction for both families.
pub fn both(ops: impl FnMut(Family) -> Vec<Op>) -> Transaction {
    Transaction { families: PerFamily::from_fn(ops) }
}

/// A transaction for one family.
pub fn only(family: Family, ops: Vec<Op>) -> Transaction {
    let mut tx = Transaction::default();
    *tx.families.get_mut(family) = ops;
    tx
}

/// What reading back a table must give.
pub fn expected(table: &Table, family: Family) -> LiveTable {
    let set = |set: &Set| LiveSet { def: Some(set.def.clone()), elements: set.elements.clone() };
    let chain = |chain: &Chain| LiveChain {
        hook: chain.hook,
        rules: chain.rules.iter().map(|rule| Some(lower(rule, family))).collect(),
    };
    LiveTable {
        flags: Default::default(),
        sets: table.sets.iter().map(|(name, s)| (name.clone(), set(s))).collect(),
        chains: table.chains.iter().map(|(name, c)| (name.clone(), chain(c))).collect(),
    }
}

type NamedSet = (&'static str, SetDef, Vec<(Bytes, Element)>);

fn unsized_def(key: Vec<Field>, data: DataType) -> SetDef {
    SetDef { key, data, interval: false, size: None, learned: None, counted: false }
}

fn sized(key: Vec<Field>, data: DataType, size: u32) -> SetDef {
    SetDef { size: Some(size), ..unsized_def(key, data) }
}

fn endpoint_data(family: Family) -> DataType {
    DataType::Fields(vec![Field::Daddr(family), Field::Dport])
}

fn plain(value: Value) -> Element {
    Element { value, comment: None }
}

fn commented(value: Value, comment: &str) -> Element {
    Element { value, comment: Some(comment.into()) }
}

fn plain_sets(family: Family) -> Vec<NamedSet> {
    let (saddr, daddr) = (Field::Saddr(family), Field::Daddr(family));
    let one = Bytes::new().addr(ip(family, 1, 1));
    let pair = one.clone().addr(ip(family, 1, 1));
    vec![
        ("active", sized(vec![daddr], DataType::None, 100), vec![(one, commented(Value::Present, "default/web"))]),
        ("hairpin", sized(vec![saddr, daddr], DataType::None, 100), vec![(pair, plain(Value::Present))]),
    ]
}

fn range_sets(family: Family) -> Vec<NamedSet> {
    let last = match family {
        Family::V4 => IpAddr::from([255; 4]),
        Family::V6 => IpAddr::from([0xff; 16]),
    };
    let start = |ip| Bytes::new().addr(ip);
    let until = |end| Value::Until(Bytes::new().addr(end));
    let cidrs = vec![
        (start(ip(family, 96, 0)), commented(until(ip(family, 96, 255)), "the service CIDR")),
        (start(ip(family, 97, 0)), plain(until(ip(family, 97, 0)))),
        (start(last), commented(until(last), "the last address")),
    ];
    let sources = |n| frontend(family, 1).addr(ip(family, 7, n));
    let ranges = vec![(sources(0), commented(Value::Until(sources(255)), "a source range"))];
    let source_key = [frontend_key(family), vec![Field::Saddr(family)]].concat();
    let interval = |key| SetDef { interval: true, ..unsized_def(key, DataType::None) };
    vec![("service-cidrs", interval(vec![Field::Daddr(family)]), cidrs), ("ranges", interval(source_key), ranges)]
}

fn verdict_maps(family: Family) -> Vec<NamedSet> {
    let go = Value::Verdict(Verdict::Goto("KUBE-SVC-a/b".into()));
    let services = vec![
        (frontend(family, 1), commented(go, "default/web:http")),
        (frontend(family, 2), plain(Value::Verdict(Verdict::Drop))),
    ];
    let jump = Value::Verdict(Verdict::Jump("MARK".into()));
    let nodeports = vec![(Bytes::new().proto(Protocol::Udp).port(30_000), plain(jump))];
    vec![
        ("services", sized(frontend_key(family), DataType::Verdict, 100), services),
        ("nodeports", sized(vec![Field::L4Proto, Field::Dport], DataType::Verdict, 100), nodeports),
    ]
}

fn data_maps(family: Family) -> Vec<NamedSet> {
    let slots = (0..10).map(|n| (frontend(family, 1).number(n), endpoint(family, n as u16))).collect();
    let nodeport_key = vec![Field::L4Proto, Field::Dport, Field::Random(16)];
    let nodeport = Bytes::new().proto(Protocol::Sctp).port(30_000).number(3);
    let number = plain(Value::Data(Bytes::new().number(0x12_0000)));
    let by_mark = vec![Field::Saddr(family), Field::L4Proto, Field::Mark];
    let learned = SetDef { learned: Some(10_800_000), ..sized(by_mark, endpoint_data(family), 100) };
    let counted = SetDef { counted: true, ..sized(frontend_key(family), DataType::None, 100) };
    let counting = Element { value: Value::Present, comment: Some("default/web:http".into()) };
    let ports = unsized_def(vec![Field::Dport], DataType::Fields(vec![Field::Sport]));
    let port = (Bytes::new().port(80), plain(Value::Data(Bytes::new().port(81))));
    let numbers = sized(frontend_key(family), DataType::Fields(vec![Field::Mark]), 100);
    vec![
        ("endpoints", endpoints_def(family, 100), slots),
        ("nodeport-endpoints", sized(nodeport_key, endpoint_data(family), 100), vec![(nodeport, endpoint(family, 3))]),
        ("numbers", numbers, vec![(frontend(family, 1), number)]),
        ("ports", ports, vec![port]),
        ("affinity", learned, vec![]),
        ("connections", counted, vec![(frontend(family, 1), counting)]),
    ]
}

fn chain(hook: Option<Hook>, rules: Vec<Vec<Stmt>>) -> Chain {
    Chain { hook, rules: rules.into_iter().map(Rule::new).collect() }
}

fn nat(point: HookPoint, priority: i32) -> Option<Hook> {
    Some(Hook { kind: ChainKind::Nat, point, priority })
}

fn mark() -> Stmt {
    Stmt::Verdict(Verdict::Jump("MARK".into()))
}

fn interface(name: &str, prefix: bool, is: Is) -> Stmt {
    Stmt::InputInterface { name: name.into(), prefix, is }
}

fn base_chains(family: Family) -> Vec<(&'static str, Chain)> {
    let postrouting = vec![Stmt::WasDnated, Stmt::MarkHas(0x4000), Stmt::MarkToggle(0x4000), Stmt::Masquerade];
    let output = vec![interface("cni0", false, Is::In), mark()];
    let forward = Hook { kind: ChainKind::Filter, point: HookPoint::Forward, priority: 0 };
    vec![
        ("prerouting", prerouting(family)),
        ("output", chain(nat(HookPoint::Output, -110), vec![output])),
        ("postrouting", chain(nat(HookPoint::Postrouting, 100), vec![postrouting])),
        ("forward", chain(Some(forward), vec![])),
    ]
}

fn prerouting(family: Family) -> Chain {
    use Stmt::{DestinationIsLocal, InSet, L4Proto, RejectPortUnreachable, RejectTcpReset, Vmap};
    let (saddr, daddr, key) = (Field::Saddr(family), Field::Daddr(family), frontend_key(family));
    let with_source = [key.clone(), vec![saddr]].concat();
    let rules = vec![
        vec![InSet(vec![saddr, daddr], Is::In, "hairpin".into())],
        vec![InSet(vec![daddr], Is::NotIn, "active".into()), mark()],
        vec![InSet(vec![daddr], Is::In, "service-cidrs".into()), Stmt::Verdict(Verdict::Drop)],
        vec![InSet(with_source, Is::In, "ranges".into())],
        vec![Vmap(key.clone(), "services".into())],
        vec![DestinationIsLocal(Is::NotIn)],
        vec![DestinationIsLocal(Is::In), Vmap(key[1..].to_vec(), "nodeports".into())],
        vec![L4Proto(6), RejectTcpReset],
        vec![RejectPortUnreachable],
    ];
    let mut chain = chain(nat(HookPoint::Prerouting, -100), rules);
    chain.rules.push(Rule::new([Stmt::Verdict(Verdict::Accept)]).comment("a rule's comment"));
    chain
}

fn other_chains(family: Family) -> Vec<(&'static str, Chain)> {
    let key = frontend_key(family);
    let pick = Stmt::DnatMap([&key[..], &[Field::Random(10)]].concat(), "endpoints".into());
    let pick_nodeport = Stmt::DnatMap([&key[1..], &[Field::Random(4)]].concat(), "nodeport-endpoints".into());
    let constant = vec![Stmt::L4Proto(17), Stmt::Dnat(ip(family, 1, 1), 53)];
    let marks = vec![
        vec![Stmt::MarkSet(0x4000)],
        vec![Stmt::SourceIsLocal],
        vec![interface("veth", true, Is::NotIn), Stmt::Verdict(Verdict::Return)],
    ];
    vec![
        ("KUBE-SVC-a/b", chain(None, vec![vec![pick], vec![pick_nodeport], constant])),
        ("MARK", chain(None, marks)),
        ("NETS", chain(None, nets(family))),
    ]
}

/// Prefixes of whole bytes, others, none and all.
fn nets(family: Family) -> Vec<Vec<Stmt>> {
    let net = |len| ipnet::IpNet::new_assert(ip(family, 0, 0), len).trunc();
    let lens = [0, 8, 12, 24, 31, 8 * family.addr_len() as u8];
    let source = lens.map(|len| vec![Stmt::Net(Field::Saddr(family), Is::In, net(len))]);
    let destination =
        lens.map(|len| vec![Stmt::Net(Field::Daddr(family), Is::NotIn, net(len)), Stmt::Verdict(Verdict::Return)]);
    source.into_iter().chain(destination).collect()
}
