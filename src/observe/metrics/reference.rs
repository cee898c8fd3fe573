//! `docs/metrics.md`, written from the registry and held against the file.
//!
//! `UPDATE_GOLDEN=1 cargo test --lib reference` writes it anew.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::proto::{MetricFamily, MetricType};

use super::Metrics;
use crate::model::{Connections, Family, IptablesFigures, MapFill, ModeReason, PerFamily, ProxyMode};

const FILE: &str = "docs/metrics.md";

const HEAD: &str = "\
<!-- Written by `UPDATE_GOLDEN=1 cargo test --lib reference`; a test holds it against the program. -->

# Metrics reference

Served at `/metrics`, by default on `127.0.0.1:10249`. `kubeproxy_*` are kube-proxy's, with its names, labels and buckets, so that dashboards
go on working; `ferroproxy_*` are ferroproxy's own; `process_*` are those of every Prometheus client; those with `iptables` in their names are there in iptables mode only. Series whose labels have fixed values exist from the
start. `manifests/monitoring/` has a dashboard and alert rules made of them.

";

/// Labels whose values are not fixed.
const FREE: [&str; 5] = ["version", "map", "namespace", "service", "port"];

/// All metrics, those too whose series come only with what they tell of.
fn everything() -> Metrics {
    let metrics = Metrics::new().expect("no name twice");
    metrics.mode(ProxyMode::Nftables, ModeReason::Default);
    let tables = || BTreeMap::from([("filter", 0), ("nat", 0)]);
    let rules = PerFamily { v4: tables(), v6: tables() };
    metrics.iptables(&IptablesFigures { rules, ..IptablesFigures::default() });
    for family in Family::ALL {
        metrics.fill(&[MapFill { family, name: "any".to_owned(), elements: 0, capacity: Some(1) }]);
        metrics.connections(&[Connections { family, port: "any/any:any".into(), count: 0 }], 1);
    }
    metrics
}

fn kind(family: &MetricFamily) -> String {
    match family.get_field_type() {
        MetricType::HISTOGRAM => {
            let metric = family.get_metric().first().expect("it has a series");
            let bounds: Vec<f64> =
                metric.get_histogram().get_bucket().iter().map(|bucket| bucket.upper_bound()).collect();
            let bounds: Vec<f64> = bounds.into_iter().filter(|bound| bound.is_finite()).collect();
            let [first, .., last] = bounds.as_slice() else { return "histogram".to_owned() };
            format!("histogram, {first} to {last} s")
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

/// `ip_family` (`IPv4`, `IPv6`), from the series that exist.
fn labels(family: &MetricFamily) -> String {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for metric in family.get_metric() {
        for pair in metric.get_label() {
            let told = values.entry(pair.name()).or_default();
            if !FREE.contains(&pair.name()) {
                told.insert(pair.value());
            }
        }
    }
    let told = values.into_iter().map(|(name, values)| {
        let values: Vec<String> = values.into_iter().map(|value| format!("`{value}`")).collect();
        if values.is_empty() { format!("`{name}`") } else { format!("`{name}`: {}", values.join(", ")) }
    });
    told.collect::<Vec<_>>().join("; ")
}

fn reference(metrics: &Metrics) -> String {
    let mut text = HEAD.to_owned();
    let families = metrics.registry.gather();
    for (prefix, title) in
        [("ferroproxy_", "ferroproxy's own"), ("kubeproxy_", "kube-proxy's"), ("process_", "The process's")]
    {
        text += &format!("## {title}\n\n| name | type | labels | what it says |\n|---|---|---|---|\n");
        for family in families.iter().filter(|family| family.name().starts_with(prefix)) {
            let line =
                [&format!("`{}`", family.name()), &kind(family), &labels(family), &family.help().replace('|', "\\|")];
            text += &format!("| {} |\n", line.map(String::as_str).join(" | "));
        }
        text += "\n";
    }
    text.trim_end().to_owned() + "\n"
}

#[test]
fn the_metrics_reference_is_what_is_served() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let now = reference(&everything());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &now).expect("written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = now.lines().zip(written.lines()).find(|(now, written)| now != written);
    assert!(now == written, "{FILE} is not what is served (UPDATE_GOLDEN=1 rewrites it): {differs:?}");
}

#[test]
fn every_metric_has_its_chapter() {
    let chapters = ["ferroproxy_", "kubeproxy_", "process_"];
    let families = everything().registry.gather();
    let stray: Vec<&str> =
        families.iter().map(MetricFamily::name).filter(|name| !chapters.iter().any(|c| name.starts_with(c))).collect();
    assert_eq!(stray, Vec::<&str>::new());
}
