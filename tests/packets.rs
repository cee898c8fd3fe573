//! Rung 3: packets walk the compiled rules; no kernel needed.

#[path = "support/oracle.rs"]
#[allow(dead_code)]
mod oracle;
#[path = "support/stage.rs"]
mod stage;
#[path = "support/story.rs"]
#[allow(dead_code)]
mod story;
#[path = "support/walking.rs"]
#[allow(dead_code)]
mod walking;

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use ferroproxy::compile::expr::RejectWith;
use ferroproxy::compile::walk::{Environment, Event, Fate, Packet};
use ferroproxy::model::{Family, Protocol, TrafficPolicy};
use ferroproxy::state::Snapshot;
use oracle::Oracle;
use stage::{Endpoints, From, Kind, Stage};
use story::Story;
use walking::{Rules, around, forwarded, of_node};

/// What becomes of a packet, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meets {
    /// One of all endpoints; the source stays.
    All,
    /// One of all endpoints, masqueraded.
    AllMasqueraded,
    /// One of the endpoints on this node; the source stays.
    Local,
    /// One of the endpoints on this node, masqueraded.
    LocalMasqueraded,
    /// Silence.
    Dropped,
    /// Connection refused.
    Refused,
}

/// Frontends, policy, source, then what is met with endpoints: nowhere, only elsewhere, here and elsewhere.
/// The node's own address is outside the cluster's network, as it mostly is.
type Row = (&'static [Kind], TrafficPolicy, From, [Meets; 3]);

const EXTERNAL: &[Kind] = &[Kind::ExternalIp, Kind::LoadBalancerIp, Kind::NodePort];

#[rustfmt::skip]
const TABLE: &[Row] = {
    use {From::*, Meets::*, TrafficPolicy::{Cluster, Local as L}};
    const INTERNAL: &[Kind] = &[Kind::ClusterIp];
    &[
        (INTERNAL, Cluster, Pod,     [Refused, All,            All]),
        (INTERNAL, Cluster, Node,    [Refused, AllMasqueraded, AllMasqueraded]),
        (INTERNAL, Cluster, Outside, [Refused, AllMasqueraded, AllMasqueraded]),
        (INTERNAL, L,       Pod,     [Refused, Dropped,        Local]),
        (INTERNAL, L,       Node,    [Refused, Dropped,        LocalMasqueraded]),
        (INTERNAL, L,       Outside, [Refused, Dropped,        LocalMasqueraded]),
        (EXTERNAL, Cluster, Pod,     [Refused, AllMasqueraded, AllMasqueraded]),
        (EXTERNAL, Cluster, Node,    [Refused, AllMasqueraded, AllMasqueraded]),
        (EXTERNAL, Cluster, Outside, [Refused, AllMasqueraded, AllMasqueraded]),
        (EXTERNAL, L,       Pod,     [Refused, All,            All]),
        (EXTERNAL, L,       Node,    [Refused, AllMasqueraded, AllMasqueraded]),
        (EXTERNAL, L,       Outside, [Refused, Dropped,        Local]),
    ]
};

#[test]
fn every_frontend_under_every_policy_from_everywhere() {
    let mut wrong = Vec::new();
    let mut walked = 0;
    for (kinds, policy, from, meets) in TABLE {
        for (endpoints, meets) in [Endpoints::None, Endpoints::Elsewhere, Endpoints::Everywhere].into_iter().zip(meets)
        {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                let stage = Stage { policy: *policy, endpoints, protocol, ranges: &[] };
                let rules = Rules::of(&stage.config(), stage.state().snapshot());
                for (kind, family) in kinds.iter().flat_map(|kind| Family::ALL.map(|family| (kind, family))) {
                    let packet = stage.packet(*from, *kind, family);
                    let met = in_words(&stage, family, &rules, &packet);
                    walked += 1;
                    if met != Some(*meets) {
                        wrong.push(format!(
                            "{family} {protocol} {kind:?} {policy:?} {from:?} {endpoints:?}: {met:?} for {meets:?}"
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {walked} packets:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(walked, TABLE.iter().map(|(kinds, ..)| kinds.len()).sum::<usize>() * 3 * 3 * 2);
}

#[test]
fn source_ranges_drop_strangers_to_the_load_balancer_ip_before_anything_else() {
    use {Endpoints::*, Kind::*};
    const PODS: &[&str] = &["10.244.0.0/16", "10.244.0.0/28", "10.244.0.0/16", "fd00:244::/64", "fd00:244::9/128"];
    for (policy, endpoints) in [TrafficPolicy::Cluster, TrafficPolicy::Local]
        .into_iter()
        .flat_map(|policy| [None, Elsewhere, Everywhere].map(|endpoints| (policy, endpoints)))
    {
        let open = staged(policy, endpoints);
        let guarded = Stage { ranges: PODS, ..open };
        let [rules, guarded_rules] = [open, guarded].map(|stage| Rules::of(&stage.config(), stage.state().snapshot()));
        for (kind, from) in [ClusterIp, ExternalIp, LoadBalancerIp, NodePort]
            .into_iter()
            .flat_map(|kind| [From::Pod, From::Node, From::Outside].map(|from| (kind, from)))
        {
            for family in Family::ALL {
                let packet = open.packet(from, kind, family);
                let stranger = matches!((kind, from), (LoadBalancerIp, From::Node | From::Outside));
                let as_open = in_words(&open, family, &rules, &packet);
                let meets = if stranger { Some(Meets::Dropped) } else { as_open };
                assert!(as_open.is_some());
                let met = in_words(&guarded, family, &guarded_rules, &packet);
                assert_eq!(met, meets, "{family} {kind:?} {policy:?} {from:?} {endpoints:?}");
            }
        }
    }
}

/// What the packet meets; `None` when that is nothing the table has a word for.
fn in_words(stage: &Stage, family: Family, rules: &Rules, packet: &Packet) -> Option<Meets> {
    let outcomes = rules.outcomes(packet, &stage::around(), 1 << 14);
    let fates: BTreeSet<Fate> = outcomes.iter().map(|outcome| outcome.fate).collect();
    let reached: Vec<_> = outcomes.iter().map(|outcome| outcome.destination).collect();
    let masqueraded: BTreeSet<bool> = outcomes.iter().map(|outcome| outcome.masqueraded).collect();
    let refusal = match stage.protocol {
        Protocol::Tcp => RejectWith::TcpReset,
        Protocol::Udp | Protocol::Sctp => RejectWith::PortUnreachable,
    };
    let ([fate], [masqueraded]) = (&Vec::from_iter(fates)[..], &Vec::from_iter(masqueraded)[..]) else { return None };
    let (all, local) = (reached == stage.all(family), reached == stage.local(family));
    match (fate, masqueraded) {
        (Fate::Drop, false) => Some(Meets::Dropped),
        (Fate::Reject(with), false) if *with == refusal => Some(Meets::Refused),
        (Fate::Accept, false) if all => Some(Meets::All),
        (Fate::Accept, true) if all => Some(Meets::AllMasqueraded),
        (Fate::Accept, false) if local => Some(Meets::Local),
        (Fate::Accept, true) if local => Some(Meets::LocalMasqueraded),
        _ => None,
    }
}

#[test]
fn every_golden_story_is_true_of_packets() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rules-golden");
    let mut dirs: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    dirs.retain(|path| path.is_dir());
    assert!(dirs.len() > 20, "the stories are gone");
    for dir in dirs {
        let story = Story::read(&dir);
        let (config, objects) = (&story.config, story.state.snapshot());
        let rules = Rules::of(config, objects);
        let around = Environment { local_addresses: node_addresses(objects).into_iter().collect() };
        let oracle = Oracle { config, objects, around: &around };
        for packet in probes(objects) {
            let walked = rules.outcomes(&packet, &around, 1 << config.masquerade_bit);
            assert_eq!(walked, oracle.outcomes(&packet), "{}: {packet:?}", dir.display());
        }
    }
}

fn node_addresses(objects: &Snapshot) -> Vec<IpAddr> {
    objects.node.iter().flat_map(|node| node.internal_ips.iter().chain(&node.external_ips)).copied().collect()
}

/// Packets from everywhere to everything a story names, and to what is beside it.
fn probes(objects: &Snapshot) -> Vec<Packet> {
    let services = || objects.services.values().filter_map(|entry| entry.service.as_ref());
    let endpoints =
        objects.services.values().flat_map(|entry| entry.slices.values()).flat_map(|slice| &slice.endpoints);
    let node = node_addresses(objects);
    let pods: BTreeSet<IpAddr> = endpoints.map(|endpoint| endpoint.address).collect();
    let beside = ["10.96.0.250", "fd00:10:96::fa", "127.0.0.1", "::1", "203.0.113.77", "2001:db8::77"];
    let beside = beside.map(|ip| ip.parse::<IpAddr>().unwrap());
    let addresses = services().flat_map(|s| s.cluster_ips.iter().chain(&s.external_ips).chain(&s.load_balancer_ips));
    let to: BTreeSet<IpAddr> = addresses.chain(&node).chain(&pods).chain(&beside).copied().collect();
    let ports = services().flat_map(|s| s.ports.iter().flat_map(|p| [Some(p.port), p.node_port]));
    let ports: BTreeSet<u16> = ports.flatten().chain([9, 8080]).collect();
    let own = node.iter().map(|ip| (*ip, true));
    let sources: Vec<(IpAddr, bool)> = own.chain(pods.iter().chain(&beside[4..]).map(|ip| (*ip, false))).collect();
    let mut packets = Vec::new();
    for (to, port, protocol) in
        to.iter().flat_map(|to| ports.iter().flat_map(|p| [6, 17, 132, 1].map(|n| (*to, *p, n))))
    {
        let same_family = sources.iter().filter(|(from, _)| Family::of(*from) == Family::of(to));
        packets.extend(same_family.map(|(from, own)| match own {
            true => of_node(*from, to, protocol, port),
            false => forwarded(*from, to, protocol, port, "eth0"),
        }));
    }
    packets
}

fn staged(policy: TrafficPolicy, endpoints: Endpoints) -> Stage {
    Stage { policy, endpoints, protocol: Protocol::Tcp, ranges: &[] }
}

/// A stage with endpoints here and elsewhere, for sentences.
fn everywhere() -> (Stage, Rules) {
    let stage = staged(TrafficPolicy::Cluster, Endpoints::Everywhere);
    let rules = Rules::of(&stage.config(), stage.state().snapshot());
    (stage, rules)
}

#[test]
fn an_endpoint_that_reaches_itself_is_masqueraded_and_only_then() {
    let (stage, rules) = everywhere();
    let me = stage.local(Family::V4)[0];
    let through = Packet { source: me.ip, ..stage.packet(From::Pod, Kind::ClusterIp, Family::V4) };
    for outcome in rules.outcomes(&through, &stage::around(), 1 << 14) {
        assert_eq!(outcome.masqueraded, outcome.destination == me, "{outcome:?}");
    }
    let directly = forwarded(me.ip, me.ip, 6, me.port, "veth0");
    assert!(rules.outcomes(&directly, &stage::around(), 1 << 14).iter().all(|outcome| !outcome.masqueraded));
}

#[test]
fn other_ports_of_a_cluster_ip_are_refused_and_a_ping_too() {
    let (_, rules) = everywhere();
    let fate = |protocol, port| {
        let packet = forwarded("10.244.0.99".parse().unwrap(), stage::cluster_ip(Family::V4), protocol, port, "veth0");
        rules.outcomes(&packet, &stage::around(), 1 << 14).first().unwrap().fate
    };
    assert_eq!(fate(6, 81), Fate::Reject(RejectWith::TcpReset));
    assert_eq!(fate(17, 80), Fate::Reject(RejectWith::PortUnreachable));
    assert_eq!(fate(1, 0), Fate::Reject(RejectWith::PortUnreachable));
}

#[test]
fn a_cluster_ip_that_a_local_cache_binds_is_left_to_it() {
    let (_, rules) = everywhere();
    let bound = around(&["192.168.0.1", &stage::cluster_ip(Family::V4).to_string()]);
    let packet = forwarded("10.244.0.99".parse().unwrap(), stage::cluster_ip(Family::V4), 17, 53, "veth0");
    assert_eq!(rules.outcomes(&packet, &bound, 1 << 14).first().unwrap().fate, Fate::Accept);
}

#[test]
fn a_node_port_is_closed_on_loopback_and_on_other_nodes() {
    let (_, rules) = everywhere();
    for to in ["127.0.0.1", "192.168.0.2"] {
        let packet = of_node("192.168.0.1".parse().unwrap(), to.parse().unwrap(), 6, stage::NODE_PORT);
        let traces = rules.traces(&packet, &stage::around());
        let rewritten = traces.iter().flat_map(|t| &t.steps).any(|step| matches!(step.event, Event::Dnat(_)));
        assert!(traces.len() == 1 && traces[0].fate == Fate::Accept && !rewritten, "{to}");
    }
}
