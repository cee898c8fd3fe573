//! The node beside its rules.
