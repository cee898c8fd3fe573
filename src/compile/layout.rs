//! The sets and maps of a table: their names and shapes. Their number does not grow with the cluster.

use super::affinity::{DEFAULT_TIMEOUT_MS, MAX_CLIENTS};
use super::bytes::Bytes;
use super::ruleset::{DataType, Field, Name, SetDef};
use crate::model::{EndpointAddr, Family, Protocol};
use crate::policy::Pool;

/// The least capacity of a sized set, in elements.
const MIN_SIZE: u32 = 1024;

/// nft wants some modulus to name the type of a slot; its value has no effect on the map.
const SLOT_TYPE: Field = Field::Random(16);

/// One of the sets and maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetId {
    /// Frontend -> verdict.
    Services,
    /// Node port -> verdict.
    NodePorts,
    /// Frontend and slot -> endpoint.
    Endpoints(Reach, Pool),
    /// Endpoints on this node, whose traffic to themselves needs a masquerade.
    Hairpin,
    /// Active cluster IPs: their other ports are refused.
    ClusterIps,
    /// The ServiceCIDRs: unallocated addresses are dropped.
    ServiceCidrs,
    /// The addresses node ports answer on, unless that is all of them.
    NodePortIps,
    /// Frontends that only some sources may reach, with the ranges of those sources.
    Firewall,
    /// Frontend and slot -> endpoint number, of service ports with session affinity.
    StickySlots(Reach, Pool),
    /// Frontend and endpoint number -> endpoint, of service ports with session affinity.
    StickyEndpoints(Reach, Pool),
    /// Service port and client -> endpoint number: what rules have learned.
    Affinity,
    /// Frontends whose new connections are counted.
    Counted(Reach),
}

/// How a packet reached a frontend, and so which key its endpoints have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// By an address: cluster IP, external IP, load-balancer IP.
    Address,
    /// By a node port on some address of the node.
    NodePort,
}

impl SetId {
    /// Those every table has. The others are made when they are needed.
    pub const FIXED: [SetId; 11] = [
        SetId::Services,
        SetId::NodePorts,
        SetId::Endpoints(Reach::Address, Pool::Cluster),
        SetId::Endpoints(Reach::Address, Pool::Local),
        SetId::Endpoints(Reach::NodePort, Pool::Cluster),
        SetId::Endpoints(Reach::NodePort, Pool::Local),
        SetId::Hairpin,
        SetId::ClusterIps,
        SetId::ServiceCidrs,
        SetId::NodePortIps,
        SetId::Firewall,
    ];

    /// Those of session affinity.
    const STICKY: [SetId; 9] = [
        SetId::StickySlots(Reach::Address, Pool::Cluster),
        SetId::StickySlots(Reach::Address, Pool::Local),
        SetId::StickySlots(Reach::NodePort, Pool::Cluster),
        SetId::StickySlots(Reach::NodePort, Pool::Local),
        SetId::StickyEndpoints(Reach::Address, Pool::Cluster),
        SetId::StickyEndpoints(Reach::Address, Pool::Local),
        SetId::StickyEndpoints(Reach::NodePort, Pool::Cluster),
        SetId::StickyEndpoints(Reach::NodePort, Pool::Local),
        SetId::Affinity,
    ];

    /// Those that count connections.
    pub const COUNTED: [SetId; 2] = [SetId::Counted(Reach::Address), SetId::Counted(Reach::NodePort)];

    /// All of them.
    pub fn all() -> impl Iterator<Item = SetId> {
        SetId::FIXED.into_iter().chain(SetId::STICKY).chain(SetId::COUNTED)
    }

    /// Of a map of sticky slots: the map its numbers lead to, the one a port without affinity has, and how packets come to it.
    pub fn behind_slots(self) -> Option<(SetId, SetId, Reach)> {
        match self {
            SetId::StickySlots(reach, pool) => {
                Some((SetId::StickyEndpoints(reach, pool), SetId::Endpoints(reach, pool), reach))
            }
            _ => None,
        }
    }

    /// Its name in the table.
    pub fn text(self) -> &'static str {
        match self {
            SetId::Services => "services",
            SetId::NodePorts => "nodeports",
            SetId::Endpoints(Reach::Address, Pool::Cluster) => "endpoints",
            SetId::Endpoints(Reach::Address, Pool::Local) => "local-endpoints",
            SetId::Endpoints(Reach::NodePort, Pool::Cluster) => "nodeport-endpoints",
            SetId::Endpoints(Reach::NodePort, Pool::Local) => "nodeport-local-endpoints",
            SetId::Hairpin => "hairpin",
            SetId::ClusterIps => "cluster-ips",
            SetId::ServiceCidrs => "service-cidrs",
            SetId::NodePortIps => "nodeport-ips",
            SetId::Firewall => "firewall",
            SetId::StickySlots(Reach::Address, Pool::Cluster) => "sticky-slots",
            SetId::StickySlots(Reach::Address, Pool::Local) => "sticky-local-slots",
            SetId::StickySlots(Reach::NodePort, Pool::Cluster) => "sticky-nodeport-slots",
            SetId::StickySlots(Reach::NodePort, Pool::Local) => "sticky-nodeport-local-slots",
            SetId::StickyEndpoints(Reach::Address, Pool::Cluster) => "sticky-endpoints",
            SetId::StickyEndpoints(Reach::Address, Pool::Local) => "sticky-local-endpoints",
            SetId::StickyEndpoints(Reach::NodePort, Pool::Cluster) => "sticky-nodeport-endpoints",
            SetId::StickyEndpoints(Reach::NodePort, Pool::Local) => "sticky-nodeport-local-endpoints",
            SetId::Affinity => "affinity",
            SetId::Counted(Reach::Address) => "connections",
            SetId::Counted(Reach::NodePort) => "nodeport-connections",
        }
    }

    /// Its name in the table, as a [`Name`].
    pub fn name(self) -> Name {
        Name::from(self.text())
    }

    /// Its shape in a family, at the least capacity.
    pub fn def(self, family: Family) -> SetDef {
        let endpoint = || DataType::Fields(vec![Field::Daddr(family), Field::Dport]);
        let number = || DataType::Fields(vec![Field::Priority]);
        let (key, data) = match self {
            SetId::Services => (frontend_fields(family), DataType::Verdict),
            SetId::NodePorts => (vec![Field::L4Proto, Field::Dport], DataType::Verdict),
            SetId::Endpoints(reach, _) => (slot_fields(reach, family, SLOT_TYPE), endpoint()),
            SetId::Hairpin => (hairpin_fields(family), DataType::None),
            SetId::ClusterIps | SetId::ServiceCidrs | SetId::NodePortIps => {
                (vec![Field::Daddr(family)], DataType::None)
            }
            SetId::Firewall => (firewall_fields(family), DataType::None),
            SetId::StickySlots(reach, _) => (slot_fields(reach, family, SLOT_TYPE), number()),
            SetId::StickyEndpoints(reach, _) => (slot_fields(reach, family, Field::Priority), endpoint()),
            SetId::Affinity => (affinity_fields(family, Field::Priority), number()),
            SetId::Counted(Reach::Address) => (frontend_fields(family), DataType::None),
            SetId::Counted(Reach::NodePort) => (vec![Field::L4Proto, Field::Dport], DataType::None),
        };
        let interval = matches!(self, SetId::ServiceCidrs | SetId::Firewall);
        let plain =
            SetDef { key, data, interval, size: (!interval).then_some(MIN_SIZE), learned: None, counted: false };
        match self {
            SetId::Affinity => SetDef { size: Some(MAX_CLIENTS), learned: Some(DEFAULT_TIMEOUT_MS), ..plain },
            SetId::Counted(_) => SetDef { counted: true, ..plain },
            _ => plain,
        }
    }
}

/// The capacity for so many elements: a power of two with room to grow.
pub fn capacity(elements: usize) -> u32 {
    let wanted = u32::try_from(elements + elements / 2).unwrap_or(u32::MAX / 2);
    wanted.next_power_of_two().max(MIN_SIZE)
}

/// The key fields of `services`.
pub fn frontend_fields(family: Family) -> Vec<Field> {
    vec![Field::Daddr(family), Field::L4Proto, Field::Dport]
}

/// The key fields of an endpoint map, with the given slot field last.
pub fn slot_fields(reach: Reach, family: Family, slot: Field) -> Vec<Field> {
    match reach {
        Reach::Address => vec![Field::Daddr(family), Field::L4Proto, Field::Dport, slot],
        Reach::NodePort => vec![Field::L4Proto, Field::Dport, slot],
    }
}

/// The key fields of `affinity`: a service port, as that field has it, and a client.
pub fn affinity_fields(family: Family, service: Field) -> Vec<Field> {
    vec![service, Field::Saddr(family)]
}

/// The key fields of `firewall`: a frontend and a source.
pub fn firewall_fields(family: Family) -> Vec<Field> {
    vec![Field::Daddr(family), Field::L4Proto, Field::Dport, Field::Saddr(family)]
}

/// The key fields of `hairpin`, as a packet has them after the DNAT.
pub fn hairpin_fields(family: Family) -> Vec<Field> {
    vec![Field::Saddr(family), Field::Daddr(family), Field::L4Proto, Field::Dport]
}

/// The key of an endpoint in `hairpin`: from itself to itself.
pub fn hairpin_key(endpoint: EndpointAddr, protocol: Protocol) -> Bytes {
    Bytes::new().addr(endpoint.ip).addr(endpoint.ip).proto(protocol).port(endpoint.port)
}

/// The data of an endpoint in an endpoint map.
pub fn endpoint_data(endpoint: EndpointAddr) -> Bytes {
    Bytes::new().addr(endpoint.ip).port(endpoint.port)
}
