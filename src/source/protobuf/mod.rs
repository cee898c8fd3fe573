//! Kubernetes objects as the API server writes them in protobuf: half the bytes of JSON, and a third of the server's work.
//!
//! No types are generated. A [`Shape`] says which field number of a message stands for which field of the JSON form, and serde reads the same
//! slim types from both. Fields that no shape names are skipped where they stand.

mod envelope;
mod read;
mod shape;
mod wire;

pub(crate) use envelope::{Envelope, Listing, object};
pub(crate) use read::{Malformed, read};
pub(crate) use shape::{Form, Shape, many, one};

#[cfg(test)]
mod tests;
