//! `conntrack:` of the configuration, written to the kernel's sysctls.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::ConntrackConfig;

/// No limit above this is derived from the number of cores: a large machine would pay for it in memory.
const MOST: u64 = 1_048_576;

/// The limit of entries.
const MAX: &str = "nf_conntrack_max";

/// Entries a hash bucket, on average, when the table is full.
const ENTRIES_PER_BUCKET: u64 = 4;

/// Sets the conntrack sysctls below `root`, for a node of so many cores. The strings are warnings for the log, one for each
/// sysctl that could not be set; outside the initial network namespace `nf_conntrack_max` is read-only and one of them.
///
/// A sysctl that has its value already is not written.
pub fn apply_conntrack(config: &ConntrackConfig, cores: usize, root: &Path) -> Vec<String> {
    let mut host = Host { root, warnings: Vec::new() };
    for (name, value) in conntrack_values(config, cores) {
        match name {
            MAX => host.set_max(value),
            name => drop(host.set(name, value)),
        }
    }
    host.warnings
}

/// The sysctls [`apply_conntrack`] sets, below `net/netfilter`, and their values.
pub fn conntrack_values(config: &ConntrackConfig, cores: usize) -> Vec<(&'static str, u64)> {
    // In whole seconds, as the kernel counts; less than one second is one, because 0 would forget at once.
    let seconds = |timeout: Option<Duration>| timeout.map(|timeout| timeout.as_secs().max(1));
    let values = [
        (MAX, limit(config, cores)),
        ("nf_conntrack_tcp_timeout_established", seconds(config.tcp_established_timeout)),
        ("nf_conntrack_tcp_timeout_close_wait", seconds(config.tcp_close_wait_timeout)),
        ("nf_conntrack_tcp_be_liberal", config.tcp_be_liberal.then_some(1)),
        ("nf_conntrack_udp_timeout", seconds(config.udp_timeout)),
        ("nf_conntrack_udp_timeout_stream", seconds(config.udp_stream_timeout)),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// `maxPerCore` times the cores, at least `min`, the product capped; `None` leaves the limit alone.
fn limit(config: &ConntrackConfig, cores: usize) -> Option<u64> {
    if config.max_per_core == 0 {
        return None;
    }
    let scaled = u64::from(config.max_per_core).saturating_mul(cores as u64);
    let max = if scaled > MOST { MOST } else { scaled.max(u64::from(config.min)) };
    (max > 0).then_some(max)
}

struct Host<'a> {
    root: &'a Path,
    warnings: Vec<String>,
}

impl Host<'_> {
    /// The limit, and a hash table large enough for it.
    fn set_max(&mut self, max: u64) {
        if !self.set(MAX, max) {
            return;
        }
        let path = self.root.join("sys/module/nf_conntrack/parameters/hashsize");
        let wanted = max / ENTRIES_PER_BUCKET;
        match read(&path) {
            Ok(buckets) if buckets >= wanted => {}
            Ok(_) => {
                self.write(&path, wanted);
            }
            Err(error) => self.warnings.push(error),
        }
    }

    /// Whether the sysctl now has the value.
    fn set(&mut self, name: &str, value: u64) -> bool {
        let path: PathBuf = self.root.join("proc/sys/net/netfilter").join(name);
        match read(&path) {
            Ok(current) if current == value => true,
            Ok(_) => self.write(&path, value),
            Err(error) => {
                self.warnings.push(error);
                false
            }
        }
    }

    fn write(&mut self, path: &Path, value: u64) -> bool {
        match fs::write(path, value.to_string()) {
            Ok(()) => true,
            Err(error) => {
                self.warnings.push(format!("conntrack: cannot write {value} to {}: {error}", path.display()));
                false
            }
        }
    }
}

fn read(path: &Path) -> Result<u64, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("conntrack: cannot read {}: {error}", path.display()))?;
    text.trim().parse().map_err(|_| format!("conntrack: {} holds no number: {:?}", path.display(), text.trim()))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const NAMES: [&str; 6] = [
        "nf_conntrack_max",
        "nf_conntrack_tcp_timeout_established",
        "nf_conntrack_tcp_timeout_close_wait",
        "nf_conntrack_tcp_be_liberal",
        "nf_conntrack_udp_timeout",
        "nf_conntrack_udp_timeout_stream",
    ];

    /// A node whose sysctls are all 7 and whose hash table has 1024 buckets.
    fn node() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        let sysctls = root.path().join("proc/sys/net/netfilter");
        let module = root.path().join("sys/module/nf_conntrack/parameters");
        fs::create_dir_all(&sysctls).unwrap();
        fs::create_dir_all(&module).unwrap();
        for name in NAMES {
            fs::write(sysctls.join(name), "7\n").unwrap();
        }
        fs::write(module.join("hashsize"), "1024\n").unwrap();
        root
    }

    fn values(root: &TempDir) -> Vec<Option<u64>> {
        NAMES.iter().map(|name| read(&root.path().join("proc/sys/net/netfilter").join(name)).ok()).collect()
    }

    fn hashsize(root: &TempDir) -> u64 {
        read(&root.path().join("sys/module/nf_conntrack/parameters/hashsize")).unwrap()
    }

    #[test]
    fn the_defaults_set_limit_and_tcp_timeouts() {
        let root = node();
        assert_eq!(apply_conntrack(&ConntrackConfig::default(), 2, root.path()), Vec::<String>::new());
        assert_eq!(values(&root), [131_072, 86_400, 3_600, 7, 7, 7].map(Some));
        assert_eq!(hashsize(&root), 32_768);
    }

    #[test]
    fn everything_set() {
        let root = node();
        let config = ConntrackConfig {
            udp_timeout: Some(Duration::from_secs(30)),
            udp_stream_timeout: Some(Duration::from_millis(100)),
            tcp_be_liberal: true,
            tcp_established_timeout: None,
            max_per_core: 0,
            ..ConntrackConfig::default()
        };
        assert_eq!(apply_conntrack(&config, 64, root.path()), Vec::<String>::new());
        assert_eq!(values(&root), [7, 7, 3_600, 1, 30, 1].map(Some));
        assert_eq!(hashsize(&root), 1024);
    }

    #[test]
    fn a_hash_table_that_is_large_enough_stays() {
        let root = node();
        fs::write(root.path().join("sys/module/nf_conntrack/parameters/hashsize"), "262144").unwrap();
        apply_conntrack(&ConntrackConfig::default(), 16, root.path());
        assert_eq!(hashsize(&root), 262_144);
    }

    #[test]
    fn the_limit_follows_the_cores() {
        let config = |max_per_core, min| ConntrackConfig { max_per_core, min, ..ConntrackConfig::default() };
        assert_eq!(limit(&config(32_768, 131_072), 1), Some(131_072));
        assert_eq!(limit(&config(32_768, 131_072), 8), Some(262_144));
        assert_eq!(limit(&config(32_768, 131_072), 256), Some(MOST));
        assert_eq!(limit(&config(0, 131_072), 8), None);
        assert_eq!(limit(&config(1, 2_000_000), 8), Some(2_000_000));
    }

    #[test]
    fn an_absent_sysctl_is_a_warning_and_costs_nothing_else() {
        let root = node();
        fs::remove_file(root.path().join("proc/sys/net/netfilter/nf_conntrack_max")).unwrap();
        let warnings = apply_conntrack(&ConntrackConfig::default(), 2, root.path());
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("nf_conntrack_max"), "{warnings:?}");
        assert_eq!(values(&root), [None, Some(86_400), Some(3_600), Some(7), Some(7), Some(7)]);
        assert_eq!(hashsize(&root), 1024);
    }
}
