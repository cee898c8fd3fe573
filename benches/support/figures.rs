//! Figures: rows of the table, and what is made of many times.

use std::time::{Duration, Instant};

/// One figure of a size, with the floor it is held against, and the peer's where one was measured.
#[derive(Clone, Debug)]
pub struct Row {
    /// The section of the table.
    pub section: &'static str,
    /// What was measured.
    pub what: String,
    size: String,
    value: f64,
    unit: Unit,
    floor: Option<f64>,
    peer: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Ms,
    Us,
    Mb,
    Percent,
    Count,
}

impl Row {
    fn new(size: &str, what: &str, value: f64, unit: Unit) -> Row {
        Row { section: "", what: what.to_owned(), size: size.to_owned(), value, unit, floor: None, peer: None }
    }

    /// The same in a section of the table.
    pub fn within(mut self, section: &'static str) -> Row {
        self.section = section;
        self
    }

    /// A time in milliseconds.
    pub fn ms(size: &str, what: &str, time: Duration) -> Row {
        Row::new(size, what, time.as_secs_f64() * 1e3, Unit::Ms)
    }

    /// A time in microseconds.
    pub fn us(size: &str, what: &str, time: Duration) -> Row {
        Row::new(size, what, time.as_secs_f64() * 1e6, Unit::Us)
    }

    /// Memory, told in MB of 1,000,000 bytes.
    pub fn mb(size: &str, what: &str, bytes: u64) -> Row {
        Row::new(size, what, bytes as f64 / 1e6, Unit::Mb)
    }

    /// A share of one core.
    pub fn share(size: &str, what: &str, share: f64) -> Row {
        Row::new(size, what, share * 100.0, Unit::Percent)
    }

    /// A plain number.
    pub fn count(size: &str, what: &str, count: f64) -> Row {
        Row::new(size, what, count, Unit::Count)
    }

    /// The same with its floor.
    pub fn over(mut self, floor: Duration) -> Row {
        let floor = floor.as_secs_f64() * if self.unit == Unit::Us { 1e6 } else { 1e3 };
        // Less than the clock can tell is no floor.
        self.floor = (floor > 0.0).then_some(floor);
        self
    }

    /// The same with what the peer takes.
    pub fn peer(mut self, peer: Duration) -> Row {
        self.peer = Some(peer.as_secs_f64() * if self.unit == Unit::Us { 1e6 } else { 1e3 });
        self
    }

    /// The same with the memory the peer takes.
    pub fn peer_bytes(mut self, bytes: u64) -> Row {
        self.peer = Some(bytes as f64 / 1e6);
        self
    }

    /// The cells of the table.
    pub fn cells(&self) -> [String; 6] {
        let unit = match self.unit {
            Unit::Ms => "ms",
            Unit::Us => "µs",
            Unit::Mb => "MB",
            Unit::Percent => "% of a core",
            Unit::Count => "",
        };
        let number = |value: f64| if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
        let value =
            if self.unit == Unit::Count { format!("{}", self.value) } else { format!("{} {unit}", number(self.value)) };
        let ratio = self.floor.map_or(String::new(), |floor| format!("{:.2}", self.value / floor));
        let (floor, peer) = (self.floor.map_or(String::new(), number), self.peer.map_or(String::new(), number));
        [self.size.clone(), self.what.clone(), value, floor, ratio, peer]
    }

    /// The figure as a time, where it is one in milliseconds.
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.value / 1e3)
    }

    /// Whether a peer was measured.
    pub fn has_peer(&self) -> bool {
        self.peer.is_some()
    }
}

/// Times some work of this thread: by the clock, and on the processor. Both are the same on a quiet machine: the kernel commits in the
/// thread that sends. On a busy one the second says what the work costs.
pub struct Stopwatch {
    begun: Instant,
    cpu: Duration,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Stopwatch {
        Stopwatch { begun: Instant::now(), cpu: on_cpu() }
    }

    /// Time by the clock, and time on the processor.
    pub fn read(&self) -> (Duration, Duration) {
        (self.begun.elapsed(), on_cpu().saturating_sub(self.cpu))
    }
}

/// Processor time of this thread so far.
fn on_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

/// The shortest one.
pub fn least(times: Vec<Duration>) -> Duration {
    times.into_iter().min().unwrap_or_default()
}

/// The middle one.
pub fn median(times: Vec<Duration>) -> Duration {
    percentile(&mut times.clone(), 0.5)
}

/// The one that this share of all are at most.
pub fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort();
    times[(((times.len() - 1) as f64) * share).round() as usize]
}

/// The exponent `e` of the curve `c * n^e` that fits the points best: least squares of the logarithms.
pub fn exponent(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(n, t)| (n.ln(), t.ln())).collect();
    let count = logs.len() as f64;
    let (x, y) = logs.iter().fold((0.0, 0.0), |(x, y), (a, b)| (x + a / count, y + b / count));
    let (cov, var) = logs.iter().fold((0.0, 0.0), |(c, v), (a, b)| (c + (a - x) * (b - y), v + (a - x).powi(2)));
    cov / var
}
