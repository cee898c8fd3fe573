//! Packets to cluster IPs that no Service's port answers. nftables mode refuses and drops them, iptables mode knows nothing of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::questions::{FEW, Known, Scene, last};
use crate::model::{Family, Protocol};
use crate::peer::Frontend;

/// What is asked about a family besides its frontends, with words for what it is.
pub(super) fn misses(
    scene: &Scene<'_>,
    family: Family,
    frontends: &BTreeMap<Frontend, Known<'_>>,
) -> Vec<(Frontend, &'static str)> {
    let other_port = other_port(scene, family, frontends).map(|frontend| (frontend, "another port of a cluster IP"));
    let nobodys = nobodys(scene, family, frontends).map(|frontend| (frontend, "a cluster IP that no Service has"));
    other_port.into_iter().chain(nobodys).collect()
}

/// A cluster IP, and a port of it that nobody serves.
fn other_port(scene: &Scene<'_>, family: Family, frontends: &BTreeMap<Frontend, Known<'_>>) -> Option<Frontend> {
    let ours = cluster_ips(scene).filter(|ip| Family::of(*ip) == family && !scene.around.is_local(*ip));
    let mut served = ours.filter(|ip| frontends.keys().any(|frontend| frontend.ip == Some(*ip)));
    let ip = served.next()?;
    let mut ports = (1..=u16::MAX).map(|port| Frontend { family, ip: Some(ip), protocol: Protocol::Tcp, port });
    ports.find(|frontend| !frontends.contains_key(frontend))
}

/// An address of the Services' network that nobody has.
fn nobodys(scene: &Scene<'_>, family: Family, frontends: &BTreeMap<Frontend, Known<'_>>) -> Option<Frontend> {
    let nets = scene.snapshot.service_cidrs.values().flat_map(|cidr| &cidr.cidrs).copied();
    let net: IpNet = nets.into_iter().find(|net| Family::of_net(*net) == family)?;
    let is_taken = |ip: IpAddr| {
        let served = frontends.keys().any(|frontend| frontend.ip == Some(ip));
        served || scene.around.is_local(ip) || cluster_ips(scene).any(|other| other == ip)
    };
    let ip = last(net).take(FEW).find(|ip| !is_taken(*ip))?;
    Some(Frontend { family, ip: Some(ip), protocol: Protocol::Tcp, port: 80 })
}

fn cluster_ips(scene: &Scene<'_>) -> impl Iterator<Item = IpAddr> {
    let services = scene.snapshot.services.values().filter_map(|entry| entry.service.as_ref());
    services.flat_map(|service| service.cluster_ips.iter().copied())
}
