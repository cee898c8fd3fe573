//! The hall clock: the one loop that moves values from room to room.

mod engine;
mod settings;

pub use engine::{Arrivals, Engine};
pub use settings::{settings, waits_for_node};
