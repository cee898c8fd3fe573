//! Sockets that std cannot make: connections with a timeout whatever the protocol, SCTP included.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, Protocol, SocketFlags, SocketType, ipproto};

/// A protocol with connections. One socket call is all that differs: accept, read and write are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// TCP.
    Tcp,
    /// SCTP, one-to-one style.
    Sctp,
}

impl Stream {
    fn number(self) -> Protocol {
        match self {
            Stream::Tcp => ipproto::TCP,
            Stream::Sctp => ipproto::SCTP,
        }
    }

    /// Whether this kernel has the protocol.
    pub fn exists(self) -> bool {
        self.socket(AddressFamily::INET).is_ok()
    }

    /// Listens on every address of both families.
    pub fn listen(self, port: u16) -> io::Result<TcpListener> {
        let socket = self.socket(AddressFamily::INET6)?;
        sockopt::set_ipv6_v6only(&socket, false)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        net::bind(&socket, &SocketAddr::from(([0u16; 8], port)))?;
        net::listen(&socket, 1024)?;
        Ok(socket.into())
    }

    /// Connects; reads on the connection time out too.
    pub fn connect(self, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = self.socket(family)?;
        sockopt::set_socket_timeout(&socket, Timeout::Send, Some(timeout))?;
        sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(timeout))?;
        net::connect(&socket, &to)?;
        Ok(socket.into())
    }

    fn socket(self, family: AddressFamily) -> io::Result<OwnedFd> {
        Ok(net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(self.number()))?)
    }
}
