//! Netlink sockets for conntrack and for one question to routing. The kernel answers a request before `send` returns, and a dump
//! as it is read: there is nothing to wait for, and no more than a datagram is held.

use netlink_sys::{Socket as NetlinkSocket, SocketAddr};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::netlink::message::{DONE, DUMP_INTERRUPTED, ERROR, Received, messages};

/// One datagram at most: the kernel makes dumps no longer than 32 KiB.
const DATAGRAM: usize = 1 << 16;

/// A socket that asks one thing at a time.
#[derive(Debug)]
pub(super) struct Socket {
    inner: NetlinkSocket,
    seq: u32,
    datagram: Vec<u8>,
}

/// What came of a request.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Errors, one for each message that was refused.
    pub(super) errors: Vec<Errno>,
    /// Whether the last message was answered, or the dump came to its end.
    pub(super) is_complete: bool,
    /// Whether a dump may lack something that moved meanwhile.
    pub(super) is_interrupted: bool,
}

impl Socket {
    /// Opens a socket of a netlink protocol in this thread's network namespace.
    pub(super) fn open(protocol: isize) -> Result<Socket, Errno> {
        let failed = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let mut inner = NetlinkSocket::new(protocol).map_err(failed)?;
        inner.bind(&SocketAddr::new(0, 0)).map_err(failed)?;
        inner.set_cap_ack(true).map_err(failed)?;
        Ok(Socket { inner, seq: 0, datagram: vec![0; DATAGRAM] })
    }

    /// Numbers for so many messages; the first of them.
    pub(super) fn take_numbers(&mut self, count: usize) -> u32 {
        let first = self.seq.wrapping_add(1);
        self.seq = self.seq.wrapping_add(count as u32);
        first
    }

    /// Sends messages, the last of which has the last number taken, and hands on every object of the answer.
    pub(super) fn ask(&mut self, bytes: &[u8], mut each: impl FnMut(Received<'_>)) -> Result<Answers, Errno> {
        self.inner.send(bytes, 0).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let (mut answers, last) = (Answers::default(), self.seq);
        loop {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            let len = match rustix::net::recv(&self.inner, &mut self.datagram[..], flags) {
                Ok((_, len)) => len,
                Err(Errno::AGAIN) => return Ok(answers),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            let datagram = self.datagram.get(..len).ok_or(Errno::MSGSIZE)?;
            for message in messages(datagram) {
                answers.is_interrupted |= message.flags & DUMP_INTERRUPTED != 0;
                match message.kind {
                    ERROR | DONE => {
                        answers.errors.extend(error_in(&message));
                        answers.is_complete |= message.seq == last;
                    }
                    _ => each(message),
                }
            }
        }
    }
}

/// The error an acknowledgement or a dump's end carries.
fn error_in(message: &Received<'_>) -> Option<Errno> {
    let number = i32::from_ne_bytes(message.payload.get(..4)?.try_into().ok()?);
    (number != 0).then(|| Errno::from_raw_os_error(number.saturating_neg()))
}
