//! The front door: streams of API objects or manifests, parsed once into [`crate::model`]'s words.
//!
//! Both sources hand out a [`Feed`]. One message of a feed is a batch: one object's story (its rejections, then the event of
//! the object) or one full list (`Init`, the objects, `Synced`). Nothing is dropped, and batches of one kind keep their order.

mod address;
pub mod addresses;
pub mod api;
mod feed;
mod findings;
mod intern;
mod kind;
mod lenient;
pub mod manifests;
mod meta;
mod node;
mod protobuf;
mod service;
mod service_cidr;
mod service_ports;
mod slice;
mod text;

pub use feed::{Feed, SourceStats};
