//! Only one ferroproxy writes the rules of a network namespace: it holds an abstract socket name, which ends with the process.

use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rustix::net::sockopt::socket_peercred;
use tracing::{info, warn};

/// The name, in the network namespace.
const NAME: &str = "ferroproxy/lock";
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a wait is told of again.
const REMIND: Duration = Duration::from_secs(60);

/// Held as long as the value lives.
#[derive(Debug)]
pub(super) struct Lock {
    _listener: Option<UnixListener>,
}

/// What a try to take the lock came to.
enum Attempt {
    Taken(Lock),
    /// The words say by whom.
    Held(String),
}

impl Lock {
    /// Takes the lock at once, or says who has it.
    pub(super) fn take() -> anyhow::Result<Lock> {
        match Lock::attempt()? {
            Attempt::Taken(lock) => Ok(lock),
            Attempt::Held(by) => Err(held(&by)),
        }
    }

    /// Takes the lock, once the process that has it has ended; waits so long for that, or for ever.
    pub(super) async fn wait(patience: Option<Duration>) -> anyhow::Result<Lock> {
        let (begun, mut told) = (Instant::now(), None::<Instant>);
        loop {
            let by = match Lock::attempt()? {
                Attempt::Taken(lock) => return Ok(lock),
                Attempt::Held(by) => by,
            };
            if patience.is_some_and(|patience| begun.elapsed() >= patience) {
                return Err(held(&by));
            }
            if told.is_none_or(|told| told.elapsed() >= REMIND) {
                info!("another ferroproxy runs in this network namespace ({by}); waiting for it to end");
                told = Some(Instant::now());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn attempt() -> anyhow::Result<Attempt> {
        let address = SocketAddr::from_abstract_name(NAME).context("cannot name the lock")?;
        loop {
            match UnixListener::bind_addr(&address) {
                Ok(listener) => return Ok(Attempt::Taken(hold(listener))),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(error) => return Err(error).context("cannot take the lock of this network namespace"),
            }
            match holder(&address) {
                // It ended meanwhile.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => return Ok(Attempt::Held(format!("it does not say who it is: {error}"))),
                Ok(holder) if holder.is_trusted() => return Ok(Attempt::Held(format!("pid {}", holder.pid))),
                Ok(holder) => {
                    warn!(pid = holder.pid, uid = holder.uid, "a stranger holds the lock @{NAME}; going on without it");
                    return Ok(Attempt::Taken(Lock { _listener: None }));
                }
            }
        }
    }
}

fn held(by: &str) -> anyhow::Error {
    anyhow!("another ferroproxy runs in this network namespace ({by}): stop it first")
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
