#![allow(dead_code, unreachable_pub)]
//! What tests share.

pub mod fake_api;
pub mod world;
