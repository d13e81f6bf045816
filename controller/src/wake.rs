//! Payload-free signals between steps: "look again".
//!
//! A signal that is lost costs only the time until the next periodic look; a signal that comes
//! twice costs one look that finds nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// One signal: any number of wakers, any number of sleepers.
#[derive(Debug, Clone)]
pub struct Signal(Arc<watch::Sender<u64>>);

impl Default for Signal {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Signal {
    /// Wakes everyone who sleeps on this signal.
    pub fn wake(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// How often it was given: a change of it says that there is something to look at.
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.0.borrow()
    }

    /// Starts to listen. Register before looking at the state, so that nothing falls in between.
    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// One sleeper.
#[derive(Debug, Clone)]
pub struct Listener(watch::Receiver<u64>);

impl Listener {
    /// Sleeps until the signal, or until `at_most` has passed.
    pub async fn wait(&mut self, at_most: Duration) {
        // An error means that every waker is gone: the period alone is left.
        if let Ok(Err(_)) = tokio::time::timeout(at_most, self.0.changed()).await {
            tokio::time::sleep(at_most).await;
        }
    }
}

/// The signals of one controller.
#[derive(Debug, Clone, Default)]
pub struct Wakes {
    /// New samples, inventories or gaps are committed.
    pub samples: Signal,
    /// An incident was opened, changed or closed.
    pub incidents: Signal,
    /// A run was proposed, approved or rejected, or an assignment changed.
    pub decide: Signal,
    /// A run may be sent, or a host came back.
    pub dispatch: Signal,
    /// A run's state changed.
    pub runs: Signal,
    /// A host was added, changed, revoked or removed, or came or went.
    pub hosts: Signal,
    /// A probe was added, changed or removed.
    pub probes: Signal,
    /// A certificate was revoked or a host removed: its sessions end, and memory of it goes.
    pub revoked: Signal,
}
