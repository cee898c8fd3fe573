//! A network namespace of a test's own, removed when the test ends, also by a panic.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A named network namespace.
pub struct Netns {
    name: String,
}

/// Whether this process may make namespaces. A test that may not says so; where `CI` is set it fails.
pub fn is_possible() -> bool {
    let possible = rustix::process::geteuid().is_root();
    if !possible {
        eprintln!("\n*** NOT RUN: this test needs root to make network namespaces ***\n");
        assert!(std::env::var_os("CI").is_none(), "the kernel tests must run where CI is set");
    }
    possible
}

impl Netns {
    /// Makes a namespace; `what` is a part of its name.
    pub fn new(what: &str) -> Netns {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let netns = Netns { name: format!("fp-{what}-{}-{count}", std::process::id()) };
        run(Command::new("ip").args(["netns", "add", &netns.name]));
        netns
    }

    /// The namespace's name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `body` on a thread in the namespace. A panic in it goes on here.
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        let inside = || {
            let namespace = File::open(&path).unwrap_or_else(|e| panic!("open {path}: {e}"));
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("enter the namespace");
            body()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// `nft list ruleset` in the namespace; fails if nft fails.
    pub fn nft_list(&self) -> String {
        run(self.command("nft").args(["list", "ruleset"]))
    }

    /// `nft -f -` with this text; fails if nft fails.
    pub fn nft_load(&self, text: &str) {
        let output = self.nft_try(&["-f", "-"], text);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "nft -f refused:\n{error}\n{text}");
    }

    /// nft with these arguments and this input.
    pub fn nft_try(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command("nft");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start nft");
        child.stdin.take().expect("nft's input").write_all(input.as_bytes()).expect("write to nft");
        child.wait_with_output().expect("wait for nft")
    }

    /// A command that runs in the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).stderr(Stdio::null()).status();
    }
}

/// Runs a command and gives what it printed; fails with its errors.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed ({}):\n{error}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
