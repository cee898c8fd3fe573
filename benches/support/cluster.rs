//! A made-up cluster of any size, and changes to it. No randomness: the same calls give the same cluster.

use std::net::{IpAddr, Ipv4Addr};

use ferroproxy::model::{
    Change, Conditions, EndpointSlice, Event, Family, ObjectName, Protocol, Service, ServiceKind, ServicePort,
    SliceEndpoint, SlicePort, TrafficPolicy,
};

/// The node everything is looked at from.
pub const NODE: &str = "n";

/// Services with one IPv4 cluster IP and one slice each.
pub struct Cluster {
    services: usize,
    endpoints: usize,
    kind: Kind,
    /// The next address that no endpoint has had.
    fresh: u32,
    slices: Vec<EndpointSlice>,
}

/// What the services are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ClusterIP, TCP.
    Tcp,
    /// ClusterIP, UDP.
    Udp,
    /// LoadBalancer with an address and a node port, external policy Local, one endpoint on the node.
    LocalBalancer,
}

impl Kind {
    fn protocol(self) -> Protocol {
        if self == Kind::Udp { Protocol::Udp } else { Protocol::Tcp }
    }
}

impl Cluster {
    /// So many services with so many endpoints each.
    pub fn new(services: usize, endpoints: usize) -> Cluster {
        Cluster::of(Kind::Tcp, services, endpoints)
    }

    /// So many services of a kind.
    pub fn of(kind: Kind, services: usize, endpoints: usize) -> Cluster {
        let mut cluster = Cluster { services, endpoints, kind, fresh: 0, slices: Vec::new() };
        cluster.slices = (0..services).map(|n| cluster.slice(n)).collect();
        cluster
    }

    /// So many more services: their events.
    pub fn grow(&mut self, more: usize) -> Vec<Event> {
        let numbers = self.services..self.services + more;
        self.services += more;
        let mut events = Vec::new();
        for n in numbers {
            let slice = self.slice(n);
            self.slices.push(slice.clone());
            events.extend([Event::Service(Change::Upsert(service(n, self.kind))), Event::Slice(Change::Upsert(slice))]);
        }
        events
    }

    /// Both full lists.
    pub fn list(&self) -> Vec<Event> {
        let services = (0..self.services).map(|n| Event::Service(Change::Upsert(service(n, self.kind))));
        let slices = self.slices.iter().map(|slice| Event::Slice(Change::Upsert(slice.clone())));
        let synced = [Event::Service(Change::Synced), Event::Slice(Change::Synced)];
        services.chain(slices).chain(synced).collect()
    }

    /// One endpoint of a service leaves and another comes.
    pub fn replace_endpoint(&mut self, n: usize) -> Vec<Event> {
        let address = self.fresh_address();
        let slice = self.pick(n);
        slice.endpoints[0].address = address;
        vec![Event::Slice(Change::Upsert(slice.clone()))]
    }

    /// All endpoints of a service leave and others come.
    pub fn replace_all(&mut self, n: usize) -> Vec<Event> {
        let fresh: Vec<IpAddr> = (0..self.endpoints).map(|_| self.fresh_address()).collect();
        let slice = self.pick(n);
        slice.endpoints.iter_mut().zip(fresh).for_each(|(endpoint, address)| endpoint.address = address);
        vec![Event::Slice(Change::Upsert(slice.clone()))]
    }

    /// A service has one endpoint more, and the next time one less.
    pub fn grow_or_shrink(&mut self, n: usize) -> Vec<Event> {
        let address = self.fresh_address();
        let slice = self.pick(n / 2);
        match n % 2 {
            0 => slice.endpoints.push(endpoint(address)),
            _ => drop(slice.endpoints.pop()),
        }
        vec![Event::Slice(Change::Upsert(slice.clone()))]
    }

    /// A new service with its slice, and the next time it goes.
    pub fn add_or_delete(&mut self, n: usize) -> Vec<Event> {
        let number = self.services + n / 2;
        let (service, slice) = (service(number, self.kind), self.slice(number));
        match n % 2 {
            0 => vec![Event::Service(Change::Upsert(service)), Event::Slice(Change::Upsert(slice))],
            _ => vec![Event::Service(Change::Delete(service.name)), Event::Slice(Change::Delete(slice.name))],
        }
    }

    /// Some service, a different one for each number, spread over all of them.
    fn pick(&mut self, n: usize) -> &mut EndpointSlice {
        let at = (n * 7919) % self.services;
        &mut self.slices[at]
    }

    fn fresh_address(&mut self) -> IpAddr {
        self.fresh += 1;
        IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 0, 0)) + self.fresh))
    }

    fn slice(&mut self, n: usize) -> EndpointSlice {
        let mut endpoints: Vec<SliceEndpoint> = (0..self.endpoints).map(|_| endpoint(self.fresh_address())).collect();
        if self.kind == Kind::LocalBalancer {
            endpoints[0].node = Some(NODE.into());
        }
        EndpointSlice {
            name: ObjectName::new("bench", format!("svc-{n}-slice")),
            service: ObjectName::new("bench", format!("svc-{n}")),
            family: Family::V4,
            ports: vec![SlicePort { name: "".into(), protocol: self.kind.protocol(), port: 8080 }],
            endpoints,
            triggered: None,
        }
    }
}

fn endpoint(address: IpAddr) -> SliceEndpoint {
    SliceEndpoint { address, conditions: Conditions::default(), node: None, hints: None }
}

fn service(n: usize, kind: Kind) -> Service {
    let number = u32::try_from(n).expect("a small number");
    let ip = |base: [u8; 4]| IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::from(base)) + number));
    let balanced = kind == Kind::LocalBalancer;
    let node_port = balanced.then(|| 30_000 + u16::try_from(n).expect("few of these"));
    let port = ServicePort { name: "".into(), protocol: kind.protocol(), port: 80, node_port };
    let mut service = Service::named("bench", &format!("svc-{n}"));
    service.cluster_ips = vec![ip([10, 96, 0, 1])];
    service.ports = vec![port];
    if balanced {
        service.kind = ServiceKind::LoadBalancer;
        service.load_balancer_ips = vec![ip([203, 0, 0, 1])];
        service.external_policy = TrafficPolicy::Local;
    }
    service
}
