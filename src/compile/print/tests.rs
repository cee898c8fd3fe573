use std::collections::BTreeMap;

use super::*;
use crate::compile::bytes::Bytes;
use crate::compile::expr::{CmpOp, Expr, Header, MetaKey, Reg};
use crate::compile::ruleset::{ChainKind, DataType, Element, Field, HookPoint, SetDef, Value, Verdict};
use crate::compile::stmt::{Is, Rule, Stmt};
use crate::model::{PerFamily, Protocol};

const FRONTEND: [Field; 3] = [Field::Daddr(Family::V4), Field::L4Proto, Field::Dport];

fn frontend(port: u16) -> Bytes {
    Bytes::new().addr([10, 96, 0, 1].into()).proto(Protocol::Tcp).port(port)
}

fn def(key: &[Field], data: DataType) -> SetDef {
    SetDef { key: key.to_vec(), data, interval: false, size: Some(1024), learned: None, counted: false }
}

fn element(value: Value, comment: Option<&str>) -> Element {
    Element { value, comment: comment.map(Into::into) }
}

fn endpoints() -> Set {
    let key = [&FRONTEND[..], &[Field::Random(16)]].concat();
    let data = DataType::Fields(vec![Field::Daddr(Family::V4), Field::Dport]);
    let target = |slot: u32| Bytes::new().addr([10, 1, 1, slot as u8].into()).port(8080);
    let elements = [256, 2].map(|slot| (frontend(80).number(slot), element(Value::Data(target(slot)), None)));
    Set { def: def(&key, data), elements: elements.into() }
}

#[test]
fn a_ruleset_reads_like_nft_list_ruleset() {
    let verdict = Value::Verdict(Verdict::Goto("KUBE-SVC-3".into()));
    let services = Set {
        def: def(&FRONTEND, DataType::Verdict),
        elements: [(frontend(80), element(verdict, Some("default/web:http")))].into(),
    };
    let hook = Hook { kind: ChainKind::Nat, point: HookPoint::Prerouting, priority: -100 };
    let entry = Rule::new([Stmt::Vmap(FRONTEND.to_vec(), "services".into())]).comment("frontends");
    let table = Table {
        sets: [("services".into(), services), ("endpoints".into(), endpoints())].into(),
        chains: [("KUBE-SERVICES".into(), Chain { hook: Some(hook), rules: vec![entry] })].into(),
    };
    let text = ruleset(&PerFamily { v4: Some(table), v6: Some(Table::default()) });
    assert_eq!(
        text,
        "\
table ip ferroproxy {
	map endpoints {
		typeof ip daddr . meta l4proto . th dport . numgen random mod 16 : ip daddr . th dport
		size 1024
		elements = {
			10.96.0.1 . tcp . 80 . 2 : 10.1.1.2 . 8080,
			10.96.0.1 . tcp . 80 . 256 : 10.1.1.0 . 8080,
		}
	}

	map services {
		typeof ip daddr . meta l4proto . th dport : verdict
		size 1024
		elements = {
			10.96.0.1 . tcp . 80 comment \"default/web:http\" : goto KUBE-SVC-3,
		}
	}

	chain KUBE-SERVICES {
		type nat hook prerouting priority -100; policy accept;
		ip daddr . meta l4proto . th dport vmap @services comment \"frontends\"
	}
}

table ip6 ferroproxy {
}
"
    );
}

#[test]
fn intervals_print_as_networks_where_they_are_ones() {
    let key = [Field::Saddr(Family::V4), Field::L4Proto, Field::Dport];
    let text = |low: [u8; 4], high: [u8; 4], ports: (u16, u16)| {
        let bytes = |ip: [u8; 4], port| Bytes::new().addr(ip.into()).proto(Protocol::Tcp).port(port);
        key_text(&key, &bytes(low, ports.0), Some(&bytes(high, ports.1)))
    };
    assert_eq!(text([10, 0, 0, 0], [10, 255, 255, 255], (80, 80)), "10.0.0.0/8 . tcp . 80");
    assert_eq!(text([0, 0, 0, 0], [255, 255, 255, 255], (0, 65535)), "0.0.0.0/0 . tcp . 0-65535");
    assert_eq!(text([10, 0, 0, 1], [10, 0, 0, 2], (1, 2)), "10.0.0.1-10.0.0.2 . tcp . 1-2");
    assert_eq!(text([10, 0, 0, 4], [10, 0, 0, 9], (1, 1)), "10.0.0.4-10.0.0.9 . tcp . 1");
    assert_eq!(text([10, 0, 0, 5], [10, 0, 0, 5], (1, 1)), "10.0.0.5 . tcp . 1");
}

#[test]
fn ipv6_networks_have_their_own_lengths() {
    let key = [Field::Saddr(Family::V6)];
    let text = |low: &str, high: &str| {
        let bytes = |ip: &str| Bytes::new().addr(ip.parse().unwrap());
        key_text(&key, &bytes(low), Some(&bytes(high)))
    };
    assert_eq!(text("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "::/0");
    assert_eq!(text("fd00::", "fd00::ffff"), "fd00::/112");
    assert_eq!(text("fd00::1", "fd00::2"), "fd00::1-fd00::2");
}

#[test]
fn a_comment_is_made_safe() {
    assert_eq!(clean_comment("say \"hi\"\nthere"), "say 'hi' there");
    let long = clean_comment(&"é".repeat(100));
    assert_eq!(long, "é".repeat(63), "cut at a character, below 127 bytes");
}

#[test]
fn bytes_that_are_no_key_do_not_panic() {
    assert_eq!(data_text(&FRONTEND, &Bytes::new().port(80)), "0x00500000");
    let set = def(&FRONTEND, DataType::None);
    let elements = BTreeMap::from([(Bytes::new(), element(Value::Until(Bytes::new().number(1)), None))]);
    assert_eq!(elements_text(&set, &elements, ""), "0x,\n");
}

#[test]
fn statements_read_as_nft_writes_them() {
    let net = |text: &str| text.parse().unwrap();
    let rule = Rule::new([
        Stmt::Net(Field::Saddr(Family::V4), Is::NotIn, net("10.244.0.1/16")),
        Stmt::Net(Field::Daddr(Family::V4), Is::In, net("10.0.0.1/32")),
        Stmt::InputInterface { name: "veth".into(), prefix: true, is: Is::In },
        Stmt::InputInterface { name: "odd*".into(), prefix: false, is: Is::NotIn },
        Stmt::MarkHas(0x4000),
        Stmt::MarkSet(0x4000),
        Stmt::Verdict(Verdict::Jump("KUBE-MARK-MASQ".into())),
    ]);
    assert_eq!(
        rule_text(&rule.comment("off-cluster"), Family::V4),
        "ip saddr != 10.244.0.0/16 ip daddr 10.0.0.1 iifname \"veth*\" iifname != \"odd\\*\" meta mark & 0x00004000 != 0 \
         meta mark set meta mark | 0x00004000 jump KUBE-MARK-MASQ comment \"off-cluster\""
    );
    let pick = Stmt::DnatMap(vec![Field::L4Proto, Field::Dport, Field::Random(10)], "nodeport-endpoints".into());
    assert_eq!(
        stmt_text(&pick, Family::V6),
        "dnat ip6 to meta l4proto . th dport . numgen random mod 10 map @nodeport-endpoints"
    );
    assert_eq!(stmt_text(&Stmt::Dnat("fd00::1".parse().unwrap(), 80), Family::V6), "dnat to [fd00::1]:80");
}

#[test]
fn expressions_read_like_nft_debug_netlink() {
    let program = [
        Expr::Payload { header: Header::Network, offset: 16, len: 4, dreg: Reg(0) },
        Expr::Meta { key: MetaKey::L4Proto, dreg: Reg(1) },
        Expr::Cmp { sreg: Reg(1), op: CmpOp::Eq, data: vec![6] },
        Expr::InSet { set: "hairpin".into(), sreg: Reg(0), invert: true },
        Expr::Map { set: "endpoints".into(), sreg: Reg(0), dreg: Reg(4) },
        Expr::Dnat { family: Family::V4, addr: Reg(4), port: Reg(5) },
    ];
    assert_eq!(
        program_text(&program),
        format!(
            "[ payload load 4b @ network header + 16 => reg 1 ] [ meta load l4proto => reg 9 ] [ cmp eq reg 9 0x{:08x} ] \
             [ lookup reg 1 set hairpin inverted ] [ lookup reg 1 set endpoints dreg 2 ] [ nat dnat ip addr_min reg 2 proto_min reg 13 ]",
            u32::from_ne_bytes([6, 0, 0, 0])
        )
    );
}
