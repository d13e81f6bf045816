//! The two ends of the socket between collector and executor, and the executor's way of an order.
//!
//! The executor has rights and no network; the collector has the network and no rights. The
//! executor trusts nothing that comes through the socket: it reads trust files and policy itself,
//! checks the signature itself, and answers only root and the agent's own user.

mod client;
mod protocol;
mod socket;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientError, Report};
pub use protocol::{FromExecutor, MAX_MESSAGE, ToExecutor};

/// Where the executor listens.
pub const SOCKET_PATH: &str = "/run/sysop/executor.sock";
