//! The packet walker.
