//! Helpers that the tests share.
// Every test binary compiles them all and uses some.
#![allow(dead_code, unreachable_pub)]

pub mod everything;
pub mod netns;
