//! Every kind of frontend, policy and sender: the kernel's answer against the walker's.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ferroproxy::compile::walk::{Environment, Fate, Outcome, Packet};
use ferroproxy::model::{Config, LocalDetector, PerFamily, Protocol, SourceConfig};
use ferroproxy::source::manifests;
use ferroproxy::state::State;

use crate::support::lab::{AT_ONCE, NODE, OUTSIDE, PATIENCE, Place, Refusal, pod};
use crate::support::scene::{CLUSTER_CIDR, NODE_NAME, Scene, service};
use crate::walking::{Rules, forwarded, of_node};

/// Pods 0 to 2 serve; pod 3 only asks.
pub(crate) const PODS: usize = 4;
/// Who asks: pod 0 is an endpoint itself.
const SENDERS: [Place; 4] = [Place::Pod(0), Place::Pod(3), Place::Node, Place::Outside];
/// How often what is delivered is asked for.
const TIMES: usize = 6;

/// A Service with every kind of frontend.
fn everything(n: u8, policy: &str) -> String {
    let more = format!(
        "type: LoadBalancer\nexternalIPs: [203.0.113.{n}, '2001:db8:1::{n}']\ninternalTrafficPolicy: {policy}\nexternalTrafficPolicy: {policy}\n\
         ports: [{{name: t, port: 80, protocol: TCP, nodePort: 3008{n}}}, {{name: u, port: 80, protocol: UDP, nodePort: 3008{n}}}]\n"
    );
    service(n, &more)
        + &format!("status: {{loadBalancer: {{ingress: [{{ip: 198.51.100.{n}}}, {{ip: '2001:db8:2::{n}'}}]}}}}\n")
}

/// Slices of it; the node of each pod as the API tells it.
fn endpoints(n: u8, pods: &[(usize, &str)]) -> String {
    let slice = |family: usize| {
        let endpoint =
            |(index, node): &(usize, &str)| format!("{{addresses: ['{}'], nodeName: {node}}}", pod(*index)[family]);
        let endpoints: Vec<String> = pods.iter().map(endpoint).collect();
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-{n}-v{v}, namespace: default, labels: {{kubernetes.io/service-name: web-{n}}}}}\n\
             addressType: IPv{v}\nports: [{{name: t, port: 8080, protocol: TCP}}, {{name: u, port: 8080, protocol: UDP}}]\nendpoints: [{all}]\n",
            v = [4, 6][family],
            all = endpoints.join(", ")
        )
    };
    format!("{}---\n{}", slice(0), slice(1))
}

/// Every frontend of service `n`, in both families.
fn fronts(n: u8) -> Vec<SocketAddr> {
    let [v4, v6] = NODE;
    let texts = [
        format!("10.96.0.{n}:80"),
        format!("[fd00:10:96::{n}]:80"),
        format!("203.0.113.{n}:80"),
        format!("[2001:db8:1::{n}]:80"),
        format!("198.51.100.{n}:80"),
        format!("[2001:db8:2::{n}]:80"),
        format!("{v4}:3008{n}"),
        format!("[{v6}]:3008{n}"),
    ];
    texts.iter().map(|text| text.parse().expect("an address and port")).collect()
}

fn address(place: Place, to: SocketAddr) -> IpAddr {
    let family = usize::from(to.is_ipv6());
    match place {
        Place::Pod(index) => pod(index)[family],
        Place::Node => NODE[family],
        Place::Outside => OUTSIDE[family],
    }
}

fn packet(from: Place, to: SocketAddr, protocol: Protocol) -> Packet {
    let source = address(from, to);
    match from {
        Place::Node => of_node(source, to.ip(), protocol.number(), to.port()),
        _ => forwarded(source, to.ip(), protocol.number(), to.port(), "any"),
    }
}

/// The same objects and configuration, compiled here.
fn rules(scene: &Scene) -> Rules {
    let mut nets = CLUSTER_CIDR.split(',').map(|net| net.parse().ok());
    let detector = LocalDetector::ClusterCidr(PerFamily { v4: nets.next().flatten(), v6: nets.next().flatten() });
    let config = Config { detector, ..Config::new(SourceConfig::Manifests(scene.dir.path().into()), NODE_NAME) };
    let mut state = State::new();
    let events = manifests::load(scene.dir.path(), NODE_NAME).expect("manifests");
    events.into_iter().for_each(|event| state.apply(event));
    Rules::of(&config, state.snapshot())
}

/// What the kernel does that the walker does not allow; `None` when they agree.
fn disagreement(
    scene: &Scene,
    from: Place,
    to: SocketAddr,
    protocol: Protocol,
    walked: &BTreeSet<Outcome>,
) -> Option<String> {
    let ask = |patience| match protocol {
        Protocol::Udp => scene.lab.udp(from, &to.to_string(), patience),
        _ => scene.lab.tcp(from, &to.to_string(), patience),
    };
    let wanted = walked.first().map(|outcome| outcome.fate);
    let agrees = match wanted {
        Some(Fate::Drop) => ask(AT_ONCE) == Err(Refusal::TimedOut),
        Some(Fate::Reject(_)) => ask(AT_ONCE) == Err(Refusal::Refused),
        _ => (0..TIMES).all(|_| {
            let Ok(answer) = ask(PATIENCE) else { return false };
            walked.iter().any(|outcome| {
                let server = (0..PODS).find(|index| pod(*index).contains(&outcome.destination.ip));
                // The node's own packets have one of its addresses either way.
                let source = from == Place::Node || outcome.masqueraded == (answer.client != address(from, to));
                server.is_some_and(|index| answer.name == format!("pod{index}")) && source
            })
        }),
    };
    (!agrees).then(|| format!("{from:?} -> {to}/{protocol}: the walker says {walked:?}, the kernel {:?}", ask(AT_ONCE)))
}

/// Services under every policy, with endpoints here, elsewhere and nowhere.
pub(crate) fn manifests_of_all() -> [(&'static str, String); 7] {
    let (here, there) = (NODE_NAME, "node-b");
    let all = [(0, here), (1, here), (2, there)];
    [
        ("web-1", everything(1, "Cluster")),
        ("slices-1", endpoints(1, &all)),
        ("web-2", everything(2, "Local")),
        ("slices-2", endpoints(2, &all)),
        ("web-3", everything(3, "Local")),
        ("slices-3", endpoints(3, &[(2, there)])),
        ("web-4", everything(4, "Cluster")),
    ]
}

/// Asks for everything from everywhere, over TCP and UDP.
pub(crate) fn assert_agreement(scene: &Scene) {
    let rules = rules(scene);
    let around = Environment { local_addresses: NODE.into() };
    let mut fates = BTreeSet::new();
    let mut wrong = Vec::new();
    for to in (1..=4).flat_map(fronts) {
        for (from, protocol) in SENDERS.into_iter().flat_map(|from| [(from, Protocol::Tcp), (from, Protocol::Udp)]) {
            let walked = rules.outcomes(&packet(from, to, protocol), &around, 1 << 14);
            fates.extend(walked.iter().map(|outcome| (outcome.fate, outcome.masqueraded)));
            wrong.extend(disagreement(scene, from, to, protocol, &walked));
        }
    }
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(fates.len(), 5, "dropped, reset, unreachable, delivered with and without masquerade: {fates:?}");
}
