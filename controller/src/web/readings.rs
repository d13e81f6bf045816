//! Asking a host something. The link is not ours: the wiring hands in who asks.

use std::future::Future;
use std::pin::Pin;

use sysop_common::ids::HostId;
use sysop_common::query::{Query, Reading};

/// A host did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadingError {
    /// It has no session now.
    #[error("the host is not connected")]
    NotConnected,
    /// It did not answer in time.
    #[error("the host did not answer in time")]
    TimedOut,
    /// It said no: its policy does not allow the reading, or the reading failed.
    #[error("{0}")]
    Refused(String),
}

/// The answer to come.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Reading, ReadingError>> + Send + 'a>>;

/// Whoever can ask hosts.
pub trait Readings: Send + Sync {
    /// Asks `host`.
    fn ask(&self, host: HostId, query: Query) -> Answering<'_>;
}
