use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use super::*;
use crate::model::{HealthChecks, ObjectName, PerFamily, ServiceHealth, SyncKind, SyncReport};
use crate::observe::metrics::test_report;

fn observer() -> Observer {
    let observer = Observer::new(Duration::from_secs(30)).unwrap();
    observer.report(&SyncReport { ended: jiff::Timestamp::now(), ..test_report(SyncKind::Full) });
    observer
}

/// A port nobody has on either loopback address.
fn free_port() -> u16 {
    TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port()
}

fn checks(services: &[(&str, u16, PerFamily<Option<usize>>)]) -> HealthChecks {
    let of = |(name, port, local_endpoints): &(&str, u16, PerFamily<Option<usize>>)| {
        (ObjectName::new("default", *name), ServiceHealth { port: *port, local_endpoints: *local_endpoints })
    };
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].into();
    HealthChecks { addresses, services: services.iter().map(of).collect() }
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn v4(count: usize) -> PerFamily<Option<usize>> {
    PerFamily { v4: Some(count), v6: None }
}

/// The status (0 when nobody listens), the head in lower case, and the body.
fn get(ip: IpAddr, port: u16) -> (u16, String, String) {
    let Ok(mut stream) = TcpStream::connect(SocketAddr::new(ip, port)) else { return Default::default() };
    ask(&mut stream, "close")
}

fn ask(stream: &mut TcpStream, connection: &str) -> (u16, String, String) {
    let _ = write!(stream, "GET /any HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n");
    let mut text = String::new();
    let mut byte = [0; 1];
    // Up to the end of the body, which is a lone brace, or of the connection.
    while !text.ends_with("\n}") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
        text.push(char::from(byte[0]));
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0), head.to_lowercase(), body.to_owned())
}

async fn status(ip: IpAddr, port: u16) -> u16 {
    tokio::task::spawn_blocking(move || get(ip, port).0).await.unwrap()
}

async fn wait_status(ip: IpAddr, port: u16, wanted: u16) {
    let wait = async {
        while status(ip, port).await != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
    assert!(waited.is_ok(), "{ip}:{port} never answered {wanted}");
}

/// An observer whose servers run, and what stops them.
fn running() -> (Observer, watch::Sender<bool>, JoinHandle<()>) {
    let (observer, (stop, stopped)) = (observer(), watch::channel(false));
    let task = tokio::spawn(run(observer.clone(), stopped));
    (observer, stop, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_kube_proxys() {
    let (observer, _stop, _task) = running();
    let port = free_port();
    observer.health_checks(Some(checks(&[("web", port, v4(2))])));
    wait_status(V4, port, 200).await;
    let (code, head, body) = tokio::task::spawn_blocking(move || get(V4, port)).await.unwrap();
    assert_eq!(code, 200);
    for line in
        ["content-type: application/json", "x-content-type-options: nosniff", "x-load-balancing-endpoint-weight: 2"]
    {
        assert!(head.contains(line), "{head}");
    }
    let expected = "{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}";
    assert_eq!(body, expected);
    assert_eq!(status(Ipv6Addr::LOCALHOST.into(), port).await, 0, "the Service has no IPv6");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_family_answers_for_itself() {
    let (observer, _stop, _task) = running();
    let port = free_port();
    let everywhere = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()].into();
    let both = PerFamily { v4: Some(1), v6: Some(0) };
    observer.health_checks(Some(HealthChecks { addresses: everywhere, ..checks(&[("web", port, both)]) }));
    wait_status(V4, port, 200).await;
    wait_status(Ipv6Addr::LOCALHOST.into(), port, 503).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_never_answers_200_again_not_even_over_an_open_connection() {
    let (observer, _stop, _task) = running();
    let port = free_port();
    observer.health_checks(Some(checks(&[("web", port, v4(1))])));
    wait_status(V4, port, 200).await;
    let open = move || {
        let mut stream = TcpStream::connect((V4, port)).unwrap();
        (ask(&mut stream, "keep-alive").0, stream)
    };
    let (code, mut stream) = tokio::task::spawn_blocking(open).await.unwrap();
    assert_eq!(code, 200);
    observer.health_checks(Some(checks(&[])));
    let again = tokio::task::spawn_blocking(move || ask(&mut stream, "close").0).await.unwrap();
    assert_ne!(again, 200);
    wait_status(V4, port, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_local_endpoints_and_while_the_proxy_fails_it_says_503() {
    let (observer, _stop, _task) = running();
    let port = free_port();
    observer.health_checks(Some(checks(&[("web", port, v4(0))])));
    wait_status(V4, port, 503).await;
    observer.health_checks(Some(checks(&[("web", port, v4(3))])));
    assert_eq!(status(V4, port).await, 200, "the next request sees it");
    let mut failed = SyncReport { ended: jiff::Timestamp::now(), ..test_report(SyncKind::Partial) };
    failed.families.v4 = crate::model::FamilyOutcome::Failed("no".to_owned());
    observer.report(&failed);
    assert_eq!(status(V4, port).await, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_had_when_it_is_free() {
    let (observer, stop, task) = running();
    let taken = TcpListener::bind((V4, 0)).unwrap();
    let (port, other) = (taken.local_addr().unwrap().port(), free_port());
    observer.health_checks(Some(checks(&[("web", port, v4(1)), ("other", other, v4(1))])));
    wait_status(V4, other, 200).await;
    drop(taken);
    wait_status(V4, port, 200).await;
    // A port that goes from one Service to another in one step.
    observer.health_checks(Some(checks(&[("zeb", port, v4(0)), ("other", other, v4(1))])));
    wait_status(V4, port, 503).await;
    stop.send_replace(true);
    task.await.unwrap();
    wait_status(V4, port, 0).await;
}
