//! Flags for what a configuration file covers. Values are kept as typed; the fields' own checks judge them.

use clap::Args;

/// Settings by flag, for use without `--config`. Names are kube-proxy's where it has one.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings (without --config)")]
pub struct SettingArgs {
    /// How rules are written: nftables or iptables. Overrides a file's mode that is ipvs, iptables or not set
    ///
    /// Where nothing is said, nftables; iptables where the kernel cannot do that.
    #[arg(long, value_name = "MODE")]
    pub proxy_mode: Option<String>,
    /// The pods' network, or one network of each family, comma separated: ClusterIP traffic from elsewhere is masqueraded
    #[arg(long, value_name = "CIDR[,CIDR]")]
    pub cluster_cidr: Option<String>,
    /// How to tell local traffic: ClusterCIDR (default), NodeCIDR, BridgeInterface or InterfaceNamePrefix
    #[arg(long, value_name = "MODE")]
    pub detect_local_mode: Option<String>,
    /// The pods' bridge, for --detect-local-mode=BridgeInterface
    #[arg(long, value_name = "NAME")]
    pub pod_bridge_interface: Option<String>,
    /// How the names of the pods' interfaces begin, for --detect-local-mode=InterfaceNamePrefix
    #[arg(long, value_name = "PREFIX")]
    pub pod_interface_name_prefix: Option<String>,
    /// Where node ports answer: `primary` (default in nftables mode), or networks; 0.0.0.0/0,::/0 means all local addresses (default in iptables mode)
    ///
    /// Networks choose among the addresses on the node's interfaces, loopback left out in nftables mode, and follow them as they come and go. A family without a network answers
    /// on all local addresses. `render` does not ask the kernel: it chooses among the addresses the Node object names.
    #[arg(long, value_name = "CIDRS", value_delimiter = ',')]
    pub nodeport_addresses: Option<Vec<String>>,
    /// Masquerade all traffic to ClusterIPs
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool)]
    pub masquerade_all: Option<bool>,
    /// The bit of the packet mark that asks for masquerade, 0 to 31 [default: 14]
    #[arg(long, value_name = "BIT", visible_alias = "iptables-masquerade-bit")]
    pub masquerade_bit: Option<i32>,
    /// How often everything is audited; a change may wait twice this long before /healthz complains [default: 30s]
    #[arg(long, value_name = "DURATION", visible_alias = "iptables-sync-period")]
    pub sync_period: Option<String>,
    /// The least time between two commits [default: 0s; 1s in iptables mode]
    #[arg(long, value_name = "DURATION", visible_alias = "iptables-min-sync-period")]
    pub min_sync_period: Option<String>,
    /// In iptables mode, whether IPv4 node ports answer on loopback addresses too [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool)]
    pub iptables_localhost_nodeports: Option<bool>,
    /// Overrides the node's primary address of its family; no socket is bound to it
    #[arg(long, value_name = "IP")]
    pub bind_address: Option<String>,
    /// Where /healthz and /livez are served; `none` switches them off [default: 0.0.0.0:10256]
    #[arg(long, value_name = "IP:PORT")]
    pub healthz_bind_address: Option<String>,
    /// Where /metrics, /proxyMode and /configz are served; `none` switches them off [default: 127.0.0.1:10249]
    #[arg(long, value_name = "IP:PORT")]
    pub metrics_bind_address: Option<String>,
    /// Exit if one of these addresses cannot be bound, instead of trying again
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool)]
    pub bind_address_hard_fail: Option<bool>,
    /// kube-proxy's older flag: 0 switches /healthz off
    #[arg(long, value_name = "PORT", hide = true)]
    pub healthz_port: Option<u16>,
    /// kube-proxy's older flag: 0 switches /metrics off
    #[arg(long, value_name = "PORT", hide = true)]
    pub metrics_port: Option<u16>,
    /// The process's OOM score adjustment, -1000 to 1000 [default: -999]
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    pub oom_score_adj: Option<i32>,
    /// Feature gates, as in AllowServiceExternalIPs=false
    #[arg(long, value_name = "NAME=BOOL,..", value_delimiter = ',', value_parser = gate)]
    pub feature_gates: Option<Vec<(String, bool)>>,
    /// Connections to track for each core; 0 leaves the limit alone [default: 32768]
    #[arg(long, value_name = "COUNT")]
    pub conntrack_max_per_core: Option<i32>,
    /// The least number of connections to track [default: 131072]
    #[arg(long, value_name = "COUNT")]
    pub conntrack_min: Option<i32>,
    /// Timeout of established TCP connections; 0 leaves it alone [default: 24h]
    #[arg(long, value_name = "DURATION")]
    pub conntrack_tcp_timeout_established: Option<String>,
    /// Timeout of TCP connections in CLOSE_WAIT; 0 leaves it alone [default: 1h]
    #[arg(long, value_name = "DURATION")]
    pub conntrack_tcp_timeout_close_wait: Option<String>,
    /// Do not mark TCP packets outside the window as invalid
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool)]
    pub conntrack_tcp_be_liberal: Option<bool>,
    /// Timeout of UDP flows without a reply; 0 leaves it alone [default: 0]
    #[arg(long, value_name = "DURATION")]
    pub conntrack_udp_timeout: Option<String>,
    /// Timeout of UDP flows with replies; 0 leaves it alone [default: 0]
    #[arg(long, value_name = "DURATION")]
    pub conntrack_udp_timeout_stream: Option<String>,
}

/// A boolean as Go's flags read it.
pub(super) fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

fn gate(text: &str) -> Result<(String, bool), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=true or NAME=false")?;
    Ok((name.trim().to_owned(), go_bool(value.trim())?))
}
