//! The HTTP servers behind `healthCheckNodePort`: a load balancer asks them whether this node has endpoints of a Service.

mod answer;
mod door;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::Observer;
use door::{Door, doors};

/// Between two attempts to have a port that is taken, or an address that is not ready.
const RETRY: Duration = Duration::from_secs(1);

/// Opens and closes servers as the agent wants them, until `stopped` says so.
pub(super) async fn run(observer: Observer, mut stopped: watch::Receiver<bool>) {
    let mut wanted = observer.wanted_health_checks();
    let mut ports = Ports { observer, open: BTreeMap::new(), failed: BTreeSet::new() };
    loop {
        let doors = doors(&wanted.borrow_and_update());
        ports.close_all_but(&doors).await;
        ports.open(doors);
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            // An error means that the sender is gone, which is a stop as well.
            _ = stopped.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(RETRY), if !ports.failed.is_empty() => {}
        }
    }
}

/// The servers that run, and those that could not be had yet.
struct Ports {
    observer: Observer,
    open: BTreeMap<Door, Server>,
    failed: BTreeSet<Door>,
}

impl Ports {
    /// Closes first what is not wanted any more, so that its port is free for whoever wants it now.
    async fn close_all_but(&mut self, wanted: &BTreeSet<Door>) {
        self.failed.retain(|door| wanted.contains(door));
        let gone: Vec<Door> = self.open.keys().filter(|door| !wanted.contains(door)).cloned().collect();
        for door in gone {
            if let Some(server) = self.open.remove(&door) {
                server.close().await;
            }
            info!(service = %door.service, address = %door.address, "the health check server is closed");
        }
    }

    fn open(&mut self, wanted: BTreeSet<Door>) {
        for door in wanted {
            if self.open.contains_key(&door) {
                continue;
            }
            match Server::start(&self.observer, &door) {
                Ok(server) => {
                    self.failed.remove(&door);
                    info!(service = %door.service, address = %door.address, "the health check server listens");
                    self.open.insert(door, server);
                }
                Err(error) => {
                    if !self.failed.contains(&door) {
                        let (service, port) = (&door.service, door.address.port());
                        warn!(%service, address = %door.address, %error, "cannot listen on healthCheckNodePort {port} of Service {service}; trying again");
                        self.failed.insert(door);
                    }
                }
            }
        }
    }
}

/// One server. Dropping it closes its port.
struct Server {
    task: JoinHandle<()>,
    /// Dropped to end connections that are open.
    _stop: oneshot::Sender<()>,
}

impl Server {
    fn start(observer: &Observer, door: &Door) -> io::Result<Server> {
        let listener = door.listen()?;
        let router = answer::router(observer.clone(), door.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = axum::serve(listener, router).with_graceful_shutdown(async move {
            // The sender says nothing; it goes.
            let _ = stopped.await;
        });
        let task = tokio::spawn(async move {
            // It ends only when it is closed.
            let _ = serve.await;
        });
        Ok(Server { task, _stop: stop })
    }

    /// The port is free when this answers.
    async fn close(mut self) {
        self.task.abort();
        // The error is the abort.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
