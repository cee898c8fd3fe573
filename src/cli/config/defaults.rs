//! kube-proxy's defaults, filled into what was not written.

use super::address::{default_port, parse_ip};
use super::duration::{FlushFrequency, GoDuration};
use super::types::{ClientConnection, Conntrack, DetectLocal, Iptables, Ipvs, KubeProxyConfiguration, Logging};
use super::types::{Nftables, Winkernel};
use super::{API_VERSION, KIND};
use crate::model::Encoding;

/// `/healthz`, `/livez`.
pub(crate) const HEALTHZ_PORT: u16 = 10256;
/// `/metrics` and its neighbours.
pub(crate) const METRICS_PORT: u16 = 10249;
/// The word that switches a server off.
pub(crate) const OFF: &str = "none";

const OOM_SCORE_ADJ: i32 = -999;
const MASQUERADE_BIT: i32 = 14;

/// Fills every field that was absent or says "the default", by the mode that was settled before.
///
/// One default is ours: `nftables.minSyncPeriod` is 0, because an incremental commit needs no pacing.
pub(crate) fn fill(config: &mut KubeProxyConfiguration) {
    config.api_version = Some(API_VERSION.to_owned());
    config.kind = Some(KIND.to_owned());
    text(&mut config.bind_address, "0.0.0.0");
    addresses(config);
    for field in [
        &mut config.hostname_override,
        &mut config.show_hidden_metrics_for_version,
        &mut config.cluster_cidr,
        &mut config.port_range,
    ] {
        field.get_or_insert_default();
    }
    text(&mut config.detect_local_mode, "ClusterCIDR");
    config.bind_address_hard_fail.get_or_insert(false);
    config.enable_profiling.get_or_insert(false);
    config.oom_score_adj.get_or_insert(OOM_SCORE_ADJ);
    if config.node_port_addresses.as_ref().is_none_or(Vec::is_empty) {
        // Without a word iptables mode opens every local address.
        let iptables = config.mode.as_deref() == Some("iptables");
        config.node_port_addresses = Some(if iptables { Vec::new() } else { vec!["primary".to_owned()] });
    }
    period(&mut config.config_sync_period, 900);
    client(config.client_connection.get_or_insert_default());
    logging(config.logging.get_or_insert_default());
    iptables(config.iptables.get_or_insert_default());
    ipvs(config.ipvs.get_or_insert_default());
    nftables(config.nftables.get_or_insert_default());
    winkernel(config.winkernel.get_or_insert_default());
    detect_local(config.detect_local.get_or_insert_default());
    conntrack(config.conntrack.get_or_insert_default());
}

/// Sets the default where the field is absent or empty.
fn text(field: &mut Option<String>, default: &str) {
    if field.as_deref().is_none_or(str::is_empty) {
        *field = Some(default.to_owned());
    }
}

/// Sets the default where the field is absent or zero.
fn period(field: &mut Option<GoDuration>, secs: i64) {
    if field.is_none_or(GoDuration::is_zero) {
        *field = Some(GoDuration::from_secs(secs));
    }
}

/// The servers listen on the family of `bindAddress`.
fn addresses(config: &mut KubeProxyConfiguration) {
    let v6 = config.bind_address.as_deref().and_then(parse_ip).is_some_and(|ip| ip.is_ipv6());
    let (any, local) = if v6 { ("[::]", "[::1]") } else { ("0.0.0.0", "127.0.0.1") };
    address(&mut config.healthz_bind_address, any, HEALTHZ_PORT);
    address(&mut config.metrics_bind_address, local, METRICS_PORT);
}

fn address(field: &mut Option<String>, host: &str, port: u16) {
    text(field, &format!("{host}:{port}"));
    if let Some(given) = field {
        *given = default_port(given, port);
    }
}

fn client(client: &mut ClientConnection) {
    client.kubeconfig.get_or_insert_default();
    client.accept_content_types.get_or_insert_default();
    text(&mut client.content_type, Encoding::default().media_type());
    if client.qps.is_none_or(|qps| qps == 0.0) {
        client.qps = Some(5.0);
    }
    if client.burst.is_none_or(|burst| burst == 0) {
        client.burst = Some(10);
    }
}

fn logging(logging: &mut Logging) {
    text(&mut logging.format, "text");
    logging.flush_frequency.get_or_insert(FlushFrequency(GoDuration::from_secs(5)));
    logging.verbosity.get_or_insert(0);
}

fn iptables(iptables: &mut Iptables) {
    iptables.masquerade_bit.get_or_insert(MASQUERADE_BIT);
    iptables.masquerade_all.get_or_insert(false);
    iptables.localhost_node_ports.get_or_insert(true);
    period(&mut iptables.sync_period, 30);
    period(&mut iptables.min_sync_period, 1);
}

fn ipvs(ipvs: &mut Ipvs) {
    period(&mut ipvs.sync_period, 30);
    ipvs.scheduler.get_or_insert_default();
    ipvs.strict_arp.get_or_insert(false);
    for field in [&mut ipvs.min_sync_period, &mut ipvs.tcp_timeout, &mut ipvs.tcp_fin_timeout, &mut ipvs.udp_timeout] {
        field.get_or_insert_default();
    }
}

fn nftables(nftables: &mut Nftables) {
    nftables.masquerade_bit.get_or_insert(MASQUERADE_BIT);
    nftables.masquerade_all.get_or_insert(false);
    period(&mut nftables.sync_period, 30);
    nftables.min_sync_period.get_or_insert_default();
}

fn winkernel(winkernel: &mut Winkernel) {
    winkernel.network_name.get_or_insert_default();
    winkernel.source_vip.get_or_insert_default();
    winkernel.enable_dsr.get_or_insert(false);
    winkernel.root_hns_endpoint_name.get_or_insert_default();
    winkernel.forward_health_check_vip.get_or_insert(false);
}

fn detect_local(detect: &mut DetectLocal) {
    detect.bridge_interface.get_or_insert_default();
    detect.interface_name_prefix.get_or_insert_default();
}

/// The two TCP timeouts have a default when absent; an explicit `0s` leaves the sysctl alone, as in kube-proxy.
fn conntrack(conntrack: &mut Conntrack) {
    conntrack.max_per_core.get_or_insert(32_768);
    conntrack.min.get_or_insert(131_072);
    conntrack.tcp_established_timeout.get_or_insert(GoDuration::from_secs(86_400));
    conntrack.tcp_close_wait_timeout.get_or_insert(GoDuration::from_secs(3_600));
    conntrack.tcp_be_liberal.get_or_insert(false);
    conntrack.udp_timeout.get_or_insert_default();
    conntrack.udp_stream_timeout.get_or_insert_default();
}
