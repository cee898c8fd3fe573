//! The binary under test, as a child process on the node.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use super::space::Space;
use super::{Lab, PATIENCE, Place};

/// Where a proxy in a lab answers health probes, on the node.
pub const HEALTHZ: &str = "127.0.0.1:10256";
/// Where a proxy in a lab answers `/metrics`, on the node.
pub const METRICS: &str = "127.0.0.1:10249";
/// From start to the first 200 of `/healthz`.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A running `ferroproxy`. Dropping it kills it; [`Proxy::stop`] asks it to end.
pub struct Proxy {
    child: Child,
    log: NamedTempFile,
}

impl Proxy {
    /// Starts `binary run --manifests DIR --hostname-override NODE` with the lab's addresses and `more` arguments, and
    /// waits until `/healthz` answers 200. The error carries the log.
    pub fn start(lab: &Lab, binary: &Path, manifests: &Path, node_name: &str, more: &[&str]) -> io::Result<Proxy> {
        let manifests = manifests.to_string_lossy();
        let mut args = vec!["run", "--manifests", &manifests, "--hostname-override", node_name];
        args.extend(["--healthz-bind-address", HEALTHZ, "--metrics-bind-address", METRICS]);
        args.extend(more);
        let mut proxy = Proxy::spawn(lab, binary, &args)?;
        proxy.wait_ready(lab)?;
        Ok(proxy)
    }

    /// Starts the binary on the node with exactly these arguments, and does not wait.
    pub fn spawn(lab: &Lab, binary: &Path, args: &[&str]) -> io::Result<Proxy> {
        let log = NamedTempFile::new()?;
        let (stdout, mut command) = (log.reopen()?, Command::new(binary));
        // One open file for both, so that neither overwrites the other.
        command.args(args).stdin(Stdio::null()).stderr(stdout.try_clone()?).stdout(stdout);
        // A group of its own: Ctrl-C in the terminal is for the lab, which then ends the proxy in order.
        command.process_group(0);
        let child = lab.space(Place::Node).run(|| command.spawn())?;
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot run {}: {error}", binary.display()));
        Ok(Proxy { child: child.map_err(named)?, log })
    }

    /// Waits until `/healthz` answers 200; fails at once if the process ends.
    pub fn wait_ready(&mut self, lab: &Lab) -> io::Result<()> {
        let end = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.trouble(&format!("ferroproxy ended before it was ready ({status})")));
            }
            match lab.http_get(HEALTHZ, "/healthz") {
                Ok((200, _)) => return Ok(()),
                answer if Instant::now() > end => {
                    return Err(self.trouble(&format!("ferroproxy is not ready after {READY_WITHIN:?}: {answer:?}")));
                }
                _ => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// What `/metrics` says.
    pub fn metrics(&self, lab: &Lab) -> io::Result<String> {
        Ok(lab.http_get(METRICS, "/metrics")?.1)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// SIGTERM, and the exit status.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(self.trouble("ferroproxy does not end on SIGTERM"))
    }

    fn trouble(&self, what: &str) -> io::Error {
        io::Error::other(format!("{what}; its log:\n{}", self.log()))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP/1.0 GET: status and body. The server closes after it, so there is no length to read.
pub(super) fn http_get(space: &Space, to: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let answer = space.run(|| {
        let mut connection = TcpStream::connect_timeout(&to, PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        write!(connection, "GET {path} HTTP/1.0\r\nHost: {to}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        io::Result::Ok(answer)
    })??;
    let garbled = || io::Error::new(io::ErrorKind::InvalidData, format!("not an HTTP answer: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(garbled)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(garbled)?;
    Ok((status, body.to_owned()))
}
