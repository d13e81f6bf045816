//! The agent: looks at its host, keeps what it saw until a controller has stored it, and carries orders
//! to the executor.
//!
//! [`run`] is the collector and [`enrol`] takes a host in; both keep no global state, so that a
//! controller can run an agent in its own process.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_macros))]

pub mod cli;
pub mod config;
pub mod enrol;
pub mod execute;
pub mod executor;
pub mod guard;
pub mod identity;
pub mod journal;
pub mod link;
pub mod probe;
pub mod query;
pub mod run;
pub mod sample;
pub mod spool;

pub use config::Config;
pub use enrol::{Done, EnrolError, Enrolment, enrol};
pub use run::{RunError, run};
