//! Findings in the configuration.

use std::net::IpAddr;

use super::facts::Facts;
use super::finding::Finding;
use super::finding::Severity::{Breaks, Differs, Note};
use crate::cli::config::KubeProxyConfiguration;
use crate::cli::resolve::Written;
use crate::model::{Family, LocalDetector, ProxyMode};

/// What is asked of the two proxies.
pub(super) struct Asked<'a> {
    /// The configuration, with what ferroproxy makes of it.
    pub(super) written: &'a Written,
    /// The mode kube-proxy runs in with it.
    pub(super) kube_proxy: &'a str,
    /// The mode ferroproxy runs in; nftables where it would refuse.
    pub(super) ferroproxy: &'static str,
}

impl<'a> Asked<'a> {
    pub(super) fn of(written: &'a Written) -> Asked<'a> {
        let mode = written.file.mode.as_deref().unwrap_or_default();
        // On Linux, kube-proxy takes iptables where nothing is said.
        let kube_proxy = if mode.is_empty() { "iptables" } else { mode };
        Asked { written, kube_proxy, ferroproxy: written.mode.as_ref().copied().unwrap_or_default().name() }
    }

    pub(super) fn file(&self) -> &'a KubeProxyConfiguration {
        &self.written.file
    }

    /// From kube-proxy's older modes to nftables, where node ports, loopback and invalid packets are treated otherwise.
    pub(super) fn leaves_older_mode(&self) -> bool {
        self.kube_proxy != self.ferroproxy && self.ferroproxy == ProxyMode::Nftables.name()
    }
}

/// What the configuration alone tells, and with the addresses of the node.
pub(super) fn findings(asked: &Asked<'_>, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(mode(asked));
    findings.extend(refused(asked));
    findings.extend(node_port_addresses(asked, facts));
    findings.extend(localhost_node_ports(asked));
    findings.extend(ipvs(asked));
    findings.extend(detector(asked, facts));
    findings.extend(invalid_packets(asked));
    findings.extend(without_effect(asked));
    findings
}

fn mode(asked: &Asked<'_>) -> Option<Finding> {
    let (from, to) = (asked.kube_proxy, asked.ferroproxy);
    match &asked.written.mode {
        Err(error) => Some(Finding::new(
            "mode",
            Breaks,
            error.to_string(),
            "ferroproxy would not start with this file",
            "leave the file as it is and give ferroproxy --proxy-mode=nftables beside it",
        )),
        Ok(_) if from != to => Some(Finding::new(
            "mode",
            Differs,
            format!("kube-proxy runs in {from} mode, ferroproxy in {to} mode"),
            "its rules are in the nftables tables `ferroproxy`: look there, or with `ferroproxy explain`",
            format!(
                "read on: what changes with the mode is listed here, and `migrate verify` compares {from} rules too"
            ),
        )),
        Ok(_) => None,
    }
}

fn refused(asked: &Asked<'_>) -> Vec<Finding> {
    let told = |error: &String| {
        Finding::new("configuration", Breaks, error.clone(), "ferroproxy would not start", "correct the field")
    };
    let unknown = asked.written.unknown.iter().map(|key| {
        let what = format!("{key}: unknown key");
        Finding::new("unknown-key", Note, what, "ferroproxy ignores it and warns", "remove it if it is a slip")
    });
    asked.written.errors().iter().map(told).chain(unknown).collect()
}

/// In nftables mode node ports answer on one address a family unless more is asked for.
fn node_port_addresses(asked: &Asked<'_>, facts: &Facts) -> Option<Finding> {
    let is_set = asked.file().node_port_addresses.as_ref().is_some_and(|list| !list.is_empty());
    if is_set || !asked.leaves_older_mode() {
        return None;
    }
    let of = |family| facts.local.iter().filter(move |ip| Family::of(**ip) == family && is_usual(**ip));
    let several = Family::ALL.into_iter().any(|family| of(family).count() > 1);
    let all: Vec<String> = Family::ALL.into_iter().flat_map(of).map(ToString::to_string).collect();
    let severity = if several { Breaks } else { Note };
    let what = format!("nodePortAddresses is not set; this node has {}", all.join(", "));
    Some(Finding::new(
        "nodeport-addresses",
        severity,
        what,
        format!(
            "in {} mode kube-proxy answers node ports on all of them; in nftables mode they answer on the Node's primary address of each family only",
            asked.kube_proxy
        ),
        "to keep all: nodePortAddresses: [0.0.0.0/0, '::/0']; to settle for the primary ones: nodePortAddresses: [primary]",
    ))
}

fn localhost_node_ports(asked: &Asked<'_>) -> Option<Finding> {
    let file = asked.file();
    let switched_off = file.iptables.as_ref().and_then(|section| section.localhost_node_ports) == Some(false);
    let nets = file.node_port_addresses.as_deref().unwrap_or_default();
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let covered =
        nets.is_empty() || nets.iter().any(|net| net.parse::<ipnet::IpNet>().is_ok_and(|net| net.contains(&loopback)));
    let lost = asked.kube_proxy == "iptables" && asked.leaves_older_mode() && !switched_off && covered;
    lost.then(|| {
        Finding::new(
            "localhost-nodeports",
            Breaks,
            "node ports answer on 127.0.0.1 (iptables.localhostNodePorts)",
            "in nftables mode they never do: a program on this node that asks 127.0.0.1:<node port> is refused",
            "let such programs ask the cluster IP or the node's address; once none is left, set iptables.localhostNodePorts: false to say so",
        )
    })
}

fn ipvs(asked: &Asked<'_>) -> Vec<Finding> {
    if asked.kube_proxy != "ipvs" {
        return Vec::new();
    }
    let section = asked.file().ipvs.clone().unwrap_or_default();
    let scheduler = section.scheduler.filter(|name| !name.is_empty()).unwrap_or_else(|| "rr".to_owned());
    let sticks = ["sh", "mh"].contains(&scheduler.as_str());
    let advice = match sticks {
        true => "set sessionAffinity: ClientIP on the Services that rely on it",
        false => "nothing, unless endpoints are so unequal that the scheduler mattered",
    };
    let meaning =
        format!("ferroproxy picks endpoints uniformly at random; what {scheduler} took into account no longer counts");
    let mut findings = vec![
        Finding::new(
            "ipvs-scheduler",
            if sticks { Breaks } else { Differs },
            format!("ipvs.scheduler is {scheduler}"),
            meaning,
            advice,
        ),
        Finding::new(
            "ipvs-addresses",
            Differs,
            "kube-proxy binds every Service address to kube-ipvs0",
            "with ferroproxy they are on no interface: they do not answer ping, and programs cannot bind them",
            "`cleanup --kube-proxy` removes the virtual services, the ipsets and the interface",
        ),
    ];
    if section.strict_arp == Some(true) {
        findings.push(Finding::new(
            "ipvs-strict-arp",
            Note,
            "ipvs.strictARP is set",
            "kube-proxy has set net.ipv4.conf.all.arp_ignore and arp_announce, and they stay until the node restarts",
            "keep them if a load balancer such as MetalLB wants them; ferroproxy does not set them",
        ));
    }
    findings
}

/// The detector decides who is masqueraded: one that never matches is a slip, with either proxy.
fn detector(asked: &Asked<'_>, facts: &Facts) -> Option<Finding> {
    let lowered = asked.written.lowered.as_ref().ok()?;
    let missing =
        |what: String, meaning: &str, advice: &str| Some(Finding::new("detect-local", Note, what, meaning, advice));
    let all_outside = "all traffic to cluster IPs counts as coming from outside and is masqueraded, as with kube-proxy";
    match &lowered.detector {
        LocalDetector::None => missing(
            "detectLocalMode is ClusterCIDR and clusterCIDR is not set".to_owned(),
            "traffic to cluster IPs from outside the cluster is not masqueraded, as with kube-proxy",
            "set clusterCIDR if hosts outside the cluster use cluster IPs",
        ),
        LocalDetector::BridgeInterface(name) if !facts.interfaces.contains(name) => missing(
            format!("detectLocal.bridgeInterface is {name}, and this node has no such interface"),
            all_outside,
            "correct the name, unless the network plugin makes the bridge later",
        ),
        LocalDetector::InterfaceNamePrefix(prefix) if !facts.interfaces.iter().any(|name| name.starts_with(prefix)) => {
            missing(
                format!("detectLocal.interfaceNamePrefix is {prefix}, and no interface of this node begins so"),
                all_outside,
                "correct the prefix, unless there are no pods here yet",
            )
        }
        _ => None,
    }
}

/// kube-proxy's iptables mode drops them in KUBE-FORWARD.
fn invalid_packets(asked: &Asked<'_>) -> Option<Finding> {
    let is_liberal = asked.file().conntrack.as_ref().and_then(|section| section.tcp_be_liberal) == Some(true);
    (asked.kube_proxy == "iptables" && asked.leaves_older_mode() && !is_liberal).then(|| {
        Finding::new(
            "invalid-packets",
            Differs,
            "kube-proxy's KUBE-FORWARD drops packets that conntrack calls INVALID",
            "in nftables mode nobody does: a late packet of a connection can reach a client untranslated, and be answered by a reset",
            "set conntrack.tcpBeLiberal: true, which lets conntrack translate them",
        )
    })
}

/// Settings of a mode that is no longer in force.
fn without_effect(asked: &Asked<'_>) -> Vec<Finding> {
    if asked.kube_proxy != "iptables" || !asked.leaves_older_mode() {
        return Vec::new();
    }
    let told = |what: String| {
        Finding::new(
            "other-section",
            Differs,
            what,
            "kube-proxy follows it now, ferroproxy would not",
            "copy it to the nftables section",
        )
    };
    asked.written.without_effect.iter().cloned().map(told).collect()
}

/// An address that others can send to.
fn is_usual(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    }
}
