//! Rung 5: elements that lead to chains which did not stand before, while packets look them up. No packet may find such a chain empty.

mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ferroproxy::apply::netlink::Netlink;
use ferroproxy::apply::target::{Outcome, Target};
use ferroproxy::apply::transaction::Op;
use ferroproxy::compile::bytes::Bytes;
use ferroproxy::compile::ruleset::{
    ChainKind, DataType, Element, Field, Hook, HookPoint, Name, SetDef, Value, Verdict,
};
use ferroproxy::compile::stmt::{Is, Rule, Stmt};
use ferroproxy::model::{Family, Protocol};
use support::everything::only;
use support::netns::Netns;

/// So many changes; without the care one in thirty or so lets a packet by.
const CHANGES: usize = 1200;
/// So many lookups come before the one that counts: the longer a packet takes to get there, the more of them are under way in a commit.
const LOOKUPS: usize = 60;
const FRONTEND: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 2), 5555);
const ENDPOINT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 7777);

fn def(data: DataType, key: Vec<Field>) -> SetDef {
    SetDef { key, data, interval: false, size: Some(64), learned: None, counted: false }
}

fn frontends() -> (Name, SetDef) {
    ("frontends".into(), def(DataType::Verdict, vec![Field::L4Proto, Field::Dport]))
}

fn leading_to(chain: &Name) -> Op {
    let (name, def) = frontends();
    Op::AddElements(name, def, elements(chain).into())
}

fn elements(chain: &Name) -> std::collections::BTreeMap<Bytes, Element> {
    let value = Value::Verdict(Verdict::Goto(chain.clone()));
    [(Bytes::new().proto(Protocol::Udp).port(FRONTEND.1), Element { value, comment: None })].into()
}

/// A chain that sends packets to the endpoint.
fn full(chain: &Name) -> [Op; 2] {
    let to = Stmt::Dnat(ENDPOINT.0.into(), ENDPOINT.1);
    let rule = Rule::new([Stmt::L4Proto(Protocol::Udp.number()), to]);
    [Op::AddChain(chain.clone(), None), Op::AddRule(chain.clone(), rule)]
}

fn table(first: &Name) -> Vec<Op> {
    let key = || vec![Field::Saddr(Family::V4), Field::Daddr(Family::V4), Field::Dport];
    let (map, map_def) = frontends();
    let hook = Hook { kind: ChainKind::Nat, point: HookPoint::Output, priority: -100 };
    let mut ops =
        vec![Op::AddTable, Op::AddSet("nothing".into(), def(DataType::None, key())), Op::AddSet(map.clone(), map_def)];
    ops.push(Op::AddChain("output".into(), Some(hook)));
    let lookup = || Rule::new([Stmt::InSet(key(), Is::In, "nothing".into()), Stmt::Verdict(Verdict::Accept)]);
    ops.extend((0..LOOKUPS).map(|_| Op::AddRule("output".into(), lookup())));
    ops.push(Op::AddRule("output".into(), Rule::new([Stmt::Vmap(vec![Field::L4Proto, Field::Dport], map)])));
    ops.extend(full(first));
    ops.push(leading_to(first));
    ops
}

/// One chain takes another's place.
fn change(old: &Name, new: &Name) -> Vec<Op> {
    let (name, def) = frontends();
    let mut ops = vec![Op::FlushChain(old.clone())];
    ops.extend(full(new));
    ops.extend([Op::DeleteElements(name, def, elements(old).into()), leading_to(new), Op::DeleteChain(old.clone())]);
    ops
}

/// Sends from one address after the other, so that each packet begins a flow.
fn send(first: u8, ends: &AtomicBool) {
    for n in 0_u32.. {
        if ends.load(Ordering::Relaxed) {
            return;
        }
        let [_, high, middle, low] = n.to_be_bytes();
        let from = Ipv4Addr::new(127, first + high, middle, low.max(1));
        // Where conntrack is full, some are lost: none of them gets by.
        let _ = UdpSocket::bind((from, 0)).and_then(|socket| socket.send_to(b"x", FRONTEND));
    }
}

#[test]
fn no_packet_passes_a_new_chain_by() {
    if !support::netns::is_possible() {
        return;
    }
    let netns = Netns::new("new-chains");
    assert!(netns.command("ip").args(["link", "set", "lo", "up"]).status().expect("ip runs").success());
    netns.enter(|| {
        let listen = |at: (Ipv4Addr, u16)| UdpSocket::bind(SocketAddr::from(at)).expect("bound");
        let (missed, _served) = (listen(FRONTEND), listen(ENDPOINT));
        let mut netlink = Netlink::open().expect("opened");
        let name = |n: usize| Name::from(format!("c{n}"));
        let ends = AtomicBool::new(false);
        let mut commit = |ops| {
            let receipt = netlink.commit(&only(Family::V4, ops));
            assert_eq!(receipt.families.v4, Outcome::Done);
            receipt.batches
        };
        commit(table(&name(0)));
        thread::scope(|scope| {
            for first in [64, 128] {
                let ends = &ends;
                scope.spawn(move || send(first, ends));
            }
            for n in 0..CHANGES {
                assert_eq!(commit(change(&name(n), &name(n + 1))), 2, "the chain first");
            }
            ends.store(true, Ordering::Relaxed);
        });
        missed.set_nonblocking(true).expect("set");
        let by = std::iter::from_fn(|| missed.recv(&mut [0; 8]).ok()).count();
        assert_eq!(by, 0, "packets that passed the new chain by");
    });
}
