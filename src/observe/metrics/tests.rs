use super::*;
use crate::model::{HintsUnused, NoLocalEndpoints, PerFamily, Stage, SyncKind};

fn metrics() -> Metrics {
    Metrics::new().unwrap()
}

/// The value of one series, written as in the exposition format.
fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = metrics.render().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[test]
fn every_series_exists_from_the_start() {
    let text = metrics().render().unwrap();
    for name in [
        "sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 0",
        "sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"} 0",
        "sync_partial_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 0",
        "network_programming_duration_seconds_count{ip_family=\"IPv4\"} 0",
        "sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 0",
        "sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv6\"} 0",
        "sync_proxy_rules_endpoint_changes_pending 0",
        "sync_proxy_rules_endpoint_changes_total 0",
        "sync_proxy_rules_service_changes_pending 0",
        "sync_proxy_rules_service_changes_total 0",
        "sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"internal\"} 0",
        "sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv6\",traffic_policy=\"external\"} 0",
        "sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv4\"} 0",
        "sync_proxy_rules_nftables_cleanup_failures_total{ip_family=\"IPv6\"} 0",
        "proxy_healthz_total{code=\"200\"} 0",
        "proxy_livez_total{code=\"503\"} 0",
        "conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv4\"} 0",
        "conntrack_reconciler_deleted_entries_total{ip_family=\"IPv6\"} 0",
    ] {
        assert!(text.contains(&format!("\nkubeproxy_{name}\n")), "{name} in\n{text}");
    }
    for name in [
        "sync_stage_duration_seconds_count{stage=\"commit\"} 0",
        "event_to_commit_duration_seconds_count 0",
        "rejected_objects_total{kind=\"EndpointSlice\"} 0",
        "watch_restarts_total{kind=\"Service\"} 0",
        "quarantined_services 0",
    ] {
        assert!(text.contains(&format!("\nferroproxy_{name}\n")), "{name} in\n{text}");
    }
    assert!(text.contains(&format!("ferroproxy_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))));
    assert!(text.contains("\nprocess_cpu_seconds_total "));
}

#[test]
fn buckets_are_kube_proxys() {
    let text = metrics().render().unwrap();
    let bounds = |name: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with(&format!("{name}_bucket{{ip_family=\"IPv4\"")));
        lines.map(|line| line.split("le=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()).collect()
    };
    let sync = bounds("kubeproxy_sync_proxy_rules_duration_seconds");
    assert_eq!((sync.len(), sync[0].as_str(), sync[14].as_str()), (16, "0.001", "16.384"));
    let programming = bounds("kubeproxy_network_programming_duration_seconds");
    assert_eq!(programming.len(), 2 + 59 + 12 + 7 + 1);
    assert_eq!(programming[..4], ["0.25", "0.5", "1", "2"]);
    assert_eq!(programming[79], "300");
}

#[test]
fn a_report_reaches_its_series() {
    let metrics = metrics();
    metrics.pending(4, 5);
    metrics.report(&SyncReport {
        ended: Timestamp::from_millisecond(1_700_000_000_500).unwrap(),
        families: PerFamily { v4: FamilyOutcome::Committed, v6: FamilyOutcome::Failed("refused".to_owned()) },
        stages: vec![(Stage::Commit, Duration::from_micros(300))],
        duration: Duration::from_millis(3),
        programming_latencies: vec![Duration::from_millis(300); 2],
        event_latencies: vec![Duration::from_millis(1)],
        service_changes: 2,
        endpoint_changes: 3,
        commit_bytes: 100,
        operations: 7,
        services: 10,
        elements: 20,
        no_local_endpoints: PerFamily {
            v4: NoLocalEndpoints { internal: 1, external: 2 },
            v6: NoLocalEndpoints::default(),
        },
        hints_unused: PerFamily { v4: HintsUnused { no_zone: 3, ..HintsUnused::default() }, ..PerFamily::default() },
        rejections: vec![Rejection {
            kind: ObjectKind::EndpointSlice,
            object: "a/b".to_owned(),
            field: "ports[0]".to_owned(),
            reason: "is 0".to_owned(),
        }],
        quarantined: vec!["a/c".to_owned()],
        ..test_report(SyncKind::Partial)
    });
    for (series, expected) in [
        ("kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"}", 1.0),
        ("kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"}", 1.0),
        ("kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"}", 0.0),
        ("kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"}", 1_700_000_000.5),
        ("kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv6\"}", 0.0),
        ("kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv6\"}", 1.0),
        ("kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv4\"}", 0.0),
        ("kubeproxy_network_programming_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.5\"}", 2.0),
        ("kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv6\"}", 0.0),
        ("kubeproxy_sync_proxy_rules_service_changes_total", 2.0),
        ("kubeproxy_sync_proxy_rules_endpoint_changes_total", 3.0),
        ("kubeproxy_sync_proxy_rules_service_changes_pending", 0.0),
        ("kubeproxy_sync_proxy_rules_endpoint_changes_pending", 0.0),
        ("kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"external\"}", 2.0),
        ("ferroproxy_sync_stage_duration_seconds_bucket{stage=\"commit\",le=\"0.0005\"}", 1.0),
        ("ferroproxy_sync_stage_duration_seconds_bucket{stage=\"commit\",le=\"0.0002\"}", 0.0),
        ("ferroproxy_event_to_commit_duration_seconds_count", 1.0),
        ("ferroproxy_commit_bytes_total", 100.0),
        ("ferroproxy_commit_operations_total", 7.0),
        ("ferroproxy_services", 10.0),
        ("ferroproxy_endpoint_elements", 20.0),
        ("ferroproxy_quarantined_services", 1.0),
        ("ferroproxy_topology_hints_unused_ports{ip_family=\"IPv4\",reason=\"no_zone\"}", 3.0),
        ("ferroproxy_topology_hints_unused_ports{ip_family=\"IPv6\",reason=\"incomplete\"}", 0.0),
        ("ferroproxy_rejected_objects_total{kind=\"EndpointSlice\"}", 1.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series}");
    }
}

#[test]
fn a_family_the_kernel_has_not_got_counts_nothing() {
    let metrics = metrics();
    let families = PerFamily { v4: FamilyOutcome::Committed, v6: FamilyOutcome::Absent };
    metrics.report(&SyncReport { families, ..test_report(SyncKind::Full) });
    let count = |family| {
        value(&metrics, &format!("kubeproxy_sync_full_proxy_rules_duration_seconds_count{{ip_family=\"{family}\"}}"))
    };
    assert_eq!((count("IPv4"), count("IPv6")), (Some(1.0), Some(0.0)));
}

#[test]
fn other_events_reach_theirs() {
    let metrics = metrics();
    metrics.queued(Timestamp::from_second(1_700_000_000).unwrap(), &[Family::V6]);
    metrics.watch_restarted(ObjectKind::Node);
    metrics.cleanup_failed(Family::V4);
    metrics.conntrack_reconciled(Family::V4, Duration::from_millis(2), 9);
    for (series, expected) in [
        ("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv6\"}", 1.7e9),
        ("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv4\"}", 0.0),
        ("ferroproxy_watch_restarts_total{kind=\"Node\"}", 1.0),
        ("kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total{ip_family=\"IPv4\"}", 1.0),
        ("kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv4\"}", 1.0),
        ("kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"}", 9.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series}");
    }
}
