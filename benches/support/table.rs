//! The table of figures.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

/// One figure.
pub struct Row {
    size: String,
    what: String,
    time: Duration,
    floor: Option<Duration>,
}

impl Row {
    /// A figure, with the floor it is held against.
    pub fn new(size: &str, what: &str, time: Duration, floor: Option<Duration>) -> Row {
        Row { size: size.to_owned(), what: what.to_owned(), time, floor }
    }
}

/// All figures.
pub struct Table(Vec<Row>);

impl Table {
    /// No figures yet.
    pub fn new() -> Table {
        Table(Vec::new())
    }

    /// Adds figures.
    pub fn extend(&mut self, rows: Vec<Row>) {
        self.0.extend(rows);
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("{}", self.markdown());
    }

    /// Writes the table with what it was measured on.
    pub fn write(&self, path: &str) {
        let head = format!(
            "# What `make bench` measured\n\nMedians. Kernel {}, {}, {} cores, {}. A ratio is against the floor of the same run: for a full commit the same \
             batch, encoded before, sent raw; for a change the commit alone.\n\n",
            output("uname", &["-r"]),
            output("nft", &["--version"]),
            std::thread::available_parallelism().map_or(0, usize::from),
            output("date", &["+%Y-%m-%d"]),
        );
        std::fs::write(path, head + &self.markdown()).expect("RESULTS.md can be written");
    }

    fn markdown(&self) -> String {
        let mut text = String::from("| services x endpoints | what | ms | ratio to its floor |\n|---|---|---:|---:|\n");
        for row in &self.0 {
            let ms = row.time.as_secs_f64() * 1e3;
            let ratio = row.floor.map_or(String::new(), |floor| format!("{:.2}", ms / (floor.as_secs_f64() * 1e3)));
            writeln!(text, "| {} | {} | {ms:.3} | {ratio} |", row.size, row.what).expect("text");
        }
        text
    }
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(|_| format!("no {program}"), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}
