//! A netlink socket that asks one thing at a time. The kernel answers a request before `send` returns and a dump as it is read, so there is
//! nothing to wait for.

use std::io;

use netlink_sys::{Socket as NetlinkSocket, SocketAddr};
use rustix::io::Errno;
use rustix::net::{RecvFlags, sockopt};

use crate::netlink::message::{DONE, DUMP_INTERRUPTED, ERROR, Received, messages};

/// One datagram at most: the kernel makes dumps no longer than 32 KiB.
const DATAGRAM: usize = 1 << 16;
/// The last number that is an errno; beyond it, subsystems have numbers of their own.
const LAST_ERRNO: i32 = 4095;
/// `IPSET_ERR_BUSY`: rules refer to the set.
const IPSET_ERR_BUSY: i32 = 4100;
/// A request that lists something others change meanwhile is asked anew so many times.
const TRIES: usize = 20;

/// Who answers: the kernel behind a socket, or one that tests make up.
pub(super) trait Kernel {
    /// Sends messages and hands on every object of the answer. The first error the kernel tells is the answer's.
    fn ask(&mut self, bytes: &[u8], each: impl FnMut(Received<'_>)) -> Result<(), Errno>;

    /// All objects of a listing, as `read` makes them; taken anew while others change what is listed.
    fn list<T>(&mut self, request: &[u8], mut read: impl FnMut(Received<'_>) -> Option<T>) -> Result<Vec<T>, Errno> {
        for _ in 0..TRIES {
            let mut found = Vec::new();
            match self.ask(request, |message| found.extend(read(message))) {
                Ok(()) => return Ok(found),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::INTR)
    }
}

/// An open socket.
pub(super) struct Socket {
    inner: NetlinkSocket,
    datagram: Vec<u8>,
}

impl Socket {
    /// Opens a socket of a netlink protocol in this thread's network namespace.
    pub(super) fn open(protocol: isize) -> io::Result<Socket> {
        let mut inner = NetlinkSocket::new(protocol)?;
        inner.bind(&SocketAddr::new(0, 0))?;
        inner.set_cap_ack(true)?;
        // A table of thousands of services is deleted and acknowledged in one message; listing it is many.
        let _ = sockopt::set_socket_recv_buffer_size(&inner, 1 << 20);
        Ok(Socket { inner, datagram: vec![0; DATAGRAM] })
    }

    /// The length of the next datagram, if there is one.
    fn receive(&mut self) -> Result<Option<usize>, Errno> {
        loop {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            match rustix::net::recv(&self.inner, &mut self.datagram[..], flags) {
                Ok((_, len)) => return Ok(Some(len)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Kernel for Socket {
    fn ask(&mut self, bytes: &[u8], mut each: impl FnMut(Received<'_>)) -> Result<(), Errno> {
        let failed = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        self.inner.send(bytes, 0).map_err(failed)?;
        let (mut first, mut is_interrupted) = (None, false);
        while let Some(len) = self.receive()? {
            for message in messages(self.datagram.get(..len).ok_or(Errno::MSGSIZE)?) {
                is_interrupted |= message.flags & DUMP_INTERRUPTED != 0;
                match message.kind {
                    ERROR | DONE => first = first.or(error_in(&message)),
                    _ => each(message),
                }
            }
        }
        match first {
            Some(error) => Err(error),
            None if is_interrupted => Err(Errno::INTR),
            None => Ok(()),
        }
    }
}

/// The error an acknowledgement or a dump's end carries.
fn error_in(message: &Received<'_>) -> Option<Errno> {
    let number = i32::from_ne_bytes(message.payload.get(..4)?.try_into().ok()?);
    match number.saturating_neg() {
        0 => None,
        IPSET_ERR_BUSY => Some(Errno::BUSY),
        number @ 1..=LAST_ERRNO => Some(Errno::from_raw_os_error(number)),
        _ => Some(Errno::PROTO),
    }
}
