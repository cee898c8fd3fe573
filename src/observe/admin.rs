//! The local admin endpoint: a unix socket that tells `ferroproxy status` what this process does. Only root and the process's own user
//! are answered.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener as Listener, UnixStream as Stream};
use std::path::Path;
use std::{fs, time};

use tokio::net::{UnixListener, UnixStream, unix};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::Observer;
use super::http::routes;
use crate::model::AdminSocket;

/// After an accept that failed: descriptors may be short for a moment.
const PAUSE: time::Duration = time::Duration::from_millis(500);

/// Serves until `stopped` says so. Without the socket everything else works, so a failure is a warning.
pub(super) fn start(
    socket: &AdminSocket,
    observer: Observer,
    mut stopped: watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    let bound = listen(socket).and_then(|listener| {
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    });
    let listener = bound
        .inspect_err(|error| warn!(%socket, %error, "no admin endpoint: `ferroproxy status` will not work"))
        .ok()?;
    Some(tokio::spawn(async move {
        let until = async move {
            // An error means that the sender is gone, which is a stop as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let served = axum::serve(Door(listener), routes::admin(observer)).with_graceful_shutdown(until).await;
        let _ = served.inspect_err(|error| warn!(%error, "the admin endpoint ended"));
    }))
}

fn listen(socket: &AdminSocket) -> io::Result<Listener> {
    match socket {
        AdminSocket::Abstract(name) => Listener::bind_addr(&SocketAddr::from_abstract_name(name)?),
        AdminSocket::Path(path) => listen_at(path),
    }
}

/// A socket file that nobody answers is a dead process's, and is replaced.
fn listen_at(path: &Path) -> io::Result<Listener> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    if Stream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        fs::remove_file(path)?;
    }
    let listener = Listener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Lets in who may ask.
struct Door(UnixListener);

impl axum::serve::Listener for Door {
    type Io = UnixStream;
    type Addr = unix::SocketAddr;

    async fn accept(&mut self) -> (UnixStream, unix::SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((stream, address)) if may_ask(&stream) => return (stream, address),
                Ok(_) => debug!("a stranger asked the admin endpoint, and was not answered"),
                Err(error) => {
                    debug!(%error, "the admin endpoint cannot accept");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<unix::SocketAddr> {
        self.0.local_addr()
    }
}

fn may_ask(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}
