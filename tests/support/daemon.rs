//! The binary as a child process in a network namespace.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use super::netns::Netns;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_ferroproxy");
/// Long enough for anything that will come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running `ferroproxy`. Dropping it kills it.
pub struct Daemon<'a> {
    netns: &'a Netns,
    child: Child,
    log: NamedTempFile,
}

/// What a command that ended left behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the binary in the namespace to its end.
pub fn ferroproxy(netns: &Netns, args: &[&str]) -> Ended {
    program(netns, BINARY, args)
}

/// Runs any program in the namespace to its end.
pub fn program(netns: &Netns, program: &str, args: &[&str]) -> Ended {
    let output = netns.enter(|| clean(program).args(args).output()).expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// The program without what the environment of the test would say to it.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for name in ["NODE_NAME", "RUST_LOG", "KUBECONFIG", "KUBERNETES_SERVICE_HOST"] {
        command.env_remove(name);
    }
    command
}

impl<'a> Daemon<'a> {
    /// Starts the binary with these arguments.
    pub fn start(netns: &'a Netns, args: &[&str]) -> Daemon<'a> {
        Daemon::start_by(netns, &[BINARY], args)
    }

    /// Starts the binary by way of other programs that take its path and arguments, `setpriv` for one; they come first, [`BINARY`] last.
    pub fn start_by(netns: &'a Netns, words: &[&str], args: &[&str]) -> Daemon<'a> {
        let log = NamedTempFile::new().expect("a log");
        let file = log.reopen().expect("a log");
        let (program, rest) = words.split_first().expect("a program");
        let spawn =
            || clean(program).args(rest).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        Daemon { netns, child: netns.enter(spawn).expect("it starts"), log }
    }

    /// The process's number; the binary's own where the programs before it have become it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts the binary with these arguments and this for its log.
    pub fn start_with_stderr(netns: &'a Netns, args: &[&str], stderr: Stdio) -> Daemon<'a> {
        let spawn = || clean(BINARY).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn();
        Daemon { netns, child: netns.enter(spawn).expect("it starts"), log: NamedTempFile::new().expect("a log") }
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// Waits for a line of the log.
    pub fn wait_log(&self, text: &str) {
        self.wait_for(text, || self.log().contains(text));
    }

    /// Waits until something is so; fails with the log.
    pub fn wait_for(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < end, "waited in vain for: {what}\n{}", self.log());
            sleep(Duration::from_millis(20));
        }
    }

    /// Waits until `/healthz` answers 200.
    pub fn wait_ready(&self) {
        self.wait_for("/healthz to answer 200", || self.get(10256, "/healthz").0 == 200);
    }

    /// An HTTP GET on loopback: status (0 when nobody answers) and body.
    pub fn get(&self, port: u16, path: &str) -> (u16, String) {
        self.netns.enter(|| get(port, path)).unwrap_or_default()
    }

    /// Waits until it ends by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < end, "it does not end\n{}", self.log());
            sleep(Duration::from_millis(10));
        }
    }

    /// SIGTERM, and its exit status.
    pub fn stop(mut self) -> ExitStatus {
        self.tell_to_stop()
    }

    /// The same, and its log can still be read.
    pub fn tell_to_stop(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        self.ended()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(port: u16, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    Ok((status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

/// A namespace whose loopback works.
pub fn namespace(what: &str) -> Netns {
    let netns = Netns::new(what);
    assert_eq!(program(&netns, "ip", &["link", "set", "lo", "up"]).code, Some(0));
    netns
}

/// Writes a file in a directory and answers its path as text.
pub fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).expect("written");
    path.to_string_lossy().into_owned()
}

/// Runs a command with this input to its end.
pub fn feed(command: &mut Command, input: &str) -> std::process::Output {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}
