//! The lock that classical programs share.
//!
//! `iptables-restore --wait` waits for it too, but does not say how long; so its turn is awaited here first, and measured.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

/// Where the lock is.
const LOCK: &str = "/run/xtables.lock";
/// How long is waited here. What is not free then is left to the program's own patience.
const PATIENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(5);

/// What waiting for the lock has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockWait {
    /// How often somebody else had it.
    pub times: u64,
    /// How long that took.
    pub waited: Duration,
}

impl LockWait {
    /// Waits until nobody has the lock. A lock that cannot be looked at is nobody's.
    pub(super) fn wait(&mut self) {
        self.wait_for(Path::new(LOCK), PATIENCE);
    }

    fn wait_for(&mut self, path: &Path, patience: Duration) {
        let Ok(file) = OpenOptions::new().read(true).open(path) else { return };
        if is_free(&file) {
            return;
        }
        let begun = Instant::now();
        while begun.elapsed() < patience && !is_free(&file) {
            sleep(STEP);
        }
        self.times += 1;
        self.waited += begun.elapsed();
    }
}

/// Takes it and gives it back at once.
fn is_free(file: &File) -> bool {
    let taken = flock(file, FlockOperation::NonBlockingLockExclusive).is_ok();
    taken && flock(file, FlockOperation::Unlock).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_others_have_is_waited_for_and_counted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut wait = LockWait::default();
        wait.wait_for(file.path(), PATIENCE);
        assert_eq!(wait, LockWait::default());
        flock(file.as_file(), FlockOperation::LockExclusive).unwrap();
        wait.wait_for(file.path(), Duration::from_millis(20));
        assert_eq!(wait.times, 1);
        assert!(wait.waited >= Duration::from_millis(20));
        flock(file.as_file(), FlockOperation::Unlock).unwrap();
        wait.wait_for(file.path(), PATIENCE);
        assert_eq!(wait.times, 1);
    }
}
