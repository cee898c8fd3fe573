//! A TCP relay from a namespace's loopback to the same address outside: for an API server on this machine's loopback.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::lab::Space;

/// Listens on `address` inside the namespace and hands every connection to `address` outside. Ends with the process.
pub fn relay(space: &Space, address: SocketAddr) -> io::Result<()> {
    let listener = space.run(|| TcpListener::bind(address))??;
    thread::spawn(move || hand_on(&listener, address));
    Ok(())
}

/// Hands every connection on, for as long as there are any.
pub fn hand_on(listener: &TcpListener, to: SocketAddr) {
    while let Ok((inside, _)) = listener.accept() {
        if let Ok(outside) = TcpStream::connect(to) {
            let _ = (inside.set_nodelay(true), outside.set_nodelay(true));
            join(&inside, &outside);
            join(&outside, &inside);
        }
    }
}

fn join(from: &TcpStream, to: &TcpStream) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}
