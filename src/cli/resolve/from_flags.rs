//! Flags, said as the configuration file would say them.

use crate::cli::args::{ConfigArgs, SettingArgs};
use crate::cli::config::{
    ClientConnection, Conntrack, DetectLocal, FieldError, GoDuration, HEALTHZ_PORT, Iptables, KubeProxyConfiguration,
    METRICS_PORT, Nftables, OFF, default_port,
};

/// The file these flags amount to. Only durations can be wrong already.
pub(super) fn configuration(args: &ConfigArgs) -> Result<KubeProxyConfiguration, Vec<FieldError>> {
    let flags = &args.settings;
    let mut errors = Vec::new();
    // Whatever the mode is, the flags are for it.
    let sync_period = duration("nftables.syncPeriod", flags.sync_period.as_deref(), &mut errors);
    let min_sync_period = duration("nftables.minSyncPeriod", flags.min_sync_period.as_deref(), &mut errors);
    let config = KubeProxyConfiguration {
        client_connection: Some(ClientConnection {
            kubeconfig: args.source.kubeconfig.as_ref().map(|path| path.to_string_lossy().into_owned()),
            ..ClientConnection::default()
        }),
        mode: flags.proxy_mode.clone(),
        cluster_cidr: flags.cluster_cidr.clone(),
        detect_local_mode: flags.detect_local_mode.clone(),
        detect_local: Some(DetectLocal {
            bridge_interface: flags.pod_bridge_interface.clone(),
            interface_name_prefix: flags.pod_interface_name_prefix.clone(),
        }),
        node_port_addresses: flags.nodeport_addresses.as_ref().map(|list| trimmed(list)),
        bind_address: flags.bind_address.clone(),
        healthz_bind_address: address(flags.healthz_bind_address.as_deref(), flags.healthz_port, HEALTHZ_PORT),
        metrics_bind_address: address(flags.metrics_bind_address.as_deref(), flags.metrics_port, METRICS_PORT),
        bind_address_hard_fail: flags.bind_address_hard_fail,
        oom_score_adj: flags.oom_score_adj,
        feature_gates: flags.feature_gates.clone().map(|gates| gates.into_iter().collect()),
        iptables: Some(Iptables {
            masquerade_bit: flags.masquerade_bit,
            masquerade_all: flags.masquerade_all,
            localhost_node_ports: flags.iptables_localhost_nodeports,
            sync_period,
            min_sync_period,
        }),
        nftables: Some(Nftables {
            masquerade_bit: flags.masquerade_bit,
            masquerade_all: flags.masquerade_all,
            sync_period,
            min_sync_period,
        }),
        conntrack: Some(conntrack(flags, &mut errors)),
        ..KubeProxyConfiguration::default()
    };
    if errors.is_empty() { Ok(config) } else { Err(errors) }
}

fn conntrack(flags: &SettingArgs, errors: &mut Vec<FieldError>) -> Conntrack {
    let mut read = |field, value: &Option<String>| duration(field, value.as_deref(), errors);
    Conntrack {
        max_per_core: flags.conntrack_max_per_core,
        min: flags.conntrack_min,
        tcp_established_timeout: read("conntrack.tcpEstablishedTimeout", &flags.conntrack_tcp_timeout_established),
        tcp_close_wait_timeout: read("conntrack.tcpCloseWaitTimeout", &flags.conntrack_tcp_timeout_close_wait),
        tcp_be_liberal: flags.conntrack_tcp_be_liberal,
        udp_timeout: read("conntrack.udpTimeout", &flags.conntrack_udp_timeout),
        udp_stream_timeout: read("conntrack.udpStreamTimeout", &flags.conntrack_udp_timeout_stream),
    }
}

fn duration(field: &str, text: Option<&str>, errors: &mut Vec<FieldError>) -> Option<GoDuration> {
    match text?.parse() {
        Ok(duration) => Some(duration),
        Err(reason) => {
            errors.push(FieldError { field: field.to_owned(), reason });
            None
        }
    }
}

/// An empty flag switches the server off, as in kube-proxy; so does port 0 by the older flag.
fn address(given: Option<&str>, port: Option<u16>, default: u16) -> Option<String> {
    match (given, port) {
        (Some(""), _) | (_, Some(0)) => Some(OFF.to_owned()),
        (Some(text), port) => Some(default_port(text, port.unwrap_or(default))),
        (None, _) => None,
    }
}

fn trimmed(list: &[String]) -> Vec<String> {
    list.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}
