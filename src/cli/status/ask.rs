//! Asking the admin endpoint.

use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::model::AdminSocket;
use crate::observe::Status;

/// How long the process may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the process behind the socket tells of itself.
pub(super) fn ask(socket: &AdminSocket) -> anyhow::Result<Status> {
    let mut stream = connect(socket).with_context(|| {
        format!("no ferroproxy answers at {socket}: does it run, in this network namespace, with this --admin-socket?")
    })?;
    let answer = exchange(&mut stream).with_context(|| format!("ferroproxy did not answer at {socket}"))?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("ferroproxy closed {socket} without an answer: only root and its own user may ask")
    };
    if !head.starts_with("HTTP/1.1 200") {
        bail!("{socket} answers {:?}", head.lines().next().unwrap_or_default());
    }
    serde_json::from_str(body).with_context(|| format!("what {socket} answers is no status of ferroproxy"))
}

fn connect(socket: &AdminSocket) -> io::Result<UnixStream> {
    match socket {
        AdminSocket::Abstract(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
        AdminSocket::Path(path) => UnixStream::connect(path),
    }
}

fn exchange(stream: &mut UnixStream) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /status HTTP/1.1\r\nhost: ferroproxy\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
