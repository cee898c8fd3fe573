//! A copy of `manifests/demo/` that the story may edit.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

const ORIGINAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo");
/// The file that holds the endpoints of `web`.
const ENDPOINTS: &str = "web-endpoints.yaml";

/// The directory the daemon watches, and one beside it for what comes next.
pub(crate) struct Manifests {
    live: TempDir,
    next: TempDir,
}

impl Manifests {
    /// Copies the demo's manifests.
    pub(crate) fn copy() -> Result<Manifests> {
        let manifests = Manifests { live: TempDir::new()?, next: TempDir::new()? };
        for entry in fs::read_dir(ORIGINAL).with_context(|| format!("cannot read {ORIGINAL}"))? {
            let entry = entry?;
            for copy in [&manifests.live, &manifests.next] {
                fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
            }
        }
        Ok(manifests)
    }

    /// What the daemon watches.
    pub(crate) fn live(&self) -> &Path {
        self.live.path()
    }

    /// What it will watch after [`Manifests::apply`].
    pub(crate) fn next(&self) -> &Path {
        self.next.path()
    }

    /// File names and the first words of each file.
    pub(crate) fn summary(&self) -> Result<Vec<(String, String)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.live())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let text = self.read(&name)?;
            let comment = text.lines().next().unwrap_or_default().trim_start_matches("# ");
            files.push((
                name,
                comment.split_once(". ").map_or(comment, |(first, _)| first).trim_end_matches('.').to_owned(),
            ));
        }
        files.sort();
        Ok(files)
    }

    /// A file's text.
    pub(crate) fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.live().join(name)).with_context(|| format!("cannot read {name}"))
    }

    /// Writes, beside, the manifests with `web` on its first `count` endpoints.
    pub(crate) fn prepare(&self, count: usize) -> Result<()> {
        let original = fs::read_to_string(Path::new(ORIGINAL).join(ENDPOINTS))?;
        let (mut kept, mut seen) = (String::new(), 0);
        for line in original.lines() {
            seen = if line.starts_with("endpoints:") { 0 } else { seen + usize::from(line.contains("addresses:")) };
            if !line.contains("addresses:") || seen <= count {
                kept += &format!("{line}\n");
            }
        }
        Ok(fs::write(self.next().join(ENDPOINTS), kept)?)
    }

    /// Puts what was prepared into force: a rename, as a careful writer does.
    pub(crate) fn apply(&self) -> Result<()> {
        let draft = self.live().join(".web-endpoints.tmp");
        fs::copy(self.next().join(ENDPOINTS), &draft)?;
        Ok(fs::rename(draft, self.live().join(ENDPOINTS))?)
    }
}
