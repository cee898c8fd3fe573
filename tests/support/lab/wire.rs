//! Addresses and links of a lab: pods on routed veths, a client outside, both families.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::space::Space;

/// Pod networks: what a `clusterCIDR` would say.
pub const CLUSTER_CIDRS: [&str; 2] = ["10.244.0.0/16", "fd00:10:244::/64"];
/// Service networks: what the ServiceCIDRs would say.
pub const SERVICE_CIDRS: [&str; 2] = ["10.96.0.0/16", "fd00:10:96::/112"];
/// The node's addresses on the network it shares with the client outside.
pub const NODE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10))];
/// The addresses of the client outside.
pub const OUTSIDE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100))];

/// Set before any link exists, so that every link inherits it. No duplicate address detection: addresses work at once.
/// No redirects: a hairpin goes back by the interface it came from. No limit on ICMP errors: each refusal is counted.
const EVERYWHERE: &[(&str, &str)] = &[
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_redirects", "0"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/default/accept_redirects", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv6/icmp/ratelimit", "0"),
];

const FORWARDING: &[(&str, &str)] = &[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")];

/// The IPv4 and IPv6 address of a pod: 10.244.0.10 and fd00:10:244::10 for the first.
pub fn pod(index: usize) -> [IpAddr; 2] {
    let index = u8::try_from(index).expect("a lab has at most a few pods");
    let v6 = Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0x10 + u16::from(index));
    [Ipv4Addr::new(10, 244, 0, 10 + index).into(), v6.into()]
}

/// Links the namespaces and gives them addresses and routes.
pub fn lay(node: &Space, outside: &Space, pods: &[Space]) -> io::Result<()> {
    let everyone = || [node, outside].into_iter().chain(pods);
    everyone().try_for_each(|space| space.sysctl(EVERYWHERE))?;
    node.sysctl(FORWARDING)?;
    node.ip(&node_lines(outside, pods))?;
    outside.ip(&outside_lines())?;
    pods.iter().enumerate().try_for_each(|(index, space)| space.ip(&pod_lines(index)))
}

/// Everything the node does not know goes to the client outside, which forwards nothing: an address that no rule
/// catches is silence. The node's pod links have no IPv4 address, so a masqueraded packet has the node's own.
fn node_lines(outside: &Space, pods: &[Space]) -> String {
    let [v4, v6] = NODE;
    let [gateway4, gateway6] = OUTSIDE;
    let mut lines = format!(
        "link set lo up\nlink add eth0 type veth peer name eth0 netns {}\naddr add {v4}/24 dev eth0\n\
         addr add {v6}/64 dev eth0 nodad\nlink set eth0 up\nroute add default via {gateway4}\n\
         route add default via {gateway6}\n",
        outside.name()
    );
    for (index, space) in pods.iter().enumerate() {
        let [v4, v6] = pod(index);
        let peer = space.name();
        lines += &format!(
            "link add pod{index} type veth peer name eth0 netns {peer}\naddr add fe80::1/64 dev pod{index} nodad\n\
             link set pod{index} up\nroute add {v4}/32 dev pod{index}\nroute add {v6}/128 dev pod{index}\n"
        );
    }
    lines
}

fn outside_lines() -> String {
    let [v4, v6] = OUTSIDE;
    let [gateway4, gateway6] = NODE;
    format!(
        "link set lo up\naddr add {v4}/24 dev eth0\naddr add {v6}/64 dev eth0 nodad\nlink set eth0 up\n\
         route add default via {gateway4}\nroute add default via {gateway6}\n"
    )
}

fn pod_lines(index: usize) -> String {
    let [v4, v6] = pod(index);
    let [gateway4, _] = NODE;
    format!(
        "link set lo up\naddr add {v4}/32 dev eth0\naddr add {v6}/128 dev eth0 nodad\nlink set eth0 up\n\
         route add default via {gateway4} dev eth0 onlink\nroute add default via fe80::1 dev eth0\n"
    )
}
