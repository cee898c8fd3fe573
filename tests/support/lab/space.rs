//! One network namespace, made by `ip` and removed on drop.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps the names.
const NAMES: &str = "/run/netns";

/// A named network namespace. Dropping it removes the name; the kernel removes the rest once no socket is left in it.
pub struct Space {
    name: String,
    handle: File,
}

impl Space {
    /// Makes namespaces of these names, all in one call of `ip`.
    pub fn create(names: &[String]) -> io::Result<Vec<Space>> {
        let lines: String = names.iter().map(|name| format!("netns add {name}\n")).collect();
        let made = feed(Command::new("ip").args(["-batch", "-"]), &lines).and_then(succeeded);
        let open = |name: &String| Ok(Space { handle: File::open(Path::new(NAMES).join(name))?, name: name.clone() });
        let spaces = names.iter().map(open).collect();
        if made.is_err() {
            names.iter().for_each(|name| remove(name));
        }
        made.and(spaces)
    }

    /// The name `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A way for a long-lived thread to move in.
    pub fn door(&self) -> io::Result<Door> {
        Ok(Door(self.handle.try_clone()?))
    }

    /// Runs `job` on a thread of its own inside the namespace. Sockets it makes, and processes it starts, belong there.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> io::Result<T> {
        let door = self.door()?;
        let inside = move || door.enter().map(|()| job());
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Feeds lines to `ip -batch` inside the namespace.
    pub fn ip(&self, lines: &str) -> io::Result<()> {
        self.feed("ip", &["-batch", "-"], lines).and_then(succeeded).map(drop)
    }

    /// Writes sysctls, named by their path under `/proc/sys`. One that this kernel has not got is passed over.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> io::Result<()> {
        self.run(|| settings.iter().try_for_each(|(path, value)| set(path, value)))?
    }

    /// Runs a program inside the namespace with `input` on its standard input, and waits for it.
    pub fn feed(&self, program: &str, args: &[&str], input: &str) -> io::Result<Output> {
        self.run(|| feed(Command::new(program).args(args), input))?
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// A handle on a namespace that a thread can take along.
pub struct Door(File);

impl Door {
    /// Moves the calling thread, and nothing else, into the namespace.
    pub fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

/// Removes a namespace by name. Errors are of no use to anyone: it is called when things end.
fn remove(name: &str) {
    let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
}

/// Removes the labs of processes that were killed before they could: the names carry the process id.
pub fn sweep(prefix: &str) {
    let Ok(entries) = fs::read_dir(NAMES) else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(prefix).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            end_orphans(&name);
            remove(&name);
        }
    }
}

/// Ends what still runs in a namespace whose lab is gone: a proxy that nobody stopped.
fn end_orphans(name: &str) {
    let Ok(output) = Command::new("ip").args(["netns", "pids", name]).output() else { return };
    let ids = String::from_utf8_lossy(&output.stdout);
    for process in ids.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)) {
        let _ = kill_process(process, Signal::KILL);
    }
}

/// A program's output if it ended well; else an error that carries what it said.
pub fn succeeded(output: Output) -> io::Result<Output> {
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", output.status, said.trim())))
}

fn set(path: &str, value: &str) -> io::Result<()> {
    match fs::write(Path::new("/proc/sys").join(path), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("sysctl {path}: {error}"))),
        Ok(()) => Ok(()),
    }
}

fn feed(command: &mut Command, input: &str) -> io::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot run {name}: {error}"));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(named)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends before it has read everything says why on its standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}
