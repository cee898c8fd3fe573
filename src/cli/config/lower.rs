//! From a filled [`KubeProxyConfiguration`] to the model's words; every mistake is collected with its field's name.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::FieldError;
use super::address::{parse_cidr, parse_host_port, parse_ip};
use super::defaults::OFF;
use super::duration::GoDuration;
use super::types::{ClientConnection, Conntrack, Iptables, KubeProxyConfiguration, Nftables};
use crate::model::{
    ConntrackConfig, Encoding, Family, LocalDetector, LogConfig, LogFormat, NodePortAddresses, PerFamily,
};

/// What the fields say, each checked.
#[derive(Debug)]
pub(crate) struct Lowered {
    pub(crate) masquerade_bit: u8,
    pub(crate) masquerade_all: bool,
    pub(crate) localhost_node_ports: bool,
    pub(crate) detector: LocalDetector,
    pub(crate) node_port_addresses: NodePortAddresses,
    pub(crate) bind_address: Option<IpAddr>,
    pub(crate) sync_period: Duration,
    pub(crate) min_sync_period: Duration,
    pub(crate) healthz_address: Option<SocketAddr>,
    pub(crate) metrics_address: Option<SocketAddr>,
    pub(crate) conntrack: ConntrackConfig,
    pub(crate) oom_score_adj: i32,
    pub(crate) log: LogConfig,
}

/// Checks a configuration whose defaults are filled in. All mistakes are told at once.
pub(crate) fn lower(config: &KubeProxyConfiguration) -> Result<Lowered, Vec<FieldError>> {
    let mut check = Check::default();
    let section = Section::of(config);
    let in_section = |field: &str| format!("{}.{field}", section.name);
    let lowered = Lowered {
        masquerade_bit: check.range(&in_section("masqueradeBit"), section.masquerade_bit, 0, 31) as u8,
        masquerade_all: section.masquerade_all.unwrap_or_default(),
        localhost_node_ports: config.iptables.as_ref().and_then(|own| own.localhost_node_ports).unwrap_or(true),
        detector: check.detector(config),
        node_port_addresses: check.node_port_addresses(config.node_port_addresses.as_deref().unwrap_or_default()),
        bind_address: check.bind_address(config.bind_address.as_deref().unwrap_or_default()),
        sync_period: check.period(&in_section("syncPeriod"), section.sync_period),
        min_sync_period: check.period(&in_section("minSyncPeriod"), section.min_sync_period),
        healthz_address: check.server("healthzBindAddress", config.healthz_bind_address.as_deref()),
        metrics_address: check.server("metricsBindAddress", config.metrics_bind_address.as_deref()),
        conntrack: check.conntrack(&config.conntrack.clone().unwrap_or_default()),
        oom_score_adj: check.range("oomScoreAdj", config.oom_score_adj, -1000, 1000),
        log: check.log(config),
    };
    check.rest(config, &section);
    if check.errors.is_empty() { Ok(lowered) } else { Err(check.errors) }
}

/// What both sections say, of the mode's own one.
#[derive(Clone, Debug, Default)]
struct Section {
    name: &'static str,
    masquerade_bit: Option<i32>,
    masquerade_all: Option<bool>,
    sync_period: Option<GoDuration>,
    min_sync_period: Option<GoDuration>,
}

impl Section {
    /// The section of the mode in force.
    fn of(config: &KubeProxyConfiguration) -> Section {
        let [nftables, iptables] = Section::both(config);
        if config.mode.as_deref() == Some("iptables") { iptables } else { nftables }
    }

    fn both(config: &KubeProxyConfiguration) -> [Section; 2] {
        let Nftables { masquerade_bit, masquerade_all, sync_period, min_sync_period } =
            config.nftables.clone().unwrap_or_default();
        let nftables = Section { name: "nftables", masquerade_bit, masquerade_all, sync_period, min_sync_period };
        let Iptables { masquerade_bit, masquerade_all, sync_period, min_sync_period, .. } =
            config.iptables.clone().unwrap_or_default();
        [nftables, Section { name: "iptables", masquerade_bit, masquerade_all, sync_period, min_sync_period }]
    }
}

/// Settings of the other mode's section that a user may think are in force: kube-proxy reads the section of the mode only.
pub(crate) fn sections_without_effect(config: &KubeProxyConfiguration) -> Vec<String> {
    let [nftables, iptables] = Section::both(config);
    let (other, own) =
        if config.mode.as_deref() == Some("iptables") { (nftables, iptables) } else { (iptables, nftables) };
    let told = |field| format!("{}.{field} has no effect in {} mode; set {}.{field}", other.name, own.name, own.name);
    differing(&other, &own).into_iter().map(told).collect()
}

/// Fields set in the first section to something that the second does not say.
fn differing(other: &Section, own: &Section) -> Vec<&'static str> {
    let set = |period: Option<GoDuration>| period.filter(|period| !period.is_zero());
    // What kube-proxy fills in by itself nobody has asked for.
    let [sync_default, min_default] = [30, 1].map(GoDuration::from_secs);
    let all = other.masquerade_all == Some(true) && own.masquerade_all != Some(true);
    let bit = other.masquerade_bit.is_some_and(|bit| bit != own.masquerade_bit.unwrap_or(14));
    let sync = set(other.sync_period).is_some_and(|p| p != sync_default && set(own.sync_period) != Some(p));
    let min = set(other.min_sync_period).is_some_and(|p| p != min_default && set(own.min_sync_period) != Some(p));
    [(all, "masqueradeAll"), (bit, "masqueradeBit"), (sync, "syncPeriod"), (min, "minSyncPeriod")]
        .into_iter()
        .filter_map(|(differs, field)| differs.then_some(field))
        .collect()
}

/// Collects mistakes; what it answers after one is a placeholder that never leaves [`lower`].
#[derive(Default)]
struct Check {
    errors: Vec<FieldError>,
}

impl Check {
    fn error(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.errors.push(FieldError { field: field.into(), reason: reason.into() });
    }

    fn range(&mut self, field: &str, value: Option<i32>, least: i32, most: i32) -> i32 {
        let value = value.unwrap_or_default();
        if !(least..=most).contains(&value) {
            self.error(field, format!("{value} is not within {least}..={most}"));
        }
        value.clamp(least, most)
    }

    fn period(&mut self, field: &str, value: Option<GoDuration>) -> Duration {
        let value = value.unwrap_or_default();
        if value.is_negative() {
            self.error(field, format!("{value} must not be negative"));
        }
        value.to_std()
    }

    /// `0` leaves the sysctl alone.
    fn timeout(&mut self, field: &str, value: Option<GoDuration>) -> Option<Duration> {
        Some(self.period(field, value)).filter(|timeout| !timeout.is_zero())
    }

    fn bind_address(&mut self, text: &str) -> Option<IpAddr> {
        let ip = parse_ip(text);
        if ip.is_none() {
            self.error("bindAddress", format!("{text:?} is not an IP address"));
        }
        ip.filter(|ip| !ip.is_unspecified())
    }

    fn server(&mut self, field: &str, text: Option<&str>) -> Option<SocketAddr> {
        let text = text.unwrap_or_default();
        if text == OFF {
            return None;
        }
        match parse_host_port(text) {
            Ok(address) => Some(address),
            Err(reason) => {
                self.error(field, format!("{text:?} {reason} (or \"{OFF}\" to switch it off)"));
                None
            }
        }
    }

    fn node_port_addresses(&mut self, given: &[String]) -> NodePortAddresses {
        match given {
            [] => return NodePortAddresses::All,
            [one] if one == "primary" => return NodePortAddresses::Primary,
            _ => {}
        }
        let mut nets = Vec::new();
        for (index, text) in given.iter().enumerate() {
            let field = format!("nodePortAddresses[{index}]");
            match parse_cidr(text) {
                Some(net) => nets.push(net),
                None if text == "primary" => self.error(field, "\"primary\" cannot stand beside networks"),
                None => self.error(field, format!("{text:?} is not a network such as 192.168.0.0/16")),
            }
        }
        let all = |family| nets.iter().any(|net| net.prefix_len() == 0 && Family::of_net(*net) == family);
        if all(Family::V4) && all(Family::V6) { NodePortAddresses::All } else { NodePortAddresses::Cidrs(nets) }
    }

    fn detector(&mut self, config: &KubeProxyConfiguration) -> LocalDetector {
        let names = config.detect_local.clone().unwrap_or_default();
        let bridge = names.bridge_interface.unwrap_or_default();
        let prefix = names.interface_name_prefix.unwrap_or_default();
        match config.detect_local_mode.as_deref().unwrap_or_default() {
            "" | "ClusterCIDR" => self.cluster_cidr(config.cluster_cidr.as_deref().unwrap_or_default()),
            "NodeCIDR" => LocalDetector::NodeCidr,
            "BridgeInterface" => LocalDetector::BridgeInterface(self.name("detectLocal.bridgeInterface", bridge)),
            "InterfaceNamePrefix" => {
                LocalDetector::InterfaceNamePrefix(self.name("detectLocal.interfaceNamePrefix", prefix))
            }
            other => {
                let modes = "ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix";
                self.error("detectLocalMode", format!("{other:?} is none of {modes}"));
                LocalDetector::None
            }
        }
    }

    /// An interface name or prefix; the kernel's names have at most 15 bytes.
    fn name(&mut self, field: &str, name: String) -> String {
        if name.is_empty() {
            self.error(field, "must be set for this detectLocalMode");
        } else if name.len() > 15 || name.contains(|c: char| c.is_whitespace() || "/:*\"\\\0".contains(c)) {
            let limits = "at most 15 bytes; no space and none of / : * \" \\";
            self.error(field, format!("{name:?} cannot be an interface name ({limits})"));
        }
        name
    }

    fn cluster_cidr(&mut self, text: &str) -> LocalDetector {
        if text.is_empty() {
            return LocalDetector::None;
        }
        let mut nets: PerFamily<Option<IpNet>> = PerFamily::default();
        for part in text.split(',') {
            let Some(net) = parse_cidr(part.trim()) else {
                self.error("clusterCIDR", format!("{part:?} is not a network such as 10.244.0.0/16 or fd00:244::/56"));
                continue;
            };
            let place = nets.get_mut(Family::of_net(net));
            if place.is_some() {
                self.error("clusterCIDR", format!("{text:?} must be one network, or one of each family"));
            }
            *place = Some(net);
        }
        LocalDetector::ClusterCidr(nets)
    }

    fn conntrack(&mut self, given: &Conntrack) -> ConntrackConfig {
        ConntrackConfig {
            max_per_core: self.range("conntrack.maxPerCore", given.max_per_core, 0, i32::MAX) as u32,
            min: self.range("conntrack.min", given.min, 0, i32::MAX) as u32,
            tcp_established_timeout: self.timeout("conntrack.tcpEstablishedTimeout", given.tcp_established_timeout),
            tcp_close_wait_timeout: self.timeout("conntrack.tcpCloseWaitTimeout", given.tcp_close_wait_timeout),
            udp_timeout: self.timeout("conntrack.udpTimeout", given.udp_timeout),
            udp_stream_timeout: self.timeout("conntrack.udpStreamTimeout", given.udp_stream_timeout),
            tcp_be_liberal: given.tcp_be_liberal.unwrap_or_default(),
        }
    }

    fn log(&mut self, config: &KubeProxyConfiguration) -> LogConfig {
        let logging = config.logging.clone().unwrap_or_default();
        let format = match logging.format.as_deref().unwrap_or_default() {
            "" | "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => {
                self.error("logging.format", format!("{other:?} is neither \"text\" nor \"json\""));
                LogFormat::Text
            }
        };
        LogConfig { format, verbosity: logging.verbosity.unwrap_or_default().min(u32::from(u8::MAX)) as u8 }
    }

    fn client(&mut self, client: &ClientConnection) {
        if client.burst.is_some_and(|burst| burst < 0) {
            self.error("clientConnection.burst", "must not be negative");
        }
        let kind = client.content_type.as_deref().unwrap_or_default();
        if !kind.is_empty() && Encoding::of(kind).is_none() {
            let [protobuf, json] = [Encoding::Protobuf, Encoding::Json].map(Encoding::media_type);
            self.error("clientConnection.contentType", format!("{kind:?} is neither {protobuf:?} nor {json:?}"));
        }
    }

    /// What has no word of its own in the model, or spans two fields.
    fn rest(&mut self, config: &KubeProxyConfiguration, section: &Section) {
        let others = Section::both(config).into_iter().filter(|other| other.name != section.name);
        for other in others.filter(|other| other.masquerade_bit != section.masquerade_bit) {
            self.range(&format!("{}.masqueradeBit", other.name), other.masquerade_bit, 0, 31);
        }
        if config.config_sync_period.is_some_and(GoDuration::is_negative) {
            self.error("configSyncPeriod", "must be greater than 0");
        }
        self.client(&config.client_connection.clone().unwrap_or_default());
        if section.min_sync_period > section.sync_period {
            let name = section.name;
            self.error(format!("{name}.minSyncPeriod"), format!("must not be longer than {name}.syncPeriod"));
        }
    }
}
