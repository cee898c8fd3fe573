//! How many CPUs the node has.

use std::fs;
use std::path::Path;
use std::thread;

/// The node's online CPUs, from sysfs below `root`; where that cannot be read, the CPUs this process may use.
///
/// sysfs comes first because a CPU limit of the process says nothing about how many connections the node carries.
pub fn cores(root: &Path) -> usize {
    fs::read_to_string(root.join("sys/devices/system/cpu/online"))
        .ok()
        .and_then(|online| count(online.trim()))
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Counts a list like `0-3,6`.
fn count(list: &str) -> Option<usize> {
    list.split(',').map(range).sum::<Option<usize>>().filter(|cores| *cores > 0)
}

fn range(text: &str) -> Option<usize> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| last - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_ranges_are_counted() {
        assert_eq!(count("0-3"), Some(4));
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("0-3,6,8-9"), Some(7));
        for wrong in ["", "x", "3-0", "1-"] {
            assert_eq!(count(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sysfs_comes_first() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("sys/devices/system/cpu");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("online"), "0-63\n").unwrap();
        assert_eq!(cores(root.path()), 64);
    }
}
