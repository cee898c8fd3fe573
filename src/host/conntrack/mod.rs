//! The reconciler: deletes conntrack entries of UDP and SCTP that would keep sending packets to an endpoint that is gone.
//!
//! A nat rule sees only a flow's first packet; a client that keeps its port keeps its flow, whatever the rules say by now. TCP
//! is left alone: its connections end by themselves. It works on a thread of its own, beside the syncs, over what changed since
//! its last look; the first look is over everything, and deletes only what is proven stale.

mod flow;
mod ledger;
mod local;
mod socket;
mod sweep;
mod wire;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

pub use flow::{Frontend, NodePortScope, PortFlows};
use ledger::Ledger;
use sweep::{Failure, Table};
use wire::Question;

use crate::model::{Family, ObjectName, PerFamily};

/// After a look that took so long, this many times as long is rested: a large table costs a tenth of one core at most.
const REST: u32 = 9;
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// How long to wait before a look that failed is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// A warning is not repeated within this time.
const WARN_EVERY: Duration = Duration::from_secs(600);

/// What is to come into force with the next transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// The services that change, each with its UDP and SCTP ports; none when it is gone.
    pub services: Vec<(ObjectName, Vec<PortFlows>)>,
    /// Where node ports answer, if that changes.
    pub scope: Option<PerFamily<NodePortScope>>,
}

/// The running reconciler. Dropping it ends its thread after the look it is at.
#[derive(Debug)]
pub struct Conntrack {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    books: Mutex<Books>,
    wake: Condvar,
}

#[derive(Debug)]
struct Books {
    families: PerFamily<Ledger>,
    is_over: bool,
}

impl Conntrack {
    /// Starts the thread, in this thread's network namespace. `report` hears of every look: family, how long it took, entries deleted.
    ///
    /// # Errors
    /// That of starting a thread.
    pub fn start(report: impl Fn(Family, Duration, usize) + Send + 'static) -> io::Result<Conntrack> {
        let books = Books { families: PerFamily::default(), is_over: false };
        let shared = Arc::new(Shared { books: Mutex::new(books), wake: Condvar::new() });
        let seen = shared.clone();
        thread::Builder::new().name("conntrack".to_owned()).spawn(move || work(&seen, report))?;
        Ok(Conntrack { shared })
    }

    /// Whether anybody listens: not once the kernel has refused for good.
    pub fn is_on(&self) -> bool {
        !self.shared.lock().is_over
    }

    /// Before a transaction: flows to these endpoints are healthy from now on. Blocks for no longer than a few look-ups take.
    pub fn announce(&self, announcement: Announcement) {
        let mut books = self.shared.lock();
        if books.is_over {
            return;
        }
        for family in Family::ALL {
            let ledger = books.families.get_mut(family);
            if let Some(scope) = &announcement.scope {
                ledger.announce_scope(scope.get(family).clone());
            }
            for (name, ports) in &announcement.services {
                let of_family = ports.iter().filter(|port| port.family == family).cloned().collect();
                ledger.announce(name.clone(), of_family);
            }
        }
    }

    /// After a transaction: what was announced is in force for the family, and what left it is looked for.
    pub fn settle(&self, family: Family) {
        let mut books = self.shared.lock();
        if !books.is_over {
            books.families.get_mut(family).settle();
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Conntrack {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Books> {
        // No panic leaves the books half written: every change is a plain store.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to look at; `None` when it is over.
    fn next(&self) -> Option<(Family, Vec<Question>)> {
        let mut books = self.lock();
        loop {
            if books.is_over {
                return None;
            }
            let due = Family::ALL.into_iter().find(|family| books.families.get(*family).is_due());
            let Some(family) = due else {
                books = self.wake.wait(books).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let ledger = books.families.get_mut(family);
            match ledger.begin() {
                none if none.is_empty() => ledger.finish(true),
                questions => return Some((family, questions)),
            }
        }
    }

    /// Rests, whatever comes, unless it is over.
    fn rest(&self, time: Duration) {
        let _ = self.wake.wait_timeout_while(self.lock(), time, |books| !books.is_over);
    }

    /// Nobody will look any more: what was noted is forgotten.
    fn end(&self) {
        let mut books = self.lock();
        books.is_over = true;
        books.families = PerFamily::default();
    }
}

/// Looks at what is due until it is over.
fn work(shared: &Shared, report: impl Fn(Family, Duration, usize)) {
    let (mut table, mut warned): (Option<Table>, Option<Instant>) = (None, None);
    while let Some((family, questions)) = shared.next() {
        let begun = Instant::now();
        let outcome = look(shared, &mut table, family, &questions);
        let took = begun.elapsed();
        shared.lock().families.get_mut(family).finish(outcome.is_ok());
        match outcome {
            Ok(deleted) => {
                debug!(%family, ?took, deleted, "stale conntrack entries looked for");
                report(family, took, deleted);
                shared.rest(took.saturating_mul(REST).min(LONGEST_REST));
            }
            Err(failure @ Failure::Never(_)) => {
                warn!(%failure, "stale UDP and SCTP flows will not be removed from conntrack");
                return shared.end();
            }
            Err(failure @ Failure::Later(_)) => {
                if warned.is_none_or(|at| at.elapsed() > WARN_EVERY) {
                    warn!(%family, %failure, "looking for stale conntrack entries failed; it will be tried again");
                    warned = Some(Instant::now());
                }
                table = None;
                shared.rest(AFTER_FAILURE);
            }
        }
    }
}

fn look(shared: &Shared, table: &mut Option<Table>, family: Family, questions: &[Question]) -> Result<usize, Failure> {
    let table = match table {
        Some(table) => table,
        None => table.insert(Table::open()?),
    };
    // The books are asked anew for each flow: what was announced meanwhile counts.
    table.sweep(family, questions, |flow, locality| {
        shared.lock().families.get(family).is_stale(flow, |ip| locality.is_local(ip))
    })
}
