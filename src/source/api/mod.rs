//! The Kubernetes API as a source.
