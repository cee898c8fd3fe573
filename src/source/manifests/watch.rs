//! Follows the directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedSender, channel, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::model::{Event, ObjectKind};
use crate::source::feed::{Feed, SourceStats};
use crate::source::node::normalised;

use super::ManifestError;
use super::inventory::Inventory;
use super::scan::Scanner;

/// Changes this close together are read together, but none waits longer than the second time.
const QUIET: Duration = Duration::from_millis(50);
const BURST: Duration = Duration::from_millis(500);
/// How often the directory is read without having been told: a second line. More often when nobody can tell us.
const RESCAN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_secs(2);

/// Reads the directory, tells full lists of every kind, and then what changes. Needs a tokio runtime.
///
/// A directory that vanishes later on leaves everything in force until it is there again.
///
/// # Errors
/// When the directory cannot be read now.
pub fn stream(dir: &Path, node_name: &str) -> Result<Feed, ManifestError> {
    let (sender, events) = unbounded_channel();
    let stats = Arc::new(SourceStats::default());
    let mut scanner = Scanner::new(dir, &normalised(node_name));
    let inventory = Inventory::of(scanner.scan()?);
    let _ = sender.send(inventory.full());
    let follower = Follower { scanner, inventory, stats: stats.clone(), readable: true };
    let (entrance, mut tasks) = (sender.downgrade(), JoinSet::new());
    tasks.spawn(run(dir.to_owned(), follower, sender));
    Ok(Feed { events, stats, entrance, tasks })
}

async fn run(dir: PathBuf, mut follower: Follower, sender: UnboundedSender<Vec<Event>>) {
    let (wake, mut woken) = channel(1);
    let mut alarm = Alarm::new(&dir, wake);
    while !sender.is_closed() {
        let armed = alarm.arm();
        // Read only once it is armed: what changes from here on wakes us.
        let Ok((read_by, batch)) = tokio::task::spawn_blocking(move || follower.read()).await else { return };
        follower = read_by;
        if !batch.is_empty() {
            let _ = sender.send(batch);
        }
        let pause = if armed && follower.readable { RESCAN } else { POLL };
        tokio::select! {
            _ = woken.recv() => settle(&mut woken).await,
            () = sleep(pause) => {}
            () = sender.closed() => return,
        }
    }
}

/// Waits until a burst of changes is over.
async fn settle(woken: &mut Receiver<()>) {
    let begun = Instant::now();
    while begun.elapsed() < BURST && timeout(QUIET, woken.recv()).await.is_ok() {}
}

/// Reads the directory and tells what changed.
struct Follower {
    scanner: Scanner,
    inventory: Inventory,
    stats: Arc<SourceStats>,
    readable: bool,
}

impl Follower {
    fn read(mut self) -> (Self, Vec<Event>) {
        match self.scanner.scan() {
            Ok(files) => {
                let now = Inventory::of(files);
                let batch = now.since(&self.inventory);
                (self.inventory, self.readable) = (now, true);
                (self, batch)
            }
            Err(error) => {
                self.stats.count(ObjectKind::Manifest);
                if self.readable {
                    tracing::warn!(%error, "what was read before stays in force");
                }
                self.readable = false;
                (self, Vec::new())
            }
        }
    }
}

/// Wakes the reader when something happens to the directory: inside it, or to itself.
struct Alarm {
    dir: PathBuf,
    watcher: Option<RecommendedWatcher>,
}

impl Alarm {
    fn new(dir: &Path, wake: Sender<()>) -> Alarm {
        let dir = anchored(dir);
        let ours = dir.clone();
        let told = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| matters(&event, &ours)) {
                // A wake that waits already is enough.
                let _ = wake.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(told);
        let watcher = watcher.inspect_err(|error| tracing::warn!(%error, "changes are looked for every {POLL:?}")).ok();
        Alarm { dir, watcher }
    }

    /// Watches the directory of this name as it is now: it may be another one than last time. Says whether that worked.
    fn arm(&mut self) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        for path in self.dir.parent().into_iter().chain([self.dir.as_path()]) {
            let _ = watcher.unwatch(path);
            if let Err(error) = watcher.watch(path, RecursiveMode::NonRecursive) {
                tracing::debug!(%error, path = %path.display(), "cannot be watched");
                return false;
            }
        }
        true
    }
}

/// The path with everything but its last part resolved: so a last part that is a symlink can be seen to change.
fn anchored(dir: &Path) -> PathBuf {
    let parent = dir.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    let anchored = match (parent, dir.file_name()) {
        (Some(parent), Some(name)) => parent.canonicalize().map(|parent| parent.join(name)),
        _ => dir.canonicalize(),
    };
    anchored.unwrap_or_else(|_| dir.to_owned())
}

/// Whether an event is about the directory or what stands in it, and is more than somebody (we) reading.
fn matters(event: &notify::Event, dir: &Path) -> bool {
    let read = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
    let about_us = event.paths.iter().any(|path| path == dir || path.parent() == Some(dir));
    !read && (about_us || event.need_rescan())
}
