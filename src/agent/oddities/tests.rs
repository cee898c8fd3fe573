use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::{Family, Protocol, ServicePortName, TrafficPolicy};

/// A port in a family: what its two routes come to, whether anything outside leads to it, and what its hints are worth.
type Port = (bool, bool, bool, bool, Option<u8>);

fn port((v6, internal, external, reachable, hints): &Port) -> PortRoutes {
    let family = if *v6 { Family::V6 } else { Family::V4 };
    let route = |drops: &bool| if *drops { Route::Drop } else { Route::Reject };
    PortRoutes {
        name: ServicePortName { service: ObjectName::new("default", "s"), port: "".into() },
        created: None,
        family,
        protocol: Protocol::Tcp,
        port: 80,
        node_port: reachable.then_some(30080),
        cluster_ip: IpAddr::from([10, 96, 0, 1]),
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        internal: route(internal),
        external: route(external),
        external_policy: TrafficPolicy::Local,
        cluster: Vec::new(),
        local: Vec::new(),
        on_node: Vec::new(),
        hints_ignored: hints.map(|hints| match hints {
            0 => HintsIgnored::Incomplete,
            1 => HintsIgnored::NoZone,
            2 => HintsIgnored::NotForUs,
            _ => HintsIgnored::None,
        }),
        affinity: None,
        source_ranges: Vec::new(),
    }
}

fn ports() -> impl Strategy<Value = Vec<Port>> {
    vec((any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), proptest::option::of(0_u8..4)), 0..4)
}

/// Every count of one family, one by one.
fn counts(odd: Odd) -> [usize; 5] {
    let Odd { no_local, hints } = odd;
    [no_local.internal, no_local.external, hints.incomplete, hints.no_zone, hints.not_for_us]
}

/// The same counts by asking every port of every service.
fn over_all(services: &Routes, family: Family) -> [usize; 5] {
    let ports: Vec<&PortRoutes> = services.values().flatten().filter(|port| port.family == family).collect();
    let how_many = |is_odd: &dyn Fn(&PortRoutes) -> bool| ports.iter().filter(|port| is_odd(port)).count();
    [
        how_many(&|port| port.internal == Route::Drop),
        how_many(&|port| port.external == Route::Drop && port.node_port.is_some()),
        how_many(&|port| port.hints_ignored == Some(HintsIgnored::Incomplete)),
        how_many(&|port| port.hints_ignored == Some(HintsIgnored::NoZone)),
        how_many(&|port| port.hints_ignored == Some(HintsIgnored::NotForUs)),
    ]
}

proptest! {
    /// A service without ports is one that went.
    #[test]
    fn the_running_sum_is_the_sum_over_all_services(
        story in vec(proptest::collection::btree_map(0_u8..5, ports(), 0..4), 0..12)
    ) {
        let (mut oddities, mut services) = (Oddities::default(), Routes::new());
        for change in story {
            let name = |n: u8| ObjectName::new("default", format!("s{n}"));
            let changed: Routes = change.iter().map(|(n, ports)| (name(*n), ports.iter().map(port).collect())).collect();
            oddities.recount(&changed);
            services.extend(changed);
            for family in Family::ALL {
                prop_assert_eq!(counts(*oddities.sum().get(family)), over_all(&services, family));
            }
        }
        let kept = services.values().filter(|ports| count(ports) != PerFamily::default()).count();
        prop_assert_eq!(oddities.services.len(), kept, "only the odd are remembered");
    }
}
