//! Echo servers: each answers one line, `name=<pod> client=<source address>`, to a connection, a further line or a datagram.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};

use super::socket::Stream;
use super::space::Space;

/// How long an idle connection may go on after its server was told to stop.
const LINGER: Duration = Duration::from_millis(100);

/// A running server. Dropping it closes its socket: the next client is refused.
pub struct Echo {
    socket: OwnedFd,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Serves connections in `space` on `port`, both families.
    pub fn stream(space: &Space, name: &str, stream: Stream, port: u16) -> io::Result<Echo> {
        let listener = space.run(|| stream.listen(port))??;
        let socket = listener.try_clone()?.into();
        Ok(Echo::start(socket, name, move |name, stop| accept_all(&listener, &name, &stop)))
    }

    /// Serves datagrams in `space` on `port`, both families.
    pub fn datagrams(space: &Space, name: &str, port: u16) -> io::Result<Echo> {
        let server = space.run(|| UdpSocket::bind(SocketAddr::from(([0u16; 8], port))))??;
        let socket = server.try_clone()?.into();
        Ok(Echo::start(socket, name, move |name, stop| answer_all(&server, &name, &stop)))
    }

    fn start(socket: OwnedFd, name: &str, serve: impl FnOnce(String, Arc<AtomicBool>) + Send + 'static) -> Echo {
        let stop = Arc::new(AtomicBool::new(false));
        let (name, seen) = (name.to_owned(), stop.clone());
        Echo { socket, stop, thread: Some(thread::spawn(move || serve(name, seen))) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread: accept fails, a datagram read ends. UDP says "not connected" and wakes all the same.
        let _ = shutdown(&self.socket, Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The line a client at `peer` gets.
fn line(name: &str, peer: SocketAddr) -> String {
    format!("name={name} client={}\n", peer.ip().to_canonical())
}

fn accept_all(listener: &TcpListener, name: &str, stop: &Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((connection, peer)) = listener.accept() else { continue };
        let (line, stop) = (line(name, peer), stop.clone());
        thread::spawn(move || converse(connection, &line, &stop));
    }
}

/// Says the line at once, and again for whatever the client says, until the client hangs up.
fn converse(mut connection: TcpStream, line: &str, stop: &AtomicBool) -> Option<()> {
    connection.set_read_timeout(Some(LINGER)).ok()?;
    connection.write_all(line.as_bytes()).ok()?;
    let mut heard = [0; 64];
    loop {
        match connection.read(&mut heard) {
            Ok(0) => return None,
            Ok(_) => connection.write_all(line.as_bytes()).ok()?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !stop.load(Ordering::Relaxed) => {}
            Err(_) => return None,
        }
    }
}

fn answer_all(server: &UdpSocket, name: &str, stop: &AtomicBool) {
    let mut heard = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((_, peer)) = server.recv_from(&mut heard) {
            let _ = server.send_to(line(name, peer).as_bytes(), peer);
        }
    }
}
