//! Manifests as a source.
