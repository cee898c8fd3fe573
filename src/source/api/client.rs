//! The client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;
use tracing::warn;

use crate::model::ApiConfig;

use super::failure::chain;

/// The Service's address as kubelet tells it to every pod; unlike `KUBERNETES_SERVICE_HOST`, nobody sets it by hand to reach the server directly.
const SERVICE_URL: &str = "KUBERNETES_PORT";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The kubeconfig file is missing or cannot be read.
    #[error("kubeconfig {}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        reason: std::io::Error,
    },
    /// The kubeconfig file says something that cannot be used.
    #[error("kubeconfig {}: {reason}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No kubeconfig was given and there is no in-cluster environment.
    #[error(
        "no kubeconfig was given, and this is no pod of a cluster: {0} (give --kubeconfig, or --manifests for no cluster)"
    )]
    NotInCluster(String),
    /// `--master` is no URL.
    #[error("--master {given:?}: {reason}")]
    Master {
        /// What was given.
        given: String,
        /// What is wrong.
        reason: String,
    },
    /// TLS or credentials cannot be used.
    #[error("cannot make a client for {server}: {reason}")]
    Client {
        /// The API server.
        server: String,
        /// What is wrong.
        reason: String,
    },
}

/// Makes a client as `config` says: a kubeconfig file; else `--master` alone, without credentials; else the in-cluster
/// environment. `--master` overrides the file's server. Nothing is sent yet.
///
/// # Errors
/// When the file, the environment, the URL or the credentials cannot be used.
pub async fn connect(config: &ApiConfig) -> Result<Client, ConnectError> {
    let master = config.master.as_deref().filter(|master| !master.is_empty());
    let mut kube = match (&config.kubeconfig, master) {
        (Some(path), _) => from_file(path).await?,
        (None, Some(master)) => Config::new(server(master)?),
        (None, None) => Config::incluster().map_err(|error| ConnectError::NotInCluster(chain(&error)))?,
    };
    if let Some(master) = master {
        kube.cluster_url = server(master)?;
    }
    kube.connect_timeout = Some(CONNECT_TIMEOUT);
    if kube.cluster_url.scheme_str() == Some("http") || kube.accept_invalid_certs {
        // No certificate will be judged, so this must not fail for want of the system's CAs, which a bare image has not got.
        kube.root_cert.get_or_insert_default();
    }
    let server = kube.cluster_url.to_string();
    if is_behind_service(kube.cluster_url.host().unwrap_or_default(), std::env::var(SERVICE_URL).ok().as_deref()) {
        warn!(
            server,
            "the API server is reached by way of its own Service, which works only while someone's rules are in force: after a \
             boot there is nobody to make them. Name the server itself: clientConnection.kubeconfig, --kubeconfig or --master"
        );
    }
    let own_ca = kube.root_cert.is_some();
    Client::try_from(kube).map_err(|error| ConnectError::Client { server, reason: with_advice(chain(&error), own_ca) })
}

/// Without a CA of its own the kubeconfig relies on the system's, and an image without files has none.
fn with_advice(reason: String, own_ca: bool) -> String {
    if own_ca { reason } else { format!("{reason} (name the server's CA: certificate-authority in the kubeconfig)") }
}

async fn from_file(path: &Path) -> Result<Config, ConnectError> {
    let refuse = |error: KubeconfigError| match error {
        KubeconfigError::ReadConfig(reason, path) => ConnectError::Unreadable { path, reason },
        other => ConnectError::Kubeconfig { path: path.to_owned(), reason: chain(&other) },
    };
    let file = Kubeconfig::read_from(path).map_err(refuse)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(refuse)
}

/// Whether a host is the Service `default/kubernetes`: its cluster IP as the environment tells it, or one of its names.
fn is_behind_service(host: &str, service_url: Option<&str>) -> bool {
    let bare = |host: &str| host.trim_matches(['[', ']']).to_lowercase();
    let authority = service_url.and_then(|url| url.split_once("://")).map(|(_, authority)| authority);
    let address = authority.and_then(|authority| authority.rsplit_once(':')).map(|(address, _)| bare(address));
    let host = bare(host);
    let name = host.trim_end_matches('.');
    address.is_some_and(|address| address == host)
        || ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].contains(&name)
        || name.starts_with("kubernetes.default.svc.")
}

fn server<U: std::str::FromStr<Err: std::fmt::Display>>(given: &str) -> Result<U, ConnectError> {
    let refuse = |reason: String| ConnectError::Master { given: given.to_owned(), reason };
    if !given.starts_with("https://") && !given.starts_with("http://") {
        return Err(refuse("needs to begin with https:// or http://".to_owned()));
    }
    given.parse().map_err(|error: U::Err| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(config: ApiConfig) -> String {
        match connect(&config).await {
            Ok(_) => panic!("{config:?} should have been refused"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_api_servers_own_service_is_known_by_address_and_by_name() {
        let told = Some("tcp://10.96.0.1:443");
        assert!(is_behind_service("10.96.0.1", told));
        assert!(is_behind_service("[fd00:10:96::1]", Some("tcp://[fd00:10:96::1]:443")));
        for name in
            ["kubernetes", "kubernetes.default", "Kubernetes.default.svc", "kubernetes.default.svc.cluster.local."]
        {
            assert!(is_behind_service(name, None), "{name}");
        }
        for host in ["192.0.2.1", "api.example.org", "kubernetes.example.org", "10.96.0.11", ""] {
            assert!(!is_behind_service(host, told), "{host}");
        }
        assert!(!is_behind_service("10.96.0.1", None) && !is_behind_service("10.96.0.1", Some("nonsense")));
    }

    #[tokio::test]
    async fn a_missing_kubeconfig_is_named() {
        let kubeconfig = Some("/nowhere/at-all.kubeconfig".into());
        let said = refusal(ApiConfig { kubeconfig, master: None, ..ApiConfig::default() }).await;
        assert!(said.contains("/nowhere/at-all.kubeconfig") && said.contains("No such file"), "{said}");
    }

    #[tokio::test]
    async fn a_broken_kubeconfig_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broken.kubeconfig");
        std::fs::write(&path, "clusters: 7\n").unwrap();
        let said = refusal(ApiConfig { kubeconfig: Some(path), master: None, ..ApiConfig::default() }).await;
        assert!(said.contains("broken.kubeconfig"), "{said}");
    }

    #[tokio::test]
    async fn a_master_without_a_scheme_is_refused() {
        let said =
            refusal(ApiConfig { kubeconfig: None, master: Some("10.0.0.1:6443".into()), ..ApiConfig::default() }).await;
        assert!(said.contains("--master \"10.0.0.1:6443\""), "{said}");
    }

    #[test]
    fn a_missing_ca_is_advised_only_where_none_is_named() {
        assert_eq!(with_advice("bad key".into(), true), "bad key");
        assert!(with_advice("no CA".into(), false).starts_with("no CA (name the server's CA: certificate-authority"));
    }

    #[tokio::test]
    async fn a_master_alone_is_enough() {
        let config = ApiConfig { kubeconfig: None, master: Some("http://127.0.0.1:1".into()), ..ApiConfig::default() };
        assert!(connect(&config).await.is_ok());
    }
}
