//! `KubeProxyConfiguration` as it is written: every field may be absent, and `null` is the same as absent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::duration::{FlushFrequency, GoDuration};

/// The file's root. Names are those of `kubeproxy.config.k8s.io/v1alpha1`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KubeProxyConfiguration {
    pub(crate) api_version: Option<String>,
    pub(crate) kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) feature_gates: Option<BTreeMap<String, bool>>,
    pub(crate) client_connection: Option<ClientConnection>,
    pub(crate) logging: Option<Logging>,
    pub(crate) hostname_override: Option<String>,
    pub(crate) bind_address: Option<String>,
    pub(crate) healthz_bind_address: Option<String>,
    pub(crate) metrics_bind_address: Option<String>,
    pub(crate) bind_address_hard_fail: Option<bool>,
    pub(crate) enable_profiling: Option<bool>,
    pub(crate) show_hidden_metrics_for_version: Option<String>,
    pub(crate) mode: Option<String>,
    pub(crate) iptables: Option<Iptables>,
    pub(crate) ipvs: Option<Ipvs>,
    pub(crate) nftables: Option<Nftables>,
    pub(crate) winkernel: Option<Winkernel>,
    pub(crate) detect_local_mode: Option<String>,
    pub(crate) detect_local: Option<DetectLocal>,
    #[serde(rename = "clusterCIDR")]
    pub(crate) cluster_cidr: Option<String>,
    pub(crate) node_port_addresses: Option<Vec<String>>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) conntrack: Option<Conntrack>,
    pub(crate) config_sync_period: Option<GoDuration>,
    pub(crate) port_range: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) windows_run_as_service: Option<bool>,
}

/// `clientConnection`: how the API server is reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientConnection {
    pub(crate) kubeconfig: Option<String>,
    pub(crate) accept_content_types: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) qps: Option<f32>,
    pub(crate) burst: Option<i32>,
}

/// `logging`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Logging {
    pub(crate) format: Option<String>,
    pub(crate) flush_frequency: Option<FlushFrequency>,
    pub(crate) verbosity: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vmodule: Option<Vec<serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) options: Option<serde_json::Value>,
}

/// `iptables`: what counts in iptables mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Iptables {
    pub(crate) masquerade_bit: Option<i32>,
    pub(crate) masquerade_all: Option<bool>,
    pub(crate) localhost_node_ports: Option<bool>,
    pub(crate) sync_period: Option<GoDuration>,
    pub(crate) min_sync_period: Option<GoDuration>,
}

/// `ipvs`: read, but without effect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ipvs {
    pub(crate) sync_period: Option<GoDuration>,
    pub(crate) min_sync_period: Option<GoDuration>,
    pub(crate) scheduler: Option<String>,
    #[serde(rename = "excludeCIDRs")]
    pub(crate) exclude_cidrs: Option<Vec<String>>,
    #[serde(rename = "strictARP")]
    pub(crate) strict_arp: Option<bool>,
    pub(crate) tcp_timeout: Option<GoDuration>,
    pub(crate) tcp_fin_timeout: Option<GoDuration>,
    pub(crate) udp_timeout: Option<GoDuration>,
}

/// `nftables`: what counts in nftables mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Nftables {
    pub(crate) masquerade_bit: Option<i32>,
    pub(crate) masquerade_all: Option<bool>,
    pub(crate) sync_period: Option<GoDuration>,
    pub(crate) min_sync_period: Option<GoDuration>,
}

/// `winkernel`: read, so that its keys are known, and without effect on Linux.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Winkernel {
    pub(crate) network_name: Option<String>,
    pub(crate) source_vip: Option<String>,
    #[serde(rename = "enableDSR")]
    pub(crate) enable_dsr: Option<bool>,
    pub(crate) root_hns_endpoint_name: Option<String>,
    pub(crate) forward_health_check_vip: Option<bool>,
}

/// `detectLocal`: what the interface modes of `detectLocalMode` need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DetectLocal {
    pub(crate) bridge_interface: Option<String>,
    pub(crate) interface_name_prefix: Option<String>,
}

/// `conntrack`: sysctls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Conntrack {
    pub(crate) max_per_core: Option<i32>,
    pub(crate) min: Option<i32>,
    pub(crate) tcp_established_timeout: Option<GoDuration>,
    pub(crate) tcp_close_wait_timeout: Option<GoDuration>,
    pub(crate) tcp_be_liberal: Option<bool>,
    pub(crate) udp_timeout: Option<GoDuration>,
    pub(crate) udp_stream_timeout: Option<GoDuration>,
}
