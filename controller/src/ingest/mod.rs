//! From the link into the store: decode, number, commit together, then acknowledge.
//!
//! Nothing is acknowledged before it is committed. The key of a sample is (host, epoch, number): a resend
//! is acknowledged and dropped, a hole in the numbers becomes a gap record, and so does the time in which
//! an agent was down.

mod ack;
mod admit;
mod commit;
mod dedupe;
mod events;
mod host;
mod intake;
mod refuse;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sysop_common::ids::{ControllerId, HostId};
use sysop_common::sample::Texts;
use sysop_common::time::UnixMs;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::store::presence::Presence;
use crate::store::samples::SampleStore;
use crate::store::{Db, hosts};
use crate::wake::Wakes;

/// How often removed hosts are looked for when nobody wakes ingest.
const FORGET_EVERY: Duration = Duration::from_secs(10);
/// A host that was removed so long ago is looked at once more: its last session may have ended after the
/// first look.
const FORGET_AGAIN_MS: i64 = 60_000;
/// How often the time at which hosts were last seen is written.
const SEEN_EVERY: Duration = Duration::from_secs(60);

/// Settings of ingest.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// This controller.
    pub controller: ControllerId,
    /// Interval of the agents' samples, ms.
    pub interval_ms: u32,
    /// How long the writer waits for others once something came.
    pub linger: Duration,
    /// Bytes of one host that may wait for their commit.
    pub max_queued_per_host: usize,
    /// Bytes of all hosts that may wait for their commit.
    pub max_queued: usize,
}

impl Options {
    /// The usual ones.
    #[must_use]
    pub const fn new(controller: ControllerId) -> Self {
        Self {
            controller,
            interval_ms: 10_000,
            linger: Duration::from_millis(8),
            max_queued_per_host: 1 << 20,
            max_queued: 64 << 20,
        }
    }
}

/// What all parts of ingest share.
struct Shared {
    db: Db,
    store: SampleStore,
    wakes: Wakes,
    presence: Presence,
    clock: Clock,
    options: Options,
    queue: Arc<commit::Queue>,
    hosts: host::Hosts,
    /// What ticks of different hosts have in common.
    texts: Arc<Texts>,
}

/// Takes samples in. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    shared: Arc<Shared>,
}

impl Ingest {
    /// Prepares; [`Ingest::run`] does the work.
    #[must_use]
    pub fn new(
        db: Db,
        store: SampleStore,
        wakes: Wakes,
        presence: Presence,
        clock: Clock,
        options: Options,
    ) -> Self {
        let queue = Arc::new(commit::Queue::new(options.max_queued));
        let (hosts, texts) = (host::Hosts::default(), Arc::default());
        Self { shared: Arc::new(Shared { db, store, wakes, presence, clock, options, queue, hosts, texts }) }
    }

    /// Commits what comes until `stop` is set and everything queued is committed.
    pub async fn run(&self, stop: watch::Receiver<bool>) {
        let shared = &self.shared;
        let writer = commit::write(
            shared.queue.clone(),
            shared.store.clone(),
            shared.clock.clone(),
            shared.options.linger,
            shared.wakes.samples.clone(),
            stop.clone(),
        );
        tokio::join!(writer, self.note_seen(stop.clone()), self.forget_removed(stop));
    }

    /// Forgets what memory holds of hosts that were removed: at the start of all, then as they go.
    async fn forget_removed(&self, mut stop: watch::Receiver<bool>) {
        let mut wake = self.shared.wakes.revoked.listen();
        let mut since = UnixMs(0);
        while !*stop.borrow() {
            let now = self.shared.clock.now();
            match hosts::removed_since(&self.shared.db, since).await {
                Ok(removed) => {
                    removed.into_iter().for_each(|host| self.forget(host));
                    since = now.plus(-FORGET_AGAIN_MS);
                }
                Err(error) => tracing::warn!(%error, "removed hosts cannot be read"),
            }
            tokio::select! {
                () = wake.wait(FORGET_EVERY) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Writes once a minute when hosts were last seen.
    async fn note_seen(&self, mut stop: watch::Receiver<bool>) {
        let mut written = UnixMs(0);
        let mut last = false;
        while !last {
            tokio::select! {
                () = tokio::time::sleep(SEEN_EVERY) => {}
                _ = stop.changed() => last = true,
            }
            let now = self.shared.clock.now();
            let seen: Vec<(HostId, UnixMs)> = self
                .shared
                .hosts
                .all()
                .iter()
                .map(|(host, cell)| (*host, UnixMs(cell.seen.load(Ordering::Relaxed))))
                .filter(|(_, at)| *at > written)
                .collect();
            match hosts::touch(&self.shared.db, &seen).await {
                Ok(()) => written = now,
                Err(error) => tracing::warn!(%error, "when hosts were last seen cannot be stored"),
            }
        }
    }

    /// Bytes that wait for their commit.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.shared.queue.bytes()
    }

    /// Forgets a host that was removed.
    fn forget(&self, host: HostId) {
        self.shared.hosts.forget(host);
        self.shared.store.forget(host);
        self.shared.presence.forget(host);
    }
}
