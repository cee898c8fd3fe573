use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::compile::ruleset::Name;
use crate::model::{EndpointAddr, Family, ObjectName, Protocol, ServicePortName, TrafficPolicy};
use crate::policy::{Pool, PortRoutes, Route};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn endpoint(n: u8) -> EndpointAddr {
    EndpointAddr { ip: IpAddr::from([10, 244, 0, n]), port: 8080 }
}

fn name(n: u8) -> ObjectName {
    ObjectName::new("default", format!("s{n}"))
}

/// A service under the Cluster policy with these endpoints.
fn routes(n: u8, endpoints: &[u8]) -> PortRoutes {
    let internal = if endpoints.is_empty() { Route::Reject } else { Route::Balance(Pool::Cluster) };
    PortRoutes {
        name: ServicePortName { service: name(n), port: "web".into() },
        created: None,
        family: Family::V4,
        protocol: Protocol::Tcp,
        port: 80,
        node_port: None,
        cluster_ip: IpAddr::from([10, 96, 0, n]),
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        internal,
        external: internal,
        external_policy: TrafficPolicy::Cluster,
        cluster: endpoints.iter().map(|n| endpoint(*n)).collect(),
        local: Vec::new(),
        on_node: Vec::new(),
        hints_ignored: None,
        affinity: None,
        source_ranges: Vec::new(),
    }
}

fn contribution(routes: PortRoutes) -> (ObjectName, Contribution) {
    (routes.name.service.clone(), Contribution { routes: vec![routes], health_check: None })
}

fn compiled(all: impl IntoIterator<Item = PortRoutes>) -> IptablesCompiler {
    let mut compiler = IptablesCompiler::new(Settings::default());
    compiler.update(all.into_iter().map(contribution).collect());
    compiler
}

/// Does what `iptables-restore --noflush` would.
fn restore(existing: &mut Existing, tables: &[TableRestore]) {
    for told in tables {
        let table = existing.entry(told.table).or_default();
        for jump in &told.jumps {
            table.entry(jump.from.into()).or_default().insert(0, jump.rule());
        }
        for (chain, edited) in &told.edits {
            let rules = table.get_mut(chain).expect("a chain that stands");
            for rule in &edited.gone {
                let at = rules.iter().position(|there| there == rule).expect("a rule that stands");
                rules.remove(at);
            }
            *rules = [&edited.first[..], rules, &edited.last].concat();
        }
        for (chain, body) in &told.chains {
            let rules = |body: &str| -> Vec<String> {
                body.lines().map(|line| line.splitn(3, ' ').nth(2).unwrap_or_default().to_owned()).collect()
            };
            match body {
                Some(body) => drop(table.insert(chain.clone(), rules(body))),
                // One that is not there is made first.
                None => drop(table.remove(chain.as_str())),
            }
        }
    }
}

fn settled(compiler: &mut IptablesCompiler) {
    Table::ALL.iter().for_each(|table| compiler.committed(Family::V4, *table));
}

fn chains_of(compiler: &IptablesCompiler) -> Vec<(Table, String, bool)> {
    let tables = compiler.restore().families.v4;
    let of = |told: TableRestore| {
        told.chains.into_iter().map(move |(name, body)| (told.table, name.to_string(), body.is_some()))
    };
    tables.into_iter().flat_map(of).collect()
}

#[test]
fn a_changed_endpoint_writes_its_own_chain_and_the_one_that_picks() {
    let mut compiler = compiled([routes(1, &[1, 2]), routes(2, &[1, 2])]);
    settled(&mut compiler);
    compiler.update([contribution(routes(1, &[2, 3]))].into());
    let sep = |n| names::endpoint("default/s1:web", Protocol::Tcp, endpoint(n)).to_string();
    let svc = names::PortNames::of("default/s1:web", Protocol::Tcp).svc.to_string();
    let mut expected = vec![(Table::Nat, sep(1), false), (Table::Nat, sep(3), true), (Table::Nat, svc, true)];
    expected.sort();
    let mut told = chains_of(&compiler);
    told.sort();
    assert_eq!(told, expected);
}

#[test]
fn a_service_that_loses_its_endpoints_is_refused_and_no_longer_sent_on() {
    let mut compiler = compiled([routes(1, &[1])]);
    settled(&mut compiler);
    compiler.update([contribution(routes(1, &[]))].into());
    let text = compiler.restore().to_string();
    let refused = "-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment \"default/s1:web has no endpoints\" \
                   -m tcp --dport 80 -j REJECT --reject-with tcp-reset\n";
    assert!(text.contains(refused), "{text}");
    assert_eq!(text.matches("-X KUBE-").count(), 2, "{text}");
    assert_eq!(text.matches("--dport 80").count(), 1, "{text}");
}

#[test]
fn what_is_in_force_already_is_not_written_and_what_was_removed_is() {
    let mut compiler = compiled([routes(1, &[1, 2])]);
    let mut existing = Existing::new();
    restore(&mut existing, &compiler.render().families.v4);
    compiler.learn(Family::V4, &existing, Measure::Difference);
    assert!(!compiler.is_pending(Family::V4), "{}", compiler.restore());

    existing.get_mut(&Table::Nat).expect("nat").get_mut("PREROUTING").expect("a jump").clear();
    existing.get_mut(&Table::Nat).expect("nat").insert("KUBE-SEP-AAAAAAAAAAAAAAAA".into(), Vec::new());
    existing.get_mut(&Table::Filter).expect("filter").remove("KUBE-FORWARD");
    compiler.learn(Family::V4, &existing, Measure::Difference);
    let told = compiler.restore().families.v4;
    assert_eq!(
        told.iter().map(|told| (told.table, told.chains.len(), told.jumps.len())).collect::<Vec<_>>(),
        [(Table::Filter, 1, 0), (Table::Nat, 1, 1)]
    );
    restore(&mut existing, &told);
    compiler.learn(Family::V4, &existing, Measure::Difference);
    assert!(!compiler.is_pending(Family::V4), "{}", compiler.restore());
}

#[test]
fn a_full_restore_writes_everything_and_removes_what_is_not_wanted() {
    let mut compiler = compiled([routes(1, &[1, 2])]);
    let mut existing = Existing::new();
    restore(&mut existing, &compiler.render().families.v4);
    existing.get_mut(&Table::Nat).expect("nat").insert("KUBE-SVC-AAAAAAAAAAAAAAAA".into(), Vec::new());
    compiler.learn(Family::V4, &existing, Measure::Everything);
    let (full, rendered) = (compiler.restore(), compiler.render());
    let count = |tables: &[TableRestore]| tables.iter().map(|told| told.chains.len()).sum::<usize>();
    assert_eq!(count(&full.families.v4), count(&rendered.families.v4) + 1);
    assert!(full.to_string().contains("-X KUBE-SVC-AAAAAAAAAAAAAAAA\n"));
    assert!(!full.to_string().contains("-I "), "jumps that stand are not put again");
}

/// In which order tables are told of a change.
fn order(compiler: &mut IptablesCompiler, change: impl IntoIterator<Item = PortRoutes>) -> Vec<Table> {
    compiler.update(change.into_iter().map(contribution).collect());
    let order = compiler.restore_family(Family::V4).iter().map(|told| told.table).collect();
    settled(compiler);
    order
}

#[test]
fn a_refusal_comes_first_and_goes_last() {
    let mut compiler = compiled([routes(1, &[1]), routes(2, &[])]);
    compiler.learn(Family::V4, &Existing::new(), Measure::Difference);
    settled(&mut compiler);
    assert_eq!(order(&mut compiler, [routes(1, &[])]), [Table::Filter, Table::Nat], "no endpoint is left");
    assert_eq!(order(&mut compiler, [routes(1, &[1])]), [Table::Nat, Table::Filter], "the first endpoint is there");
    let both = [routes(1, &[]), routes(2, &[1])];
    compiler.update(both.into_iter().map(contribution).collect());
    let told = compiler.restore_family(Family::V4);
    assert_eq!(told.iter().map(|told| told.table).collect::<Vec<_>>(), [Table::Filter, Table::Nat, Table::Filter]);
    let refused = |told: &TableRestore| [1, 2].map(|n| told.to_string().contains(&format!("-d 10.96.0.{n}/32")));
    assert_eq!((refused(&told[0]), refused(&told[2])), ([true, true], [true, false]), "both, until nat is right");
    settled(&mut compiler);
    // Nothing is remembered of what was.
    assert_eq!(order(&mut compiler, [routes(1, &[1])]), [Table::Nat, Table::Filter]);
    // What stands when a process starts counts alike.
    let mut existing = Existing::new();
    restore(&mut existing, &compiled([routes(1, &[])]).render().families.v4);
    let mut next = compiled([routes(1, &[1])]);
    next.learn(Family::V4, &existing, Measure::Difference);
    let told: Vec<Table> = next.restore_family(Family::V4).iter().map(|told| told.table).collect();
    assert_eq!(told, [Table::Nat, Table::Filter]);
}

#[test]
fn in_a_large_cluster_endpoints_have_no_comments() {
    let large = (0..11u8).map(|n| PortRoutes {
        cluster: (0..100u8).map(|m| EndpointAddr { port: u16::from(n) + 1, ..endpoint(m) }).collect(),
        ..routes(n, &[1])
    });
    let mut compiler = compiled(large.clone());
    assert!(!compiler.render().to_string().contains("->"));
    settled(&mut compiler);
    compiler.update([(name(1), Contribution::default())].into());
    assert!(compiler.restore().to_string().contains("\"default/s2:web -> "), "as it shrinks, all are named again");
    let fresh = compiled(large.filter(|routes| routes.name.service != name(1)));
    assert_eq!(fresh.render(), compiler.render());
}

#[test]
fn of_two_services_with_one_address_the_older_has_it_and_the_other_takes_over() {
    let claim = |n: u8, created| PortRoutes {
        external_ips: vec![ip("203.0.113.1")],
        created: Some(jiff::Timestamp::from_second(created).expect("a time")),
        ..routes(n, &[n])
    };
    let mut compiler = IptablesCompiler::new(Settings::default());
    let rejections = compiler.update([contribution(claim(1, 9)), contribution(claim(2, 5))].into());
    assert_eq!(rejections.iter().map(|r| r.object.as_str()).collect::<Vec<_>>(), ["default/s1"]);
    let to_external = |compiler: &IptablesCompiler| {
        let text = compiler.render().to_string();
        text.lines().filter(|line| line.contains("external IP")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(matches!(&to_external(&compiler)[..], [one] if one.contains("default/s2:web")));
    compiler.update([(name(2), Contribution::default())].into());
    assert!(matches!(&to_external(&compiler)[..], [one] if one.contains("default/s1:web")));
}

#[test]
fn the_jumps_that_are_ours_go_with_our_chains() {
    let compiler = compiled([routes(1, &[1, 2])]);
    let mut existing = Existing::new();
    restore(&mut existing, &compiler.render().families.v4);
    existing.get_mut(&Table::Nat).expect("nat").insert("CNI-HOSTPORT".into(), Vec::new());
    let told = removal(&existing);
    let text: String = told.iter().map(ToString::to_string).collect();
    assert_eq!(text.matches("\n-D ").count(), 12, "{text}");
    assert!(!text.contains("CNI") && !text.contains("-A "), "{text}");
    assert!(text.contains("-X KUBE-MARK-MASQ\n") && text.contains("-X KUBE-PROXY-CANARY\n"), "{text}");
}

#[test]
fn no_rule_lets_loopback_in_where_it_is_not_asked_for() {
    let render = |localhost_node_ports| {
        let mut compiler = IptablesCompiler::new(Settings { localhost_node_ports, ..Settings::default() });
        compiler.update([contribution(PortRoutes { node_port: Some(30080), ..routes(1, &[1]) })].into());
        compiler.render().to_string()
    };
    let (open, closed) = (render(true), render(false));
    assert!(open.contains("-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8"), "{open}");
    assert!(!open.contains("! -d 127.0.0.0/8") && open.contains("! -d ::1/128"), "{open}");
    assert!(closed.contains("! -d 127.0.0.0/8") && !closed.contains("KUBE-FIREWALL"), "{closed}");
}

fn some_routes() -> impl Strategy<Value = PortRoutes> {
    let endpoints = proptest::collection::btree_set(1u8..5, 0..4);
    let shape = (proptest::option::of(30_000u16..30_003), any::<[bool; 5]>(), 0u8..3);
    (0u8..4, endpoints, shape).prop_map(
        |(n, endpoints, (node_port, [external, lb, local, sticky, ranged], address))| {
            let endpoints: Vec<u8> = endpoints.into_iter().collect();
            let mut routes = PortRoutes { node_port, affinity: sticky.then_some(60), ..routes(n, &endpoints) };
            let address = IpAddr::from([203, 0, 113, address]);
            routes.external_ips.extend(external.then_some(address));
            routes.load_balancer_ips.extend(lb.then_some(address));
            let range: IpNet = "172.16.0.0/12".parse().expect("a network");
            routes.source_ranges.extend(ranged.then_some(range));
            if local && !endpoints.is_empty() {
                routes.external_policy = TrafficPolicy::Local;
                routes.local = routes.cluster.iter().filter(|e| e.ip != endpoint(1).ip).copied().collect();
                routes.external = if routes.local.is_empty() { Route::Drop } else { Route::Balance(Pool::Local) };
            }
            routes
        },
    )
}

/// The rules of every chain in some order of their own.
fn sorted(existing: &Existing) -> Existing {
    let mut sorted = existing.clone();
    sorted.values_mut().flat_map(BTreeMap::values_mut).for_each(|rules| rules.sort());
    sorted
}

#[test]
fn in_a_long_shared_chain_only_the_lines_of_what_changed_are_told() {
    let mut compiler = compiled((0..100).map(|n| routes(n, &[1])));
    let mut existing = Existing::new();
    restore(&mut existing, &compiler.render().families.v4);
    settled(&mut compiler);
    compiler.update(
        [contribution(PortRoutes { node_port: Some(30_080), ..routes(200, &[1]) }), (name(7), Contribution::default())]
            .into(),
    );
    let nat = &compiler.restore().families.v4[0];
    let text = nat.to_string();
    assert_eq!(text.lines().filter(|line| line.contains(" KUBE-SERVICES ")).count(), 2, "{text}");
    assert!(text.contains("\n-D KUBE-SERVICES -d 10.96.0.7/32 "), "{text}");
    assert!(text.contains("\n-I KUBE-SERVICES -d 10.96.0.200/32 "), "{text}");
    restore(&mut existing, &compiler.restore().families.v4);
    settled(&mut compiler);
    compiler.learn(Family::V4, &existing, Measure::Difference);
    assert!(!compiler.is_pending(Family::V4), "{}", compiler.restore());
    // What must come last is looked for there.
    existing.get_mut(&Table::Nat).expect("nat").get_mut("KUBE-SERVICES").expect("a chain").rotate_left(1);
    compiler.learn(Family::V4, &existing, Measure::Difference);
    assert_eq!(chains_of(&compiler), [(Table::Nat, "KUBE-SERVICES".to_owned(), true)]);
}

#[test]
fn where_much_of_a_shared_chain_changes_it_is_written_whole() {
    let mut compiler = compiled((0..100).map(|n| routes(n, &[1])));
    settled(&mut compiler);
    compiler.update((0..20).map(|n| (name(n), Contribution::default())).collect());
    let nat = &compiler.restore().families.v4[0];
    assert!(nat.edits.is_empty() && nat.chains.contains_key("KUBE-SERVICES"), "{nat}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Step by step comes to the same as all at once; and each step writes no chain that was as it is to be.
    #[test]
    fn what_is_pending_leads_to_what_is_wanted(
        steps in proptest::collection::vec(proptest::collection::vec((some_routes(), any::<bool>()), 1..4), 1..8),
        crowded in any::<bool>(),
        failing in any::<bool>(),
    ) {
        // With many others beside them, shared chains are changed line by line.
        let others = (10..40u8).map(|n| PortRoutes { external_ips: vec![IpAddr::from([198, 51, 100, n])], ..routes(n, &[n]) });
        let without = (100..130u8).map(|n| PortRoutes { node_port: Some(31_000 + u16::from(n)), ..routes(n, &[]) });
        let mut compiler = compiled(others.chain(without).filter(|_| crowded));
        let mut existing = Existing::new();
        restore(&mut existing, &compiler.render().families.v4);
        settled(&mut compiler);
        let mut fails = failing;
        for step in steps {
            let batch: BTreeMap<_, _> = step.into_iter().map(|(routes, stays)| {
                let (name, brought) = contribution(routes);
                (name, if stays { brought } else { Contribution::default() })
            }).collect();
            compiler.update(batch);
            // A restore that failed: the next one makes up for it.
            if std::mem::take(&mut fails) {
                continue;
            }
            fails = failing;
            let told = compiler.restore().families.v4;
            for told in &told {
                let before = existing.get(&told.table).expect("a table");
                for (chain, body) in told.chains.iter().filter(|_| !failing) {
                    let Some(body) = body.as_deref() else {
                        prop_assert!(before.contains_key(chain.as_str()), "{chain} was not there");
                        continue;
                    };
                    let said: Vec<&str> = body.lines().map(|line| line.splitn(3, ' ').nth(2).unwrap_or_default()).collect();
                    let same = before.get(chain.as_str()).is_some_and(|rules| *rules == said);
                    prop_assert!(!same, "{chain} was in force already");
                }
            }
            restore(&mut existing, &told);
            settled(&mut compiler);
            let mut all = Existing::new();
            restore(&mut all, &compiler.render().families.v4);
            prop_assert_eq!(sorted(&existing), sorted(&all));
            compiler.learn(Family::V4, &existing, Measure::Difference);
            prop_assert!(!compiler.is_pending(Family::V4), "{}", compiler.restore());
            for table in Table::ALL {
                let rules: usize = existing[&table].values().map(Vec::len).sum();
                prop_assert_eq!(compiler.rule_count(Family::V4, table), rules);
            }
            let seps = existing[&Table::Nat].keys().filter(|chain: &&Name| chain.as_str().starts_with(names::SEP)).count();
            prop_assert_eq!(compiler.endpoint_count(Family::V4), seps);
        }
    }
}
