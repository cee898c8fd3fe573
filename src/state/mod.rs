//! The normalised store: events in, a snapshot and the set of changes out. Pure.
