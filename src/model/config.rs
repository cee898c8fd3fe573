//! The resolved configuration: every default filled in, every value checked.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::PerFamily;

/// How rules are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyMode {
    /// Netfilter's nf_tables over netlink.
    #[default]
    Nftables,
    /// The classical chains, by `iptables-restore`.
    Iptables,
}

impl ProxyMode {
    /// The word `/proxyMode` answers.
    pub fn name(self) -> &'static str {
        match self {
            ProxyMode::Nftables => "nftables",
            ProxyMode::Iptables => "iptables",
        }
    }
}

/// Why a mode runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModeReason {
    /// It was asked for.
    Asked,
    /// Nobody asked for one.
    Default,
    /// Nobody asked for one, and the default does not work here.
    Fallback,
}

impl ModeReason {
    /// The word in metrics.
    pub fn name(self) -> &'static str {
        match self {
            ModeReason::Asked => "asked",
            ModeReason::Default => "default",
            ModeReason::Fallback => "fallback",
        }
    }
}

/// What `detectLocalMode` asks for, per family where it differs: who is local to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LocalDetector {
    /// No detector: cluster-IP traffic is never masqueraded for its source.
    #[default]
    None,
    /// `ClusterCIDR`: sources inside the family's network are local.
    ClusterCidr(PerFamily<Option<IpNet>>),
    /// `NodeCIDR`: sources inside the own Node's podCIDR of the family are local.
    NodeCidr,
    /// `BridgeInterface`: packets that come in by this interface are local.
    BridgeInterface(String),
    /// `InterfaceNamePrefix`: packets that come in by an interface with this prefix are local.
    InterfaceNamePrefix(String),
}

/// `nodePortAddresses`: the addresses node ports answer on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// `primary`: one address a family, the Node's InternalIP, else its ExternalIP.
    #[default]
    Primary,
    /// Every local address (`0.0.0.0/0` and `::/0`), but loopback in nftables mode.
    All,
    /// The local addresses inside these networks.
    Cidrs(Vec<IpNet>),
}

/// Where events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    /// The Kubernetes API.
    Api(ApiConfig),
    /// A directory of YAML and JSON manifests.
    Manifests(PathBuf),
}

/// How to reach the Kubernetes API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiConfig {
    /// A kubeconfig file; `None` means the in-cluster environment.
    pub kubeconfig: Option<PathBuf>,
    /// `--master`: overrides the server address.
    pub master: Option<String>,
    /// How objects come.
    pub encoding: Encoding,
}

/// How objects come from the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `application/vnd.kubernetes.protobuf`, and JSON where the server does not answer in it.
    #[default]
    Protobuf,
    /// `application/json`.
    Json,
}

impl Encoding {
    /// The media type, as headers and `clientConnection.contentType` have it.
    pub const fn media_type(self) -> &'static str {
        match self {
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
            Encoding::Json => "application/json",
        }
    }

    /// The encoding of a media type.
    pub fn of(media_type: &str) -> Option<Encoding> {
        [Encoding::Protobuf, Encoding::Json].into_iter().find(|encoding| encoding.media_type() == media_type)
    }
}

/// `conntrack:` of the configuration. `None` leaves the sysctl alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConntrackConfig {
    /// Entries a core; 0 leaves the limit alone.
    pub max_per_core: u32,
    /// The least limit.
    pub min: u32,
    /// `nf_conntrack_tcp_timeout_established`.
    pub tcp_established_timeout: Option<Duration>,
    /// `nf_conntrack_tcp_timeout_close_wait`.
    pub tcp_close_wait_timeout: Option<Duration>,
    /// `nf_conntrack_udp_timeout`.
    pub udp_timeout: Option<Duration>,
    /// `nf_conntrack_udp_timeout_stream`.
    pub udp_stream_timeout: Option<Duration>,
    /// `nf_conntrack_tcp_be_liberal`.
    pub tcp_be_liberal: bool,
}

impl Default for ConntrackConfig {
    fn default() -> Self {
        ConntrackConfig {
            max_per_core: 32_768,
            min: 131_072,
            tcp_established_timeout: Some(Duration::from_secs(86_400)),
            tcp_close_wait_timeout: Some(Duration::from_secs(3_600)),
            udp_timeout: None,
            udp_stream_timeout: None,
            tcp_be_liberal: false,
        }
    }
}

/// Where the local admin endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminSocket {
    /// A name in the network namespace's abstract socket names (`@name`): no file, gone with the process.
    Abstract(String),
    /// A socket file.
    Path(PathBuf),
}

impl Default for AdminSocket {
    fn default() -> AdminSocket {
        AdminSocket::Abstract("ferroproxy/admin".to_owned())
    }
}

impl std::fmt::Display for AdminSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AdminSocket::Abstract(name) => write!(f, "@{name}"),
            AdminSocket::Path(path) => path.display().fmt(f),
        }
    }
}

impl std::str::FromStr for AdminSocket {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<AdminSocket, Self::Err> {
        match text.strip_prefix('@') {
            Some("") => Err("@ needs a name behind it"),
            Some(name) => Ok(AdminSocket::Abstract(name.to_owned())),
            None if text.starts_with('/') => Ok(AdminSocket::Path(text.into())),
            None => Err("must be @NAME or an absolute path"),
        }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line an event.
    #[default]
    Text,
    /// One JSON object an event.
    Json,
}

/// Logging.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The form.
    pub format: LogFormat,
    /// kube-proxy's `-v`: 0-1 info, 2-4 debug, 5 and more trace.
    pub verbosity: u8,
}

/// Everything a running ferroproxy needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where events come from.
    pub source: SourceConfig,
    /// The own Node's name: trimmed, lower case.
    pub node_name: String,
    /// How rules are written.
    pub mode: ProxyMode,
    /// Whether nobody chose the mode: then another may step in where the kernel cannot do this one.
    pub mode_is_free: bool,
    /// `iptables.localhostNodePorts`: whether IPv4 node ports answer on loopback addresses too. In iptables mode only.
    pub localhost_node_ports: bool,
    /// `masqueradeBit`: the bit of the packet mark, 0..=31.
    pub masquerade_bit: u8,
    /// `masqueradeAll`: masquerade all cluster-IP traffic.
    pub masquerade_all: bool,
    /// Who is local to the cluster.
    pub detector: LocalDetector,
    /// Where node ports answer.
    pub node_port_addresses: NodePortAddresses,
    /// `bindAddress`, when it names one address: overrides the primary node address of its family.
    pub bind_address: Option<IpAddr>,
    /// `syncPeriod`: how often the whole state is audited; health allows twice this for a change to wait.
    pub sync_period: Duration,
    /// `minSyncPeriod`: the least time between two commits; zero unless the user set it.
    pub min_sync_period: Duration,
    /// Where `/healthz` and `/livez` are served; `None` switches the server off.
    pub healthz_address: Option<SocketAddr>,
    /// Where `/metrics`, `/proxyMode` and `/configz` are served; `None` switches the server off.
    pub metrics_address: Option<SocketAddr>,
    /// For how many service ports new connections are counted and told; `None`: not counted at all.
    pub count_connections: Option<usize>,
    /// Whether nobody else may change the tables while the process runs, where the kernel can do that.
    pub own_tables: bool,
    /// Where `ferroproxy status` asks; `None` switches the endpoint off.
    pub admin: Option<AdminSocket>,
    /// `bindAddressHardFail`: failing to bind one of them ends the process.
    pub bind_hard_fail: bool,
    /// Conntrack sysctls.
    pub conntrack: ConntrackConfig,
    /// `oomScoreAdj`, -1000..=1000.
    pub oom_score_adj: i32,
    /// Feature gates as given.
    pub feature_gates: BTreeMap<String, bool>,
    /// Logging.
    pub log: LogConfig,
    /// The configuration as users know it (`KubeProxyConfiguration`, defaults filled in), for `/configz`.
    pub configz: serde_json::Value,
}

impl Config {
    /// The configuration of someone who sets nothing: kube-proxy's defaults in nftables mode.
    pub fn new(source: SourceConfig, node_name: impl Into<String>) -> Config {
        Config {
            source,
            node_name: node_name.into(),
            mode: ProxyMode::Nftables,
            mode_is_free: false,
            localhost_node_ports: true,
            masquerade_bit: 14,
            masquerade_all: false,
            detector: LocalDetector::None,
            node_port_addresses: NodePortAddresses::Primary,
            bind_address: None,
            sync_period: Duration::from_secs(30),
            min_sync_period: Duration::ZERO,
            healthz_address: Some(SocketAddr::from(([0, 0, 0, 0], 10256))),
            metrics_address: Some(SocketAddr::from(([127, 0, 0, 1], 10249))),
            count_connections: None,
            own_tables: false,
            admin: Some(AdminSocket::default()),
            bind_hard_fail: false,
            conntrack: ConntrackConfig::default(),
            oom_score_adj: -999,
            feature_gates: BTreeMap::new(),
            log: LogConfig::default(),
            configz: serde_json::Value::Null,
        }
    }

    /// Whether `externalIPs` count (`featureGates: {AllowServiceExternalIPs: false}` switches them off).
    pub fn allow_external_ips(&self) -> bool {
        self.feature_gates.get("AllowServiceExternalIPs").copied().unwrap_or(true)
    }
}
