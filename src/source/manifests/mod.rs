//! A directory of manifests as a source.
//!
//! `*.yaml`, `*.yml` and `*.json` files count, in the order of their names, but for those that begin with a dot. What cannot be
//! read costs only itself, and the objects a file gave before it broke stay in force until it is good again.

mod documents;
mod inventory;
mod object;
mod scan;
mod watch;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::Event;

use super::node::normalised;
use inventory::Inventory;
use scan::Scanner;

pub use watch::stream;

/// Why there are no manifests.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The directory cannot be read.
    #[error("manifests {}: the directory cannot be read: {reason}", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// The operating system's words.
        reason: std::io::Error,
    },
}

/// Reads the directory once: the events of a full list of every kind, rejections before the objects.
///
/// Of the Nodes only `node_name` counts.
///
/// # Errors
/// When the directory cannot be read. Files that cannot be read are rejections.
pub fn load(dir: &Path, node_name: &str) -> Result<Vec<Event>, ManifestError> {
    let mut scanner = Scanner::new(dir, &normalised(node_name));
    Ok(Inventory::of(scanner.scan()?).full())
}
