use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::model::{Node, SourceConfig, SyncKind, SyncReport};
use crate::observe::metrics::test_report;

/// Both servers on ports the kernel chooses.
fn config() -> Config {
    Config {
        healthz_address: "127.0.0.1:0".parse().ok(),
        metrics_address: "127.0.0.1:0".parse().ok(),
        bind_hard_fail: true,
        configz: serde_json::json!({"kubeproxy.config.k8s.io": {"mode": "nftables"}}),
        ..Config::new(SourceConfig::Manifests("/m".into()), "n")
    }
}

fn observer() -> Observer {
    Observer::new(Duration::from_secs(30)).unwrap()
}

fn synced() -> SyncReport {
    SyncReport { ended: jiff::Timestamp::now(), ..test_report(SyncKind::Full) }
}

/// Status code, headers and body of a GET.
async fn get(address: SocketAddr, path: &'static str) -> (u16, String, String) {
    tokio::task::spawn_blocking(move || request(address, path)).await.unwrap()
}

fn request(address: SocketAddr, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn health_is_answered_and_counted() {
    let observer = observer();
    let servers = observer.serve(&config()).await.unwrap();
    let address = servers.healthz_address().unwrap();
    assert_eq!(get(address, "/healthz").await.0, 503, "before the first sync");
    assert_eq!(get(address, "/livez").await.0, 200, "before the first sync");
    observer.report(&synced());
    let (code, head, body) = get(address, "/healthz").await;
    assert_eq!(code, 200);
    assert!(head.contains("content-type: application/json") && head.contains("nosniff"), "{head}");
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&json["healthy"], &json["nodeEligible"]), (&true.into(), &true.into()));
    observer.node(Some(&Node { deleting: true, ..Node::default() }));
    assert_eq!(get(address, "/healthz").await.0, 503);
    assert_eq!(get(address, "/livez").await.0, 200);
    let text = observer.metrics().render().unwrap();
    for series in ["healthz_total{code=\"200\"} 1", "healthz_total{code=\"503\"} 2", "livez_total{code=\"200\"} 2"] {
        assert!(text.contains(&format!("kubeproxy_proxy_{series}")), "{series}");
    }
    servers.shutdown().await;
    assert!(TcpStream::connect(address).is_err(), "nobody listens after shutdown");
}

#[tokio::test]
async fn the_metrics_address_shows_mode_configuration_and_metrics() {
    let servers = observer().serve(&config()).await.unwrap();
    let address = servers.metrics_address().unwrap();
    let (code, head, body) = get(address, "/metrics").await;
    assert_eq!(code, 200);
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("kubeproxy_sync_proxy_rules_duration_seconds_bucket"));
    assert_eq!(get(address, "/proxyMode").await.2, "nftables");
    assert_eq!(get(address, "/healthz").await.2, "ok");
    let (_, head, body) = get(address, "/configz").await;
    assert!(head.contains("application/json"), "{head}");
    assert_eq!(body, r#"{"kubeproxy.config.k8s.io":{"mode":"nftables"}}"#);
    assert_eq!(get(address, "/debug/pprof").await.0, 404);
    servers.shutdown().await;
}

#[tokio::test]
async fn an_address_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let hard = Config { metrics_address: Some(address), ..config() };
    let error = observer().serve(&hard).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("metricsBindAddress {address}: cannot listen: ")), "{error}");
    let servers = observer().serve(&Config { bind_hard_fail: false, ..hard }).await.unwrap();
    assert_eq!(servers.metrics_address(), None);
    let healthz = servers.healthz_address().unwrap();
    assert_eq!(get(healthz, "/healthz").await.0, 503, "the other server runs");
    servers.shutdown().await;
}

#[tokio::test]
async fn an_address_is_taken_over_once_it_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let retry = Duration::from_millis(5);
    let mut waiting = Box::pin(listen(None, "healthzBindAddress", address, retry));
    assert!(tokio::time::timeout(retry * 10, &mut waiting).await.is_err(), "not while it is taken");
    drop(taken);
    let listener = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    assert_eq!(listener.local_addr().unwrap(), address);
}

#[tokio::test]
async fn servers_can_be_switched_off() {
    let off = Config { healthz_address: None, metrics_address: None, ..config() };
    let servers = observer().serve(&off).await.unwrap();
    assert_eq!((servers.healthz_address(), servers.metrics_address()), (None, None));
    servers.shutdown().await;
}

#[tokio::test]
async fn shutdown_does_not_wait_for_an_idle_client() {
    let servers = observer().serve(&config()).await.unwrap();
    let idle = TcpStream::connect(servers.healthz_address().unwrap()).unwrap();
    let stopped = tokio::time::timeout(GRACE * 4, servers.shutdown()).await;
    assert!(stopped.is_ok());
    drop(idle);
}
