//! Only one ferroproxy writes the rules of a network namespace: it holds an abstract socket name, which ends with the process.

use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::net::sockopt::socket_peercred;
use tracing::{info, warn};

/// The name, in the network namespace.
const NAME: &str = "ferroproxy/lock";
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Held as long as the value lives.
#[derive(Debug)]
pub(super) struct Lock {
    _listener: Option<UnixListener>,
}

impl Lock {
    /// Takes the lock; waits so long for another process to end.
    pub(super) fn take(patience: Duration) -> anyhow::Result<Lock> {
        let address = SocketAddr::from_abstract_name(NAME).context("cannot name the lock")?;
        let end = Instant::now() + patience;
        let mut told = false;
        loop {
            match UnixListener::bind_addr(&address) {
                Ok(listener) => return Ok(hold(listener)),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(error) => return Err(error).context("cannot take the lock of this network namespace"),
            }
            match holder(&address) {
                // It ended meanwhile.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Ok(holder) if !holder.is_trusted() => {
                    warn!(pid = holder.pid, uid = holder.uid, "a stranger holds the lock @{NAME}; going on without it");
                    return Ok(Lock { _listener: None });
                }
                Ok(holder) if Instant::now() >= end => {
                    bail!("another ferroproxy runs in this network namespace (pid {}): stop it first", holder.pid)
                }
                Ok(holder) if !told => {
                    info!(pid = holder.pid, "another ferroproxy runs in this network namespace; waiting for it to end");
                    told = true;
                }
                Err(error) if Instant::now() >= end => {
                    return Err(error).context("another ferroproxy runs in this network namespace");
                }
                _ => {}
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Takes whoever asks off the queue, so that it never fills.
fn hold(listener: UnixListener) -> Lock {
    if let Ok(asked) = listener.try_clone() {
        thread::spawn(move || asked.incoming().for_each(drop));
    }
    Lock { _listener: Some(listener) }
}

/// The process that holds the lock.
struct Holder {
    pid: i32,
    uid: u32,
}

impl Holder {
    /// Anybody may take a name; only root's and our own user's word counts.
    fn is_trusted(&self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
    }
}

fn holder(address: &SocketAddr) -> io::Result<Holder> {
    let peer = socket_peercred(UnixStream::connect_addr(address)?)?;
    Ok(Holder { pid: peer.pid.as_raw_nonzero().get(), uid: peer.uid.as_raw() })
}
