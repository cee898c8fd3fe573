//! The directory to files.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::{ObjectKind, Rejection};
use crate::source::intern::Interner;

use super::ManifestError;
use super::documents::{Broken, json, yaml};
use super::object::{Key, Object, Reader};

/// An object and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// `None` for an object that does not count.
    pub(super) object: Option<Arc<Object>>,
    /// `file (document N)`.
    pub(super) place: Arc<str>,
}

/// What a file gives.
#[derive(Debug, Default)]
pub(super) struct File {
    /// A hash of its bytes: a file that did not change is not parsed again.
    hash: Option<u64>,
    /// Its objects, in its order; those it gave before it broke come last.
    pub(super) entries: Vec<Entry>,
    /// What could not be used of it.
    pub(super) rejections: Vec<Rejection>,
    broken: bool,
}

/// Reads the directory, again and again.
pub(super) struct Scanner {
    dir: PathBuf,
    node_name: String,
    names: Interner,
    files: BTreeMap<String, Arc<File>>,
}

impl Scanner {
    pub(super) fn new(dir: &Path, node_name: &str) -> Self {
        let (names, files) = Default::default();
        Scanner { dir: dir.to_owned(), node_name: node_name.to_owned(), names, files }
    }

    /// Reads what there is now: the files by name.
    pub(super) fn scan(&mut self) -> Result<&BTreeMap<String, Arc<File>>, ManifestError> {
        let names = list(&self.dir).map_err(|reason| ManifestError::Unreadable { path: self.dir.clone(), reason })?;
        let mut files = BTreeMap::new();
        for name in names {
            let before = self.files.get(&name).cloned();
            if let Some(file) = self.file(&name, before) {
                files.insert(name, file);
            }
        }
        self.files = files;
        Ok(&self.files)
    }

    fn file(&mut self, name: &str, before: Option<Arc<File>>) -> Option<Arc<File>> {
        let path = self.dir.join(name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(_) if path.is_dir() => return None,
            Err(error) => {
                let mut file = File::default();
                file.reject(name.to_owned(), "", format!("the file cannot be read: {error}"));
                return Some(Arc::new(file.keeping(before.as_deref())));
            }
        };
        let hash = Some(hash(&bytes));
        if let Some(before) = before.as_ref().filter(|before| before.hash == hash) {
            return Some(before.clone());
        }
        let mut file = self.parse(name, bytes).keeping(before.as_deref());
        file.hash = hash;
        Some(Arc::new(file))
    }

    fn parse(&mut self, name: &str, bytes: Vec<u8>) -> File {
        let mut file = File::default();
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                file.reject(name.to_owned(), "", format!("the file is not UTF-8: {error}"));
                return file;
            }
        };
        let documents = if name.to_lowercase().ends_with(".json") { json(&text) } else { yaml(&text) };
        for (number, document) in documents {
            let place = format!("{name} (document {number})");
            match document {
                Ok(document) => {
                    let mut reader = Reader { node_name: &self.node_name, names: &mut self.names };
                    file.add(&place, reader.read(document));
                }
                Err(Broken { line, reason }) => {
                    file.reject(place, &line.map(|line| format!("line {line}")).unwrap_or_default(), reason);
                }
            }
        }
        file
    }
}

impl File {
    fn add(&mut self, place: &str, reading: super::object::Reading) {
        for (field, reason) in reading.broken {
            self.reject(place.to_owned(), &field, reason);
        }
        self.rejections.extend(reading.rejections);
        let place: Arc<str> = place.into();
        let entries = reading.objects.into_iter();
        self.entries.extend(entries.map(|(key, object)| Entry {
            key,
            object: object.map(Arc::new),
            place: place.clone(),
        }));
    }

    /// The file, or a document of it, cannot be read.
    fn reject(&mut self, object: String, field: &str, reason: String) {
        self.broken = true;
        let field = if field.is_empty() { "document" } else { field }.to_owned();
        self.rejections.push(Rejection { kind: ObjectKind::Manifest, object, field, reason });
    }

    /// If the file is broken: with what it gave before and can no longer be read.
    fn keeping(mut self, before: Option<&File>) -> File {
        if let Some(before) = before.filter(|_| self.broken) {
            let now: BTreeSet<&Key> = self.entries.iter().map(|entry| &entry.key).collect();
            let lost = before.entries.iter().filter(|entry| !now.contains(&entry.key));
            let lost: Vec<Entry> = lost.cloned().collect();
            self.entries.extend(lost);
        }
        self
    }
}

/// The names of the files that count, in order.
fn list(dir: &Path) -> std::io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
        let ours = matches!(extension.as_deref(), Some("yaml" | "yml" | "json"));
        if ours && !name.starts_with('.') {
            names.insert(name);
        }
    }
    Ok(names)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
