//! The process's own figures under the names every Prometheus client uses, read from procfs when they are asked for.

use std::fs;

use prometheus::{Counter, IntGauge, Opts, Registry};

use super::metrics::registered;

/// Clock ticks a second in `/proc/PID/stat`: USER_HZ, 100 on every architecture Rust's Linux targets have.
const TICKS: f64 = 100.0;

/// `process_...`.
#[derive(Debug)]
pub(super) struct Process {
    cpu: Counter,
    resident: IntGauge,
    virtual_size: IntGauge,
    open_fds: IntGauge,
    threads: IntGauge,
    started: IntGauge,
}

impl Process {
    pub(super) fn register(registry: &Registry) -> Result<Process, prometheus::Error> {
        let gauge = |name, help| registered(registry, IntGauge::with_opts(Opts::new(name, help)));
        let process = Process {
            cpu: registered(registry, Counter::new("process_cpu_seconds_total", "CPU time in user and system"))?,
            resident: gauge("process_resident_memory_bytes", "Resident memory")?,
            virtual_size: gauge("process_virtual_memory_bytes", "Virtual memory")?,
            open_fds: gauge("process_open_fds", "Open file descriptors")?,
            threads: gauge("process_threads", "Threads")?,
            started: gauge("process_start_time_seconds", "Start of the process, Unix time")?,
        };
        process.started.set(start_time().unwrap_or_default());
        Ok(process)
    }

    /// Reads the figures; what cannot be read keeps its last value.
    pub(super) fn refresh(&self) {
        if let Some(cpu) = cpu_seconds(&read("/proc/self/stat")) {
            self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
        }
        let status = read("/proc/self/status");
        for (gauge, field, unit) in
            [(&self.resident, "VmRSS:", 1024), (&self.virtual_size, "VmSize:", 1024), (&self.threads, "Threads:", 1)]
        {
            if let Some(value) = number_after(&status, field) {
                gauge.set(value * unit);
            }
        }
        if let Ok(fds) = fs::read_dir("/proc/self/fd") {
            self.open_fds.set(fds.count() as i64);
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Fields of `/proc/self/stat` that follow the command's name, which may itself hold spaces and parentheses.
fn stat_fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace().collect())
}

/// User and system time: fields 14 and 15 of the file, 12 and 13 after the name.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields = stat_fields(stat)?;
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// Boot time plus field 22, the start in ticks since boot.
fn start_time() -> Option<i64> {
    let stat = read("/proc/self/stat");
    let ticks: f64 = stat_fields(&stat)?.get(19)?.parse().ok()?;
    Some(number_after(&read("/proc/stat"), "btime ")? + (ticks / TICKS) as i64)
}

fn number_after(text: &str, field: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 4 0 1234 1 2";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn figures_of_this_process_are_plausible() {
        let process = Process::register(&Registry::new()).unwrap();
        process.refresh();
        assert!(process.resident.get() > 100_000, "{}", process.resident.get());
        assert!(process.virtual_size.get() >= process.resident.get());
        assert!(process.open_fds.get() >= 3 && process.threads.get() >= 1);
        assert!(process.started.get() > 1_500_000_000, "{}", process.started.get());
    }
}
