//! Values that agent and controller agree on: samples, wire messages, actions, orders.
//!
//! No I/O, no clock, no async runtime: bytes and times come in, values go out.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_macros))]
#![forbid(unsafe_code)]

pub mod action;
pub mod bytes;
pub mod finding;
pub mod grant;
pub mod ids;
pub mod metric;
pub mod network;
pub mod order;
pub mod probe;
pub mod query;
pub mod sample;
pub mod time;
pub mod tls;
pub mod wire;
