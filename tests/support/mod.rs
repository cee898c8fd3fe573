//! Helpers that the tests share.
// Every test binary compiles them all and uses some.
#![allow(dead_code, unreachable_pub)]

pub mod chart;
pub mod cluster;
pub mod daemon;
pub mod everything;
pub mod fake_api;
pub mod ipset;
pub mod kube_proxy;
pub mod lab;
pub mod manifests;
pub mod netns;
pub mod promql;
pub mod real_kube_proxy;
pub mod relay;
pub mod scene;
pub mod traffic;
pub mod world;
