//! The HTTP servers: health on one address, metrics and configuration on another.

pub(super) mod routes;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Observer;
use super::{admin, service_health};
use crate::model::Config;

/// Between two attempts to bind an address that is taken.
const RETRY: Duration = Duration::from_secs(5);

/// How long open connections may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(2);

/// An address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("{field} {address}: cannot listen: {source} (choose another address, or \"none\" to switch this server off)")]
pub struct BindError {
    /// `healthzBindAddress` or `metricsBindAddress`.
    pub field: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

/// The running servers. Dropping it stops them at once.
#[derive(Debug)]
pub struct Servers {
    healthz: Option<Server>,
    metrics: Option<Server>,
    /// The health check servers of Services.
    services: Server,
    admin: Option<Server>,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Server {
    /// Where it listens; `None` while the address is still taken.
    address: Option<SocketAddr>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server to be, its address bound if possible.
struct Bound {
    field: &'static str,
    address: SocketAddr,
    listener: Option<TcpListener>,
    router: Router,
}

impl Servers {
    /// Binds everything first, so that a failure leaves nothing running.
    pub(super) async fn start(observer: Observer, config: &Config) -> Result<Servers, BindError> {
        let hard = config.bind_hard_fail;
        let healthz = routes::healthz(observer.clone());
        let healthz = bind("healthzBindAddress", config.healthz_address, healthz, hard).await?;
        let metrics = routes::metrics(observer.clone(), config);
        let metrics = bind("metricsBindAddress", config.metrics_address, metrics, hard).await?;
        let (stop, stopped) = watch::channel(false);
        let admin = config.admin.as_ref().and_then(|socket| admin::start(socket, observer.clone(), stopped.clone()));
        let admin = admin.map(|task| Server { address: None, task });
        let spawn = |bound: Bound| bound.spawn(stopped.clone());
        let services = tokio::spawn(service_health::run(observer, stopped.clone()));
        let services = Server { address: None, task: services };
        Ok(Servers { healthz: healthz.map(spawn), metrics: metrics.map(spawn), services, admin, stop })
    }

    /// Where `/healthz` and `/livez` are served, once bound at the start.
    pub fn healthz_address(&self) -> Option<SocketAddr> {
        self.healthz.as_ref()?.address
    }

    /// Where `/metrics` is served, once bound at the start.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.address
    }

    /// Stops listening and lets open requests end, for a short while.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        for mut server in [self.healthz, self.metrics, Some(self.services), self.admin].into_iter().flatten() {
            if tokio::time::timeout(GRACE, &mut server.task).await.is_err() {
                tracing::debug!("a connection to an HTTP server did not end in time");
            }
        }
    }
}

async fn bind(
    field: &'static str,
    address: Option<SocketAddr>,
    router: Router,
    hard: bool,
) -> Result<Option<Bound>, BindError> {
    let Some(address) = address else { return Ok(None) };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => Some(listener),
        Err(source) if hard => return Err(BindError { field, address, source }),
        Err(source) => {
            let error = BindError { field, address, source };
            tracing::warn!(%error, "trying again every {} s", RETRY.as_secs());
            None
        }
    };
    Ok(Some(Bound { field, address, listener, router }))
}

impl Bound {
    fn spawn(self, stopped: watch::Receiver<bool>) -> Server {
        let address = self.listener.as_ref().and_then(|listener| listener.local_addr().ok());
        Server { address, task: tokio::spawn(self.run(stopped)) }
    }

    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut stop = stopped.clone();
        let listener = tokio::select! {
            listener = listen(self.listener, self.field, self.address, RETRY) => listener,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let until = async move {
            // An error means that the sender is gone, which is a stop as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        if let Err(error) = axum::serve(listener, self.router).with_graceful_shutdown(until).await {
            tracing::error!(field = self.field, address = %self.address, %error, "the HTTP server ended");
        }
    }
}

/// The listener that is there, or the first that can be had.
async fn listen(
    listener: Option<TcpListener>,
    field: &'static str,
    address: SocketAddr,
    retry: Duration,
) -> TcpListener {
    if let Some(listener) = listener {
        return listener;
    }
    loop {
        tokio::time::sleep(retry).await;
        match TcpListener::bind(address).await {
            Ok(listener) => {
                tracing::info!(field, %address, "listening at last");
                return listener;
            }
            Err(error) => tracing::debug!(field, %address, %error, "cannot listen yet"),
        }
    }
}

#[cfg(test)]
mod tests;
