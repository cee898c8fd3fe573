//! `ferroproxy migrate`: what to find out before kube-proxy goes.

mod answer;
mod check;
mod difference;
mod misses;
mod questions;
mod reason;
mod verify;

pub(super) use check::check;
pub(super) use verify::verify;
