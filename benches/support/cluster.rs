//! A made-up cluster of any size, and changes to it. No randomness: the same calls give the same cluster.

use std::net::{IpAddr, Ipv4Addr};

use ferroproxy::model::{
    Change, Conditions, EndpointSlice, Event, Family, ObjectName, Protocol, Service, ServicePort, SliceEndpoint,
    SlicePort,
};

/// Services with one IPv4 cluster IP and one slice each.
pub struct Cluster {
    services: usize,
    endpoints: usize,
    /// The next address that no endpoint has had.
    fresh: u32,
    slices: Vec<EndpointSlice>,
}

impl Cluster {
    /// So many services with so many endpoints each.
    pub fn new(services: usize, endpoints: usize) -> Cluster {
        let mut cluster = Cluster { services, endpoints, fresh: 0, slices: Vec::new() };
        cluster.slices = (0..services).map(|n| cluster.slice(n)).collect();
        cluster
    }

    /// Both full lists.
    pub fn list(&self) -> Vec<Event> {
        let services = (0..self.services).map(|n| Event::Service(Change::Upsert(service(n))));
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
        let (service, slice) = (service(number), self.slice(number));
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
        EndpointSlice {
            name: ObjectName::new("bench", format!("svc-{n}-slice")),
            service: ObjectName::new("bench", format!("svc-{n}")),
            family: Family::V4,
            ports: vec![SlicePort { name: "".into(), protocol: Protocol::Tcp, port: 8080 }],
            endpoints: (0..self.endpoints).map(|_| endpoint(self.fresh_address())).collect(),
            triggered: None,
        }
    }
}

fn endpoint(address: IpAddr) -> SliceEndpoint {
    SliceEndpoint { address, conditions: Conditions::default(), node: None, hints: None }
}

fn service(n: usize) -> Service {
    let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 1)) + u32::try_from(n).expect("a small number"));
    let port = ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80, node_port: None };
    Service { cluster_ips: vec![ip.into()], ports: vec![port], ..Service::named("bench", &format!("svc-{n}")) }
}
