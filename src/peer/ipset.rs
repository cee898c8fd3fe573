//! The ipsets of kube-proxy's ipvs mode (`include/uapi/linux/netfilter/ipset/ip_set.h`).

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;

use super::socket::{Kernel, Socket};
use crate::model::Family;
use crate::netlink::attr::{Writer, attrs, by_kind, str_of};
use crate::netlink::message::{ACK, DUMP, Header, family_number, write};

/// `NFNL_SUBSYS_IPSET`.
const SUBSYSTEM: u16 = 6;
/// `IPSET_CMD_DESTROY`, `IPSET_CMD_LIST`.
const DESTROY: u16 = 3;
const LIST: u16 = 7;
/// The oldest protocol that every kernel since 2.6.39 speaks (`IPSET_PROTOCOL_MIN`).
const VERSION: u8 = 6;
/// `IPSET_ATTR_PROTOCOL`, `_SETNAME`, `_FLAGS`, `_ADT`; inside: `_DATA`, and in that `_PORT`.
const PROTOCOL: u16 = 1;
const SET_NAME: u16 = 2;
const FLAGS: u16 = 6;
const ELEMENTS: u16 = 8;
const ELEMENT: u16 = 7;
const PORT: usize = 4;
/// `IPSET_FLAG_LIST_SETNAME`: names and nothing else.
const NAMES_ONLY: u32 = 1 << 1;

/// What the names of kube-proxy's sets begin with, in IPv4 and in IPv6.
const PREFIXES: [&str; 2] = ["KUBE-", "KUBE-6-"];
/// The rest of their names (`pkg/proxy/ipvs/ipset.go` of Kubernetes 1.36).
const NAMES: [&str; 17] = [
    "LOOP-BACK",
    "CLUSTER-IP",
    "EXTERNAL-IP",
    "EXTERNAL-IP-LOCAL",
    "LOAD-BALANCER",
    "LOAD-BALANCER-LOCAL",
    "LOAD-BALANCER-FW",
    "LOAD-BALANCER-SOURCE-IP",
    "LOAD-BALANCER-SOURCE-CIDR",
    "NODE-PORT-TCP",
    "NODE-PORT-LOCAL-TCP",
    "NODE-PORT-UDP",
    "NODE-PORT-LOCAL-UDP",
    "NODE-PORT-SCTP-HASH",
    "NODE-PORT-LOCAL-SCTP-HASH",
    "HEALTH-CHECK-NODE-PORT",
    "IPVS-IPS",
];
/// The sets that hold node ports, by the IP protocol's number.
const NODE_PORTS: [(u8, &str); 3] = [(6, "NODE-PORT-TCP"), (17, "NODE-PORT-UDP"), (132, "NODE-PORT-SCTP-HASH")];

/// Whether a set is one that kube-proxy makes. Others have sets called `KUBE-` too: kube-router, for one.
pub fn is_of_kube_proxy(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| NAMES.contains(&rest)))
}

/// The ipsets of this thread's network namespace.
pub struct Ipsets {
    kernel: Socket,
}

impl Ipsets {
    /// Opens them; `None` where the kernel has not loaded them. `root` is `/`: asking would load the module.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open(root: &Path) -> io::Result<Option<Ipsets>> {
        match root.join("sys/module/ip_set").exists() {
            true => Ok(Some(Ipsets { kernel: Socket::open(NETLINK_NETFILTER)? })),
            false => Ok(None),
        }
    }

    /// The names of kube-proxy's sets that are there.
    ///
    /// # Errors
    /// When the kernel refuses to tell; EPERM without CAP_NET_ADMIN.
    pub fn of_kube_proxy(&mut self) -> io::Result<Vec<String>> {
        let request = request(LIST, DUMP, |w| w.put_u32(FLAGS, NAMES_ONLY));
        let mut names = self.kernel.list(&request, |message| {
            let name = attrs(message.body()?.1).find(|(kind, _)| *kind == SET_NAME)?.1;
            str_of(Some(name)).filter(|name| is_of_kube_proxy(name)).map(str::to_owned)
        })?;
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The node ports kube-proxy has noted down, by the IP protocol's number.
    ///
    /// # Errors
    /// When the kernel refuses to tell; EPERM without CAP_NET_ADMIN.
    pub fn node_ports(&mut self) -> io::Result<Vec<(u8, BTreeSet<u16>)>> {
        let mut found = Vec::new();
        for (protocol, rest) in NODE_PORTS {
            let mut ports = BTreeSet::new();
            for prefix in PREFIXES {
                ports.extend(self.ports(&format!("{prefix}{rest}"))?);
            }
            found.push((protocol, ports));
        }
        Ok(found)
    }

    /// The ports of a set's elements; none when there is no such set.
    fn ports(&mut self, name: &str) -> io::Result<Vec<u16>> {
        let request = request(LIST, DUMP, |w| w.put_str(SET_NAME, name));
        let port = |element: &[u8]| Some(u16::from_be_bytes(by_kind::<5>(element)[PORT]?.try_into().ok()?));
        let listed = self.kernel.list(&request, |message| {
            let elements = attrs(message.body()?.1).find(|(kind, _)| *kind == ELEMENTS)?.1;
            Some(attrs(elements).filter(|(kind, _)| *kind == ELEMENT).filter_map(|(_, e)| port(e)).collect::<Vec<_>>())
        });
        match listed {
            Ok(ports) => Ok(ports.concat()),
            Err(Errno::NOENT) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Destroys a set with its elements. `false`: there is none.
    ///
    /// # Errors
    /// What the kernel says; EBUSY while a rule refers to it.
    pub fn destroy(&mut self, name: &str) -> io::Result<bool> {
        match self.kernel.ask(&request(DESTROY, ACK, |w| w.put_str(SET_NAME, name)), |_| ()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn request(command: u16, flags: u16, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::default();
    let header = Header { kind: (SUBSYSTEM << 8) | command, flags, seq: 1 };
    write(&mut w, header, &[family_number(Family::V4), 0, 0, 0], |w| {
        w.put(PROTOCOL, &[VERSION]);
        fill(w);
    });
    w.bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_kube_proxy_gives_are_its() {
        for ours in ["KUBE-CLUSTER-IP", "KUBE-6-CLUSTER-IP", "KUBE-NODE-PORT-LOCAL-SCTP-HASH", "KUBE-6-IPVS-IPS"] {
            assert!(is_of_kube_proxy(ours), "{ours}");
        }
        for others in ["KUBE-SRC-ABCDEF", "KUBE-", "KUBE-6-", "kube-cluster-ip", "CLUSTER-IP", "KUBE-6-6-CLUSTER-IP"] {
            assert!(!is_of_kube_proxy(others), "{others}");
        }
    }

    #[test]
    fn a_system_without_ipsets_is_not_asked_to_load_them() {
        let root = tempfile::TempDir::new().unwrap();
        assert!(Ipsets::open(root.path()).unwrap().is_none());
    }
}
