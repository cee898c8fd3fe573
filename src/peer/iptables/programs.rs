//! The iptables binaries of the host: those that print rules and those that take them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::parse::{Save, parse};
use crate::model::Family;

/// Where binaries are looked for, beside `PATH`.
const PLACES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"];

/// Which of the two implementations, whose rules stand side by side in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// iptables-nft: nf_tables in the tables `nat`, `filter` and so on.
    Nft,
    /// iptables-legacy: the older ip_tables.
    Legacy,
    /// `iptables-save` without a variant in its name.
    Unnamed,
}

impl Variant {
    /// What comes between `iptables` and `save`.
    fn infix(self) -> &'static str {
        match self {
            Variant::Nft => "-nft",
            Variant::Legacy => "-legacy",
            Variant::Unnamed => "",
        }
    }
}

/// The two binaries of one variant and family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// The variant.
    pub variant: Variant,
    /// The family.
    pub family: Family,
    save: PathBuf,
    restore: PathBuf,
}

/// The binaries that are here; where the variants are there by name, the one without is one of them.
pub fn programs(family: Family) -> Vec<Programs> {
    let of = |variant| find(variant, family);
    let named: Vec<_> = [Variant::Nft, Variant::Legacy].into_iter().filter_map(of).collect();
    if named.is_empty() { of(Variant::Unnamed).into_iter().collect() } else { named }
}

/// The tables of iptables-legacy that the kernel holds in this network namespace, binary or not.
pub fn legacy_tables(family: Family, root: &Path) -> Vec<String> {
    let file = match family {
        Family::V4 => "proc/net/ip_tables_names",
        Family::V6 => "proc/net/ip6_tables_names",
    };
    let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn find(variant: Variant, family: Family) -> Option<Programs> {
    let prefix = if family == Family::V4 { "iptables" } else { "ip6tables" };
    let program = |what: &str| on_path(&format!("{prefix}{}-{what}", variant.infix()));
    Some(Programs { variant, family, save: program("save")?, restore: program("restore")? })
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(PLACES.iter().map(PathBuf::from));
    places.map(|place| place.join(name)).find(|file| file.is_file())
}

impl Programs {
    /// How a user calls it.
    pub fn name(&self) -> String {
        let save = self.save.file_name().unwrap_or_default().to_string_lossy().into_owned();
        save.trim_end_matches("-save").to_owned()
    }

    /// What the kernel holds.
    ///
    /// # Errors
    /// When the binary cannot be run, or what it says when it fails.
    pub fn save(&self) -> io::Result<Save> {
        let output = Command::new(&self.save).stdin(Stdio::null()).output()?;
        match output.status.success() {
            true => Ok(parse(&String::from_utf8_lossy(&output.stdout))),
            false => Err(said(&self.save, &output.stderr)),
        }
    }

    /// Takes a removal: all of a table or nothing of it.
    ///
    /// # Errors
    /// As [`Programs::save`].
    pub fn restore(&self, text: &str) -> io::Result<()> {
        let mut command = Command::new(&self.restore);
        // iptables-legacy waits for whoever else is at it.
        command.args(["-w", "10", "--noflush"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // If it ends early, its own words say why.
            let _ = input.write_all(text.as_bytes());
        }
        let output = child.wait_with_output()?;
        if output.status.success() { Ok(()) } else { Err(said(&self.restore, &output.stderr)) }
    }
}

fn said(program: &Path, stderr: &[u8]) -> io::Error {
    let words = String::from_utf8_lossy(stderr);
    let words: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    io::Error::other(format!("{}: {}", program.display(), words.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_tables_are_those_the_kernel_names() {
        let root = tempfile::TempDir::new().unwrap();
        assert_eq!(legacy_tables(Family::V4, root.path()), Vec::<String>::new());
        std::fs::create_dir_all(root.path().join("proc/net")).unwrap();
        std::fs::write(root.path().join("proc/net/ip6_tables_names"), "nat\nfilter\n").unwrap();
        assert_eq!(legacy_tables(Family::V6, root.path()), ["nat", "filter"]);
    }

    #[test]
    fn a_binary_that_fails_is_quoted() {
        let programs = Programs {
            variant: Variant::Nft,
            family: Family::V4,
            save: "/bin/sh".into(),
            restore: "/bin/false".into(),
        };
        assert!(programs.restore("").unwrap_err().to_string().starts_with("/bin/false"));
    }
}
