//! Where one health check server listens, and for whom.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use tokio::net::TcpListener;

use crate::model::{Family, HealthChecks, ObjectName};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// One address of one Service's health check port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Door {
    pub(super) service: ObjectName,
    pub(super) address: SocketAddr,
}

impl Door {
    /// Families are apart: the unspecified IPv6 address is not IPv4's too, for the counts differ.
    pub(super) fn listen(&self) -> io::Result<TcpListener> {
        let family = match self.address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if self.address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        bind(&socket, &self.address)?;
        listen(&socket, BACKLOG)?;
        TcpListener::from_std(socket.into())
    }
}

/// Every door wanted: each Service that has the family, on each of its addresses.
pub(super) fn doors(checks: &HealthChecks) -> BTreeSet<Door> {
    let addresses: Vec<IpAddr> = checks.addresses.iter().copied().filter(can_be_bound).collect();
    let of = |(service, health): (&ObjectName, &crate::model::ServiceHealth)| {
        let (service, health) = (service.clone(), *health);
        let served = move |ip: &IpAddr| health.local_endpoints.get(Family::of(*ip)).is_some();
        let door = move |ip| Door { service: service.clone(), address: SocketAddr::new(ip, health.port) };
        addresses.clone().into_iter().filter(served).map(door)
    };
    checks.services.iter().flat_map(of).collect()
}

/// A link-local address alone does not say which interface is meant: it cannot be listened on.
fn can_be_bound(ip: &IpAddr) -> bool {
    !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
