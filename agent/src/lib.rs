//! The agent.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_macros))]

pub mod config;
pub mod execute;
pub mod executor;
pub mod guard;
pub mod identity;
pub mod journal;
pub mod query;
pub mod sample;
pub mod spool;
