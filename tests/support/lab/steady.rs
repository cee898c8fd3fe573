//! A client that never stops asking: "no connection fails while the service scales".

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::client::{Connection, Outcome, Refusal};
use super::socket::Stream;
use super::space::Door;

/// What a steady client has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers by the server's name.
    pub answers: BTreeMap<String, usize>,
    /// Failures by kind.
    pub failures: BTreeMap<Refusal, usize>,
}

impl Tally {
    /// All connections tried.
    pub fn attempts(&self) -> usize {
        self.answered() + self.failed()
    }

    /// Connections that were answered.
    pub fn answered(&self) -> usize {
        self.answers.values().sum()
    }

    /// Connections that were not.
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// Counts one outcome.
    pub fn count(&mut self, outcome: Outcome) {
        match outcome {
            Ok(answer) => *self.answers.entry(answer.name).or_default() += 1,
            Err(refusal) => *self.failures.entry(refusal).or_default() += 1,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.answers.iter().map(|(name, count)| format!("{name} {count}"));
        let failures = self.failures.iter().map(|(refusal, count)| format!("{refusal} {count}"));
        f.write_str(&answers.chain(failures).collect::<Vec<_>>().join(", "))
    }
}

/// A thread that opens one connection after the other, `pace` apart.
pub struct Steady {
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Steady {
    /// Starts asking `to` over TCP from behind `door`.
    pub fn start(door: Door, to: SocketAddr, pace: Duration, timeout: Duration) -> Steady {
        let (tally, stop) = (Arc::new(Mutex::new(Tally::default())), Arc::new(AtomicBool::new(false)));
        let (counted, seen) = (tally.clone(), stop.clone());
        let thread = thread::spawn(move || {
            door.enter()?;
            while !seen.load(Ordering::Relaxed) {
                let outcome = Connection::open(Stream::Tcp, to, timeout).map(|connection| connection.answer().clone());
                counted.lock().expect("nobody panics with the tally in hand").count(outcome);
                thread::sleep(pace);
            }
            Ok(())
        });
        Steady { tally, stop, thread: Some(thread) }
    }

    /// What it has seen so far.
    pub fn so_far(&self) -> Tally {
        self.tally.lock().expect("nobody panics with the tally in hand").clone()
    }

    /// Waits until the tally satisfies `wanted`; the error is the tally at the deadline.
    pub fn wait_for(&self, wanted: impl Fn(&Tally) -> bool, deadline: Duration) -> Result<Tally, Tally> {
        let end = Instant::now() + deadline;
        loop {
            let tally = self.so_far();
            match wanted(&tally) {
                true => return Ok(tally),
                false if Instant::now() > end => return Err(tally),
                false => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Waits until `more` connections were tried after this call.
    pub fn wait_for_more(&self, more: usize, deadline: Duration) -> Result<Tally, Tally> {
        let goal = self.so_far().attempts() + more;
        self.wait_for(|tally| tally.attempts() >= goal, deadline)
    }

    /// Stops asking and answers the whole tally.
    pub fn stop(mut self) -> io::Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let ended =
            self.thread.take().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.unwrap_or(Ok(()))?;
        Ok(self.so_far())
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
