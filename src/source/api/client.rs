//! The client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;

use crate::model::ApiConfig;

use super::failure::chain;

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
    let server = kube.cluster_url.to_string();
    Client::try_from(kube).map_err(|error| ConnectError::Client { server, reason: chain(&error) })
}

async fn from_file(path: &Path) -> Result<Config, ConnectError> {
    let refuse = |error: KubeconfigError| match error {
        KubeconfigError::ReadConfig(reason, path) => ConnectError::Unreadable { path, reason },
        other => ConnectError::Kubeconfig { path: path.to_owned(), reason: chain(&other) },
    };
    let file = Kubeconfig::read_from(path).map_err(refuse)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(refuse)
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

    #[tokio::test]
    async fn a_missing_kubeconfig_is_named() {
        let kubeconfig = Some("/nowhere/at-all.kubeconfig".into());
        let said = refusal(ApiConfig { kubeconfig, master: None }).await;
        assert!(said.contains("/nowhere/at-all.kubeconfig") && said.contains("No such file"), "{said}");
    }

    #[tokio::test]
    async fn a_broken_kubeconfig_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broken.kubeconfig");
        std::fs::write(&path, "clusters: 7\n").unwrap();
        let said = refusal(ApiConfig { kubeconfig: Some(path), master: None }).await;
        assert!(said.contains("broken.kubeconfig"), "{said}");
    }

    #[tokio::test]
    async fn a_master_without_a_scheme_is_refused() {
        let said = refusal(ApiConfig { kubeconfig: None, master: Some("10.0.0.1:6443".into()) }).await;
        assert!(said.contains("--master \"10.0.0.1:6443\""), "{said}");
    }

    #[tokio::test]
    async fn a_master_alone_is_enough() {
        let config = ApiConfig { kubeconfig: None, master: Some("http://127.0.0.1:1".into()) };
        assert!(connect(&config).await.is_ok());
    }
}
