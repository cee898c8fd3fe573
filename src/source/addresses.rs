//! The addresses on the interfaces of this host's network namespace, as rtnetlink tells them.

mod message;

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use thiserror::Error;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::WeakUnboundedSender;
use tokio::time::{Instant, sleep, timeout_at};

use crate::model::Event;
use message::{Reading, request};

/// The groups IPV4_IFADDR and IPV6_IFADDR of rtnetlink, as a mask.
const GROUPS: u32 = 1 << 4 | 1 << 8;
/// Changes this close together are told together: interfaces of pods come in swarms.
const QUIET: Duration = Duration::from_millis(50);
/// No change waits longer than this for others.
const BURST: Duration = Duration::from_millis(500);
/// Between two tries after an error.
const AGAIN: Duration = Duration::from_secs(1);
/// A list that changed while the kernel told it is asked for anew, so many times.
const TRIES: usize = 10;

/// The kernel does not tell the local addresses.
#[derive(Debug, Error)]
#[error("cannot learn the local addresses from rtnetlink: {0}")]
pub struct AddressError(#[from] io::Error);

/// All addresses on interfaces now, loopback included.
///
/// # Errors
/// When the kernel cannot be asked.
pub fn local() -> Result<BTreeSet<IpAddr>, AddressError> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    for _ in 0..TRIES {
        socket.send(&request(), 0)?;
        let mut reading = Reading::default();
        while !reading.is_done() {
            reading.take(&socket.recv_from_full()?.0)?;
        }
        if let Some(addresses) = reading.finish() {
            return Ok(addresses);
        }
    }
    Err(io::Error::new(ErrorKind::Interrupted, "they change faster than they can be read").into())
}

/// Tells the addresses at the start and whenever they change.
///
/// What a notification says is not looked at: it is a reason to read the whole list anew, so a lost one is made good by the next.
pub(super) struct Watch {
    notices: AsyncFd<Socket>,
    told: BTreeSet<IpAddr>,
    entrance: WeakUnboundedSender<Vec<Event>>,
}

impl Watch {
    /// Listens first, then tells what there is: nothing falls between.
    pub(super) fn start(entrance: WeakUnboundedSender<Vec<Event>>) -> Result<Watch, AddressError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; what it asks for holds: the socket keeps its descriptor to itself"
        )]
        let notices = AsyncFd::new(socket)?;
        let watch = Watch { notices, told: local()?, entrance };
        watch.tell();
        Ok(watch)
    }

    /// Follows the addresses until the feed has ended.
    pub(super) async fn run(mut self) {
        loop {
            if let Err(error) = self.swarm().await {
                tracing::debug!(%error, "notices of addresses were lost");
            }
            match local() {
                Ok(now) if now == self.told => {}
                Ok(now) => {
                    self.told = now;
                    if !self.tell() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "trying again; what was known stays in force");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Says whether someone is there to hear it.
    fn tell(&self) -> bool {
        let batch = vec![Event::LocalAddresses(self.told.clone())];
        self.entrance.upgrade().is_some_and(|sender| sender.send(batch).is_ok())
    }

    /// Waits for a notice, and until a burst of them is over.
    async fn swarm(&self) -> io::Result<()> {
        self.notice().await?;
        let end = Instant::now() + BURST;
        while let Ok(noticed) = timeout_at(end.min(Instant::now() + QUIET), self.notice()).await {
            noticed?;
        }
        Ok(())
    }

    /// Reads one notice. An overrun of the socket is an error, and as good a reason to look.
    async fn notice(&self) -> io::Result<()> {
        loop {
            let mut ready = self.notices.readable().await?;
            match ready.try_io(|socket| socket.get_ref().recv_from_full()) {
                Ok(read) => return read.map(drop),
                Err(_would_block) => {}
            }
        }
    }
}
