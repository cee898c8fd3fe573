//! Services.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use crate::model::{Change, Event, Family, ObjectKind, ObjectName, Service, ServiceKind, TrafficPolicy};

use super::address::{parse_ip, special};
use super::findings::Findings;
use super::intern::Interner;
use super::kind::{Kind, Origin, Parsed};
use super::lenient::Lenient;
use super::meta::{HEADLESS, META, Meta, PROXY_NAME, slim_resource};
use super::protobuf::{Form, Shape, many, one};
use super::service_ports::{PORT, SlimPort, ports};
use super::text::Text;

/// The API's default for `sessionAffinityConfig.clientIP.timeoutSeconds`.
const DEFAULT_AFFINITY_SECONDS: u32 = 10_800;

type List<T> = Lenient<Vec<Lenient<T>>>;

/// A Service, slim.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimService {
    metadata: Meta,
    spec: Lenient<Spec>,
    status: Lenient<Status>,
}

slim_resource!(SlimService, k8s_openapi::api::core::v1::Service);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    r#type: Lenient<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Lenient<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: List<String>,
    #[serde(rename = "externalIPs")]
    external_ips: List<Text<IpAddr>>,
    ports: List<SlimPort>,
    internal_traffic_policy: Lenient<Text<TrafficPolicy>>,
    external_traffic_policy: Lenient<Text<TrafficPolicy>>,
    session_affinity: Lenient<String>,
    session_affinity_config: Lenient<AffinityConfig>,
    load_balancer_source_ranges: List<Text<IpNet>>,
    health_check_node_port: Lenient<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct AffinityConfig {
    #[serde(rename = "clientIP")]
    client_ip: Lenient<ClientIp>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClientIp {
    timeout_seconds: Lenient<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    load_balancer: Lenient<LoadBalancer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: List<Ingress>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Ingress {
    ip: Lenient<Text<IpAddr>>,
    ip_mode: Lenient<String>,
}

static SHAPE: Shape = Shape(&[
    one(1, "metadata", Form::Object(&META)),
    one(2, "spec", Form::Object(&SPEC)),
    one(3, "status", Form::Object(&STATUS)),
]);
static SPEC: Shape = Shape(&[
    many(1, "ports", Form::Object(&PORT)),
    one(3, "clusterIP", Form::Text),
    one(4, "type", Form::Text),
    many(5, "externalIPs", Form::Text),
    one(7, "sessionAffinity", Form::Text),
    many(9, "loadBalancerSourceRanges", Form::Text),
    one(11, "externalTrafficPolicy", Form::Text),
    one(12, "healthCheckNodePort", Form::Number),
    one(14, "sessionAffinityConfig", Form::Object(&AFFINITY)),
    many(18, "clusterIPs", Form::Text),
    one(22, "internalTrafficPolicy", Form::Text),
]);
static AFFINITY: Shape = Shape(&[one(1, "clientIP", Form::Object(&CLIENT_IP))]);
static CLIENT_IP: Shape = Shape(&[one(1, "timeoutSeconds", Form::Number)]);
static STATUS: Shape = Shape(&[one(1, "loadBalancer", Form::Object(&LOAD_BALANCER))]);
static LOAD_BALANCER: Shape = Shape(&[many(1, "ingress", Form::Object(&INGRESS))]);
static INGRESS: Shape = Shape(&[one(1, "ip", Form::Text), one(3, "ipMode", Form::Text)]);

impl Kind for SlimService {
    type Name = ObjectName;
    type Model = Service;
    const KIND: ObjectKind = ObjectKind::Service;
    const SHAPE: &'static Shape = &SHAPE;

    fn name(&self) -> ObjectName {
        self.metadata.object_name()
    }

    fn into_model(mut self, origin: Origin, names: &mut Interner) -> Parsed<ObjectName, Service> {
        let name = self.name();
        let mut out = Findings::new(Self::KIND, &name);
        let ours = !self.metadata.has_label(PROXY_NAME) && !self.metadata.has_label(HEADLESS);
        let model = if self.metadata.check(&mut out) && ours { self.read(origin, names, &mut out) } else { None };
        let rejections = out.done();
        Parsed { name, model, rejections }
    }

    fn event(change: Change<ObjectName, Service>) -> Event {
        Event::Service(change)
    }
}

impl SlimService {
    fn read(self, origin: Origin, names: &mut Interner, out: &mut Findings<'_>) -> Option<Service> {
        let name = self.metadata.object_name();
        let mut spec = out.take(self.spec, "spec", "the Service is skipped")?;
        let kind = service_kind(std::mem::take(&mut spec.r#type), out)?;
        let cluster_ips = cluster_ips(&mut spec, origin, out)?;
        let ports = ports(std::mem::take(&mut spec.ports), kind, origin, names, out);
        Some(Service {
            name,
            created: out.take(self.metadata.created, "metadata.creationTimestamp", "the age is taken as unknown"),
            kind,
            cluster_ips,
            external_ips: external_ips(spec.external_ips, out),
            load_balancer_ips: load_balancer_ips(self.status, out),
            ports,
            internal_policy: policy(spec.internal_traffic_policy, "spec.internalTrafficPolicy", out),
            external_policy: policy(spec.external_traffic_policy, "spec.externalTrafficPolicy", out),
            affinity: affinity(spec.session_affinity, spec.session_affinity_config, out),
            source_ranges: source_ranges(spec.load_balancer_source_ranges, out),
            health_check_node_port: health_check_port(spec.health_check_node_port, out),
        })
    }
}

/// The type; `None` for ExternalName, which has no proxying.
fn service_kind(value: Lenient<String>, out: &mut Findings<'_>) -> Option<ServiceKind> {
    let text = out.take(value, "spec.type", "ClusterIP is assumed");
    match text.as_deref().unwrap_or("ClusterIP") {
        "ClusterIP" | "" => Some(ServiceKind::ClusterIp),
        "NodePort" => Some(ServiceKind::NodePort),
        "LoadBalancer" => Some(ServiceKind::LoadBalancer),
        "ExternalName" => None,
        other => {
            out.reject("spec.type", format!("{other:?} is not a type of Service; ClusterIP is assumed"));
            Some(ServiceKind::ClusterIp)
        }
    }
}

/// The cluster IPs, at most one a family; `None` when the Service has none: it is headless, or cannot be reached.
fn cluster_ips(spec: &mut Spec, origin: Origin, out: &mut Findings<'_>) -> Option<Vec<IpAddr>> {
    let skip = "this address is left out";
    let mut given: Vec<(String, String)> = out
        .items(std::mem::take(&mut spec.cluster_ips), "spec.clusterIPs", skip)
        .into_iter()
        .map(|(place, text)| (format!("spec.clusterIPs[{place}]"), text))
        .collect();
    if given.is_empty() {
        let single = out.take(std::mem::take(&mut spec.cluster_ip), "spec.clusterIP", skip);
        given.extend(single.map(|text| ("spec.clusterIP".to_owned(), text)));
    }
    if given.iter().any(|(_, text)| text == "None") {
        return None;
    }
    given.retain(|(_, text)| !text.is_empty());
    if given.is_empty() && origin == Origin::Manifest {
        out.reject(
            "spec.clusterIP",
            "absent, and manifests have no API server to allocate one; the Service is skipped",
        );
    }
    let ips = one_a_family(given, out);
    (!ips.is_empty()).then_some(ips)
}

fn one_a_family(given: Vec<(String, String)>, out: &mut Findings<'_>) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = Vec::with_capacity(given.len());
    for (field, text) in given {
        match parse_ip(&text) {
            None => out.reject(field, format!("{text:?} is not an IP address; it is left out")),
            Some(ip) if ips.iter().any(|first| Family::of(*first) == Family::of(ip)) => {
                out.reject(field, format!("a second {} address; the first one counts", Family::of(ip)));
            }
            Some(ip) => ips.push(ip),
        }
    }
    ips
}

fn external_ips(list: List<Text<IpAddr>>, out: &mut Findings<'_>) -> Vec<IpAddr> {
    let mut ips = Vec::new();
    for (place, Text(ip)) in out.items(list, "spec.externalIPs", "this address is left out") {
        match special(ip) {
            Some(what) => out
                .reject(format_args!("spec.externalIPs[{place}]"), format!("{ip} is a {what} address; it is left out")),
            None if !ips.contains(&ip) => ips.push(ip),
            None => {}
        }
    }
    ips
}

/// The ingress addresses that packets arrive with (`ipMode` absent or `VIP`).
fn load_balancer_ips(status: Lenient<Status>, out: &mut Findings<'_>) -> Vec<IpAddr> {
    let none = "there are no load-balancer addresses";
    let status = out.take(status, "status", none).unwrap_or_default();
    let balancer = out.take(status.load_balancer, "status.loadBalancer", none).unwrap_or_default();
    let path = "status.loadBalancer.ingress";
    let mut ips = Vec::new();
    for (place, ingress) in out.items(balancer.ingress, path, "this address is left out") {
        let mode = out.take(ingress.ip_mode, format_args!("{path}[{place}].ipMode"), "VIP is assumed");
        if !matches!(mode.as_deref(), None | Some("VIP")) {
            continue;
        }
        let ip = out.take(ingress.ip, format_args!("{path}[{place}].ip"), "this address is left out");
        ips.extend(ip.map(|Text(ip)| ip).filter(|ip| !ips.contains(ip)));
    }
    ips
}

fn policy(value: Lenient<Text<TrafficPolicy>>, field: &str, out: &mut Findings<'_>) -> TrafficPolicy {
    out.take(value, field, "Cluster is assumed").map(|Text(policy)| policy).unwrap_or_default()
}

fn affinity(value: Lenient<String>, config: Lenient<AffinityConfig>, out: &mut Findings<'_>) -> Option<u32> {
    match out.take(value, "spec.sessionAffinity", "None is assumed").as_deref() {
        None | Some("None" | "") => return None,
        Some("ClientIP") => {}
        Some(other) => {
            out.reject("spec.sessionAffinity", format!("{other:?} is not an affinity; None is assumed"));
            return None;
        }
    }
    let usual = "the default of 10800 seconds counts";
    let config = out.take(config, "spec.sessionAffinityConfig", usual).unwrap_or_default();
    let client = out.take(config.client_ip, "spec.sessionAffinityConfig.clientIP", usual).unwrap_or_default();
    let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
    let seconds = out.take(client.timeout_seconds, field, usual).unwrap_or(DEFAULT_AFFINITY_SECONDS.into());
    match u32::try_from(seconds) {
        Ok(seconds) if seconds > 0 => Some(seconds),
        _ => {
            out.reject(field, format!("{seconds} is out of range; {usual}"));
            Some(DEFAULT_AFFINITY_SECONDS)
        }
    }
}

fn source_ranges(list: List<Text<IpNet>>, out: &mut Findings<'_>) -> Vec<IpNet> {
    let ranges = out.items(list, "spec.loadBalancerSourceRanges", "this range is left out");
    ranges.into_iter().map(|(_, Text(net))| net).collect()
}

fn health_check_port(value: Lenient<i64>, out: &mut Findings<'_>) -> Option<u16> {
    let (field, consequence) = ("spec.healthCheckNodePort", "there is no health check port");
    match out.take(value, field, consequence).unwrap_or(0) {
        0 => None,
        number => out.port(number, field, consequence),
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
