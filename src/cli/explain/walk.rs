//! One walk of a packet, in words that both kinds of rules share.

use crate::cli::planned::{Rules, fate};
use crate::compile::iptables::names::SEP;
use crate::compile::layout::{Reach, SetId};
use crate::compile::walk::{Environment, Event, Origin, Packet, Trace, possible_traces};
use crate::model::Protocol;
use crate::peer;
use crate::policy::Pool;

/// What became of a packet, and what of its way tells why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// How it ended.
    pub(super) outcome: peer::Outcome,
    /// Whether its destination was rewritten.
    pub(super) is_dnated: bool,
    /// Whether it was marked for masquerade for another reason than that it goes to where it comes from.
    pub(super) is_marked: bool,
    /// How a frontend may have been hit, the likelier way first; none: it hit no frontend.
    pub(super) hits: Vec<Reach>,
    /// The endpoints it was sent to.
    pub(super) pool: Option<Pool>,
    /// Whether source ranges did not hold its source.
    pub(super) is_turned_away: bool,
    /// What was asked about its destination when no frontend was hit.
    pub(super) miss: Option<Miss>,
    /// What it met, in order.
    pub(super) steps: Vec<String>,
}

/// Whose address it is that was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// A Service's, at another port.
    ClusterIp,
    /// Nobody's, inside the Services' network.
    ServiceCidr,
}

/// One walk for each combination of random draws; the lowest slots come first.
pub(super) fn walks(rules: &Rules, packet: &Packet, around: &Environment) -> anyhow::Result<Vec<Walk>> {
    match rules {
        Rules::Tables(programs) => {
            Ok(possible_traces(programs, packet, around)?.into_iter().map(through_tables).collect())
        }
        Rules::Chains(own) => {
            let Some(packet) = of_peer(packet) else { anyhow::bail!("chains are asked about TCP, UDP and SCTP only") };
            Ok(own.walks(&packet, &around.local_addresses)?.into_iter().map(through_chains).collect())
        }
    }
}

fn through_tables(trace: Trace) -> Walk {
    let in_set = |wanted: SetId, hit| lookups(&trace).any(|(set, there)| there == hit && set == wanted.text());
    let hit = match (in_set(SetId::Services, true), in_set(SetId::NodePorts, true)) {
        (true, _) => Some(Reach::Address),
        (false, true) => Some(Reach::NodePort),
        (false, false) => None,
    };
    let miss = match (in_set(SetId::ClusterIps, true), in_set(SetId::ServiceCidrs, true)) {
        (true, _) => Some(Miss::ClusterIp),
        (false, true) => Some(Miss::ServiceCidr),
        (false, false) => None,
    };
    let any = |is: fn(&Event) -> bool| trace.steps.iter().any(|step| is(&step.event));
    let Trace { destination, masqueraded, .. } = trace;
    Walk {
        outcome: peer::Outcome { fate: fate(trace.fate), destination, masqueraded },
        is_dnated: any(|event| matches!(event, Event::Dnat(_))),
        is_marked: any(|event| matches!(event, Event::Mark(_))),
        hits: hit.into_iter().collect(),
        pool: hit.and_then(|reach| pool_of_tables(&trace, reach)),
        is_turned_away: in_set(SetId::Firewall, false),
        miss,
        steps: trace.steps.iter().map(ToString::to_string).collect(),
    }
}

fn pool_of_tables(trace: &Trace, reach: Reach) -> Option<Pool> {
    let sets = |pool| [SetId::Endpoints(reach, pool), SetId::StickySlots(reach, pool)].map(SetId::text);
    let used = |pool: &Pool| lookups(trace).any(|(set, _)| sets(*pool).contains(&set));
    [Pool::Cluster, Pool::Local].into_iter().find(used)
}

/// The sets a packet was looked up in, and whether it was there.
fn lookups(trace: &Trace) -> impl Iterator<Item = (&str, bool)> {
    trace.steps.iter().filter_map(|step| match &step.event {
        Event::Lookup { set, hit, .. } => Some((set.as_str(), hit.is_some())),
        _ => None,
    })
}

fn through_chains(walk: peer::Walk) -> Walk {
    let peer::Walk { outcome, is_dnated, steps } = walk;
    let entered = |prefix: &str| steps.iter().any(|step| step.chain.starts_with(prefix));
    let marks = |step: &peer::Step| step.rule.ends_with("-j KUBE-MARK-MASQ") && !step.chain.starts_with(SEP);
    let is_hit = steps.iter().any(|step| step.frontend.is_some());
    Walk {
        is_dnated,
        is_marked: steps.iter().any(marks),
        // A rule of a node port may name an address of the node.
        hits: if is_hit { vec![Reach::Address, Reach::NodePort] } else { Vec::new() },
        pool: match (entered("KUBE-SVC-"), entered("KUBE-SVL-")) {
            (true, _) => Some(Pool::Cluster),
            (false, true) => Some(Pool::Local),
            (false, false) => None,
        },
        is_turned_away: outcome.fate == peer::Fate::Dropped && entered("KUBE-PROXY-FIREWALL"),
        // These chains know only frontends.
        miss: None,
        steps: steps.iter().map(ToString::to_string).collect(),
        outcome,
    }
}

fn of_peer(packet: &Packet) -> Option<peer::Packet> {
    Some(peer::Packet {
        source: packet.source,
        destination: packet.destination,
        protocol: Protocol::from_number(packet.protocol)?,
        port: packet.destination_port,
        interface: packet.input_interface.clone(),
        from_node: packet.origin == Origin::FromNode,
    })
}
