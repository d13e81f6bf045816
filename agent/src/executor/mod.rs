//! The two ends of the socket between collector and executor, and the executor's way of an order.
//!
//! The executor has rights and no network; the collector has the network and no rights. The
//! executor trusts nothing that comes through the socket: it reads trust files and policy itself,
//! checks the signature itself, and answers only root and the agent's own user.

mod answers;
mod client;
mod core;
mod ground;
mod outputs;
mod probe;
mod protocol;
mod serve;
mod socket;
#[cfg(test)]
mod tests;
mod trust;

use std::io;
use std::path::PathBuf;

pub use client::{Client, ClientError, Report};
pub use probe::{NoProbe, Probe, Step};
pub use protocol::{FromExecutor, MAX_MESSAGE, ToExecutor};
pub use serve::{Options, serve};
pub use trust::TrustError;

use crate::journal::{JournalError, SystemClock};

/// Where the executor listens.
pub const SOCKET_PATH: &str = "/run/sysop/executor.sock";
/// The user that the collector runs as.
pub const PEER_USER: &str = "sysop";

/// Where an executor's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The owner's policy.
    pub policy: PathBuf,
    /// `ca.pem` and `host_id`.
    pub trust: PathBuf,
    /// Journal and outputs; root only.
    pub state: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            policy: PathBuf::from(crate::guard::POLICY_PATH),
            trust: PathBuf::from("/etc/sysop/trust"),
            state: PathBuf::from("/var/lib/sysop-executor"),
        }
    }
}

/// An executor cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// Nobody gave it a socket.
    #[error("no socket was passed; start it by sysop-executor.socket, or with --socket PATH")]
    NoSocket,
    /// The socket cannot be used.
    #[error("{0} cannot be listened on: {1}")]
    Socket(String, io::Error),
    /// A thread or a signal handler could not be had.
    #[error("executor cannot start: {0}")]
    Thread(io::Error),
    /// The thread that runs orders has ended.
    #[error("the thread that runs orders has ended; what it ran is unknown after a restart")]
    Worker,
    /// The trust files cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Makes the journal of a host that was just enrolled; its trust files must be there. A journal of
/// an earlier enrolment is replaced.
///
/// # Errors
/// When the trust files cannot be read or the journal cannot be written.
pub fn prepare(paths: &Paths) -> Result<(), ExecutorError> {
    let exists = paths.state.join("journal").exists();
    core::prepare(paths, exists, &SystemClock::new())
}

/// Puts a new journal in place of one that is missing or broken, by root's word. Orders made before
/// are refused from now on, since they may have run; the old journal stays beside the new one.
///
/// # Errors
/// When the trust files cannot be read, the journal is in use, or cannot be written.
pub fn reset(paths: &Paths) -> Result<(), ExecutorError> {
    core::prepare(paths, true, &SystemClock::new())
}
