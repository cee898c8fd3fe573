#![allow(dead_code)]
//! What tests share.

pub mod fake_api;
pub mod world;
