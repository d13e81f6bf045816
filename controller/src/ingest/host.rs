//! What ingest keeps of each host while the controller runs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;
use tokio::sync::Notify;

use super::dedupe::Numbers;

/// Bytes that a host may store at once.
const BURST: i64 = 256 << 20;
/// Bytes per second that a host may store in the long run: several times an agent that samples each second.
const RATE: i64 = 32 << 10;

/// A host, shared by its sessions and the writer.
pub(super) struct HostCell {
    state: Mutex<HostState>,
    /// Bytes of it that wait for their commit.
    pub(super) queued: AtomicUsize,
    /// When it was last heard, ms.
    pub(super) seen: AtomicI64,
}

/// What changes with each sample.
pub(super) struct HostState {
    pub(super) numbers: Numbers,
    /// Number of the session that may write; an older one is refused.
    pub(super) session: u64,
    /// Wakes that session.
    pub(super) signal: Option<Arc<Notify>>,
    quota: Quota,
}

impl HostCell {
    pub(super) fn new(numbers: Numbers, now: UnixMs) -> Self {
        let state = HostState { numbers, session: 0, signal: None, quota: Quota { left: BURST, at: now } };
        Self { state: Mutex::new(state), queued: AtomicUsize::new(0), seen: AtomicI64::new(now.0) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HostState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostState {
    /// Takes `bytes` off what the host may store.
    pub(super) fn spend(&mut self, bytes: usize, now: UnixMs) {
        self.quota.refill(now);
        self.quota.left -= bytes as i64;
    }

    /// Whether the host may store more now.
    pub(super) fn may_store(&mut self, now: UnixMs) -> bool {
        self.quota.refill(now);
        self.quota.left > 0
    }
}

/// A bucket that fills with time: one host must not fill the disk of all.
struct Quota {
    left: i64,
    at: UnixMs,
}

impl Quota {
    fn refill(&mut self, now: UnixMs) {
        let passed = now.since(self.at).max(0);
        self.at = now;
        self.left = self.left.saturating_add(passed.saturating_mul(RATE) / 1_000).min(BURST);
    }
}

/// All hosts that had a session since the start.
#[derive(Default)]
pub(super) struct Hosts(Mutex<HashMap<HostId, Arc<HostCell>>>);

impl Hosts {
    pub(super) fn get(&self, host: HostId) -> Option<Arc<HostCell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&host).cloned()
    }

    /// Puts a host in; of two at once the first stays.
    pub(super) fn put(&self, host: HostId, cell: HostCell) -> Arc<HostCell> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.entry(host).or_insert_with(|| Arc::new(cell)).clone()
    }

    pub(super) fn all(&self) -> Vec<(HostId, Arc<HostCell>)> {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().map(|(host, cell)| (*host, cell.clone())).collect()
    }

    pub(super) fn forget(&self, host: HostId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_catch_up_a_week_and_not_fill_the_disk() {
        let mut quota = Quota { left: BURST, at: UnixMs(0) };
        // A week of ordinary samples at once.
        quota.left -= 7 * 24 * 360 * 160;
        assert!(quota.left > 0);
        quota.left = 0;
        quota.refill(UnixMs(60_000));
        assert_eq!(quota.left, 60 * RATE);
        quota.refill(UnixMs(i64::MAX));
        assert_eq!(quota.left, BURST);
        quota.left = -1;
        quota.refill(UnixMs(0));
        assert_eq!(quota.left, -1, "a clock that goes back gives nothing");
    }
}
