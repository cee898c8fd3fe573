//! Is a kube-proxy running here?

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// Where kube-proxy serves its metrics unless it is told otherwise.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10249);
/// Long enough for an answer over loopback.
const PATIENCE: Duration = Duration::from_secs(2);
/// More of an answer is not read.
const MOST: u64 = 1 << 20;

/// What speaks for a running kube-proxy; `None` when nothing does.
///
/// Looks at the names of processes in this network namespace (those this process's pid namespace shows) and at who serves metrics on port 10249 of loopback:
/// a container that shares the host's network but not its processes sees it there.
pub fn kube_proxy(root: &Path) -> Option<String> {
    by_name(root).or_else(by_metrics)
}

fn by_name(root: &Path) -> Option<String> {
    let processes = fs::read_dir(root.join("proc")).ok()?;
    let mut named = processes.flatten().filter_map(|process| {
        let id: u32 = process.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(process.path().join("comm")).ok()?;
        (name.trim() == "kube-proxy" && is_here(root, &process.path())).then_some(id)
    });
    named.next().map(|id| format!("process {id} is called kube-proxy"))
}

/// Whether a process is in our network namespace. One that cannot be asked counts as if it were.
fn is_here(root: &Path, process: &Path) -> bool {
    let namespace = |process: &Path| fs::read_link(process.join("ns/net")).ok();
    let (its, ours) = (namespace(process), namespace(&root.join("proc/self")));
    its.is_none() || ours.is_none() || its == ours
}

fn by_metrics() -> Option<String> {
    let text = get(METRICS, "/metrics").ok()?;
    is_kube_proxys(&text).then(|| format!("{METRICS} serves kube-proxy's metrics"))
}

/// ferroproxy serves those names too, and its own besides.
fn is_kube_proxys(metrics: &str) -> bool {
    metrics.contains("\nkubeproxy_") && !metrics.contains("\nferroproxy_")
}

fn get(from: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&from, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {from}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    connection.take(MOST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_by_its_name() {
        let root = tempfile::TempDir::new().unwrap();
        let process = |id: &str, name: &str| {
            let dir = root.path().join("proc").join(id);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("comm"), format!("{name}\n")).unwrap();
        };
        process("1", "systemd");
        process("net", "kube-proxy");
        assert_eq!(by_name(root.path()), None);
        process("4711", "kube-proxy");
        assert_eq!(by_name(root.path()), Some("process 4711 is called kube-proxy".to_owned()));
    }

    #[test]
    fn a_process_in_another_network_namespace_is_none_of_ours() {
        let root = tempfile::TempDir::new().unwrap();
        let process = |id: &str, namespace: &str| {
            let dir = root.path().join("proc").join(id);
            fs::create_dir_all(dir.join("ns")).unwrap();
            fs::write(dir.join("comm"), "kube-proxy\n").unwrap();
            std::os::unix::fs::symlink(namespace, dir.join("ns/net")).unwrap();
        };
        process("self", "net:[1]");
        process("8", "net:[2]");
        assert_eq!(by_name(root.path()), None);
        process("9", "net:[1]");
        assert_eq!(by_name(root.path()), Some("process 9 is called kube-proxy".to_owned()));
    }

    #[test]
    fn ferroproxys_metrics_are_not_taken_for_kube_proxys() {
        assert!(is_kube_proxys("x\nkubeproxy_sync_proxy_rules_duration_seconds_sum 1\n"));
        assert!(!is_kube_proxys("x\nkubeproxy_sync 1\nferroproxy_build_info 1\n"));
    }
}
