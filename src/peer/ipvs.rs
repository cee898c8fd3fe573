//! The virtual services that kube-proxy's ipvs mode leaves in the kernel: listed and deleted one by one over generic netlink.

mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use netlink_sys::protocols::NETLINK_GENERIC;
use rustix::io::Errno;

use super::socket::{Kernel, Socket};

/// A virtual service by its address. Those by a firewall mark are never kube-proxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VirtualService {
    /// The IP protocol's number.
    pub protocol: u8,
    /// The address and port (host order).
    pub address: SocketAddr,
}

impl fmt::Display for VirtualService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            6 => write!(f, "TCP {}", self.address),
            17 => write!(f, "UDP {}", self.address),
            132 => write!(f, "SCTP {}", self.address),
            number => write!(f, "protocol {number} {}", self.address),
        }
    }
}

/// How kube-proxy's virtual services are known from others'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signs {
    /// The addresses on its interface: cluster IPs, external and load-balancer IPs.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// The node ports in its ipsets, by the IP protocol's number: they answer on the node's own addresses.
    pub(super) node_ports: BTreeMap<u8, BTreeSet<u16>>,
}

impl Signs {
    /// Whether a virtual service is kube-proxy's.
    pub(super) fn are_of(&self, service: &VirtualService) -> bool {
        let ports = self.node_ports.get(&service.protocol);
        self.addresses.contains(&service.address.ip()) || ports.is_some_and(|p| p.contains(&service.address.port()))
    }
}

/// ipvs of this thread's network namespace.
pub(super) struct Ipvs<K = Socket> {
    kernel: K,
    /// Its number among generic netlink's families.
    number: u16,
}

impl Ipvs {
    /// Opens it; `None` where the kernel has not loaded ipvs. `root` is `/`, for what procfs tells: asking by name would load the module.
    ///
    /// # Errors
    /// When the kernel gives no socket, or refuses to tell.
    pub(super) fn open(root: &Path) -> io::Result<Option<Ipvs>> {
        match root.join("proc/net/ip_vs").exists() {
            true => Ipvs::of(Socket::open(NETLINK_GENERIC)?),
            false => Ok(None),
        }
    }
}

impl<K: Kernel> Ipvs<K> {
    fn of(mut kernel: K) -> io::Result<Option<Ipvs<K>>> {
        let mut number = None;
        match kernel.ask(&wire::family_request(), |message| number = number.or(wire::family_number(message.payload))) {
            Ok(()) => Ok(number.map(|number| Ipvs { kernel, number })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Every virtual service that has an address.
    ///
    /// # Errors
    /// When the kernel refuses to tell: EPERM without CAP_NET_ADMIN in the initial user namespace.
    pub(super) fn services(&mut self) -> io::Result<Vec<VirtualService>> {
        let number = self.number;
        let request = wire::list_request(number);
        Ok(self.kernel.list(&request, |message| wire::service(message.payload).filter(|_| message.kind == number))?)
    }

    /// Deletes a virtual service with its servers. `false`: there is none.
    ///
    /// # Errors
    /// What the kernel says; EPERM without CAP_NET_ADMIN in the initial user namespace.
    pub(super) fn delete(&mut self, service: &VirtualService) -> io::Result<bool> {
        match self.kernel.ask(&wire::delete_request(self.number, service), |_| ()) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
