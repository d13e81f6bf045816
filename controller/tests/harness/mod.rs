//! What stories are told with: a controller of its own, a client of its API, booted hosts.
#![allow(dead_code, unused_imports, reason = "each program of tests uses its part")]

pub mod api;
pub mod controller;
pub mod fleet;
pub mod hosts;
pub mod stored;
pub mod stub_model;

/// Whether the larger numbers are wanted: `cargo xtask test --full`.
pub fn full() -> bool {
    std::env::var_os("SYSOP_TEST_FULL").is_some()
}
