//! What the fleet's newest samples look like in memory: per host the latest tick, and the frames of
//! the last quarter of an hour as they stand in the tail, together with all that is not in a part yet.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use sysop_common::ids::{Epoch, HostId, Seq};
use sysop_common::sample::Tick;
use sysop_common::sample::codec::{Decoder, is_full};
use sysop_common::time::{MINUTE_MS, SECOND_MS, UnixMs};

use super::positions::StoredEpoch;
use super::types::{Boot, Latest, NamedSchema, Stored};

/// How far back whole ticks are in memory.
pub const RECENT_MS: i64 = 15 * MINUTE_MS;
/// A newest sample that came out of order gives way to stored ones after this long.
const NOW_LASTS_MS: i64 = 90 * SECOND_MS;

/// What the frames of a chain have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChainInfo {
    /// Its number in the tail.
    pub(super) id: i64,
    pub(super) epoch: Epoch,
    pub(super) boot: Boot,
    pub(super) schema: Arc<NamedSchema>,
}

/// A frame of the tail.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The tail's row that holds it.
    pub(super) row: i64,
    pub(super) seq: u64,
    pub(super) at: UnixMs,
    pub(super) received_at: UnixMs,
    pub(super) chain: Arc<ChainInfo>,
    pub(super) frame: Box<[u8]>,
}

impl Entry {
    fn cost(&self) -> u64 {
        (self.frame.len() + size_of::<Self>()) as u64
    }
}

/// The tick that the next stored frame of a host may build on.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) stored: Arc<Stored>,
    /// Time of the full frame that the chain began with.
    pub(super) began: UnixMs,
    /// The store's generation in which it was written: an older one is not to be built on.
    pub(super) generation: u64,
}

/// One host.
#[derive(Debug, Default)]
pub(super) struct HostMemory {
    entries: VecDeque<Entry>,
    latest: Option<Latest>,
    /// Whether the latest came out of order and is not stored.
    live: bool,
    pub(super) base: Option<Base>,
    /// Last number and its time per epoch, of what is in the tail.
    last: Vec<StoredEpoch>,
    /// Entries of rows up to this one are in parts.
    compacted: i64,
}

impl HostMemory {
    /// Takes in frames that are committed.
    pub(super) fn extend(&mut self, entries: impl IntoIterator<Item = Entry>) -> u64 {
        let mut cost = 0;
        for entry in entries {
            cost += entry.cost();
            let (epoch, seq) = (entry.chain.epoch, Seq(entry.seq));
            match self.last.iter_mut().find(|known| known.epoch == epoch) {
                Some(known) => (known.seq, known.at) = (known.seq.max(seq), entry.at),
                None => self.last.push(StoredEpoch { epoch, seq, at: entry.at, boot: entry.chain.boot }),
            }
            self.entries.push_back(entry);
        }
        cost
    }

    /// A stored tick becomes the latest one, unless a newer one came out of order.
    pub(super) fn stored(&mut self, stored: &Arc<Stored>) {
        if self.live
            && let Some(latest) = &self.latest
            && latest.now.epoch == stored.epoch
            && latest.now.tick.seq > stored.tick.seq
            && stored.received_at.since(latest.now.received_at) < NOW_LASTS_MS
        {
            return;
        }
        if self.live
            && let Some(latest) = &self.latest
            && latest.now.epoch != stored.epoch
            && latest.now.at > stored.at
            && stored.received_at.since(latest.now.received_at) < NOW_LASTS_MS
        {
            return;
        }
        self.live = false;
        self.show(stored);
    }

    /// The newest tick came out of order while older ones are being caught up.
    pub(super) fn now(&mut self, stored: &Arc<Stored>) {
        let newer = self
            .latest
            .as_ref()
            .is_none_or(|latest| latest.now.epoch != stored.epoch || latest.now.tick.seq < stored.tick.seq);
        if newer {
            self.live = true;
            self.show(stored);
        }
    }

    fn show(&mut self, stored: &Arc<Stored>) {
        let follows =
            |before: &Arc<Stored>| before.epoch != stored.epoch || before.tick.seq.next() == stored.tick.seq;
        let previous = self.latest.take().map(|latest| latest.now).filter(follows);
        self.latest = Some(Latest { now: stored.clone(), previous });
    }

    pub(super) fn latest(&self) -> Option<Latest> {
        self.latest.clone()
    }

    /// Copies of the entries of rows up to `upto` that are in no part.
    pub(super) fn uncompacted(&self, upto: i64) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.row > self.compacted && entry.row <= upto).cloned().collect()
    }

    /// Entries from the last full frame at or before `since` on.
    pub(super) fn since(&self, since: UnixMs) -> Vec<Entry> {
        let first = self.entries.iter().position(|entry| entry.at >= since).unwrap_or(self.entries.len());
        let start = (0..=first.min(self.entries.len().saturating_sub(1)))
            .rev()
            .find(|at| self.entries.get(*at).is_some_and(|entry| is_full(&entry.frame)));
        start.map_or_else(Vec::new, |start| self.entries.range(start..).cloned().collect())
    }

    /// Whether some entries are not in parts.
    pub(super) fn has_uncompacted(&self, upto: i64) -> bool {
        self.entries.iter().any(|entry| entry.row > self.compacted && entry.row <= upto)
    }

    /// Whether a frame is here already.
    pub(super) fn has(&self, epoch: Epoch, seq: u64) -> bool {
        self.last.iter().any(|known| known.epoch == epoch && known.seq.0 >= seq)
    }

    /// Raises what is known of a host's epochs by what is here.
    pub(super) fn raise(&self, epochs: &mut Vec<StoredEpoch>) {
        for here in &self.last {
            match epochs.iter_mut().find(|known| known.epoch == here.epoch) {
                Some(known) => {
                    (known.seq, known.at) = (known.seq.max(here.seq), known.at.max(here.at));
                    known.boot = here.boot;
                }
                None => epochs.push(*here),
            }
        }
        epochs.sort_by_key(|known| known.at);
    }

    /// The entries from the last full frame on.
    pub(super) fn newest_chain(&self) -> Vec<Entry> {
        let start = self.entries.iter().rposition(|entry| is_full(&entry.frame)).unwrap_or(0);
        self.entries.range(start..).cloned().collect()
    }

    /// At the start: rows up to `row` are in parts.
    pub(super) fn found_compacted(&mut self, row: i64) {
        self.compacted = self.compacted.max(row);
    }

    /// Notes that rows up to `row` are in parts. Returns the cost of what is thereby no longer owed.
    pub(super) fn compacted(&mut self, row: i64) -> u64 {
        let from = self.compacted;
        self.compacted = from.max(row);
        // What is in parts only is known from there.
        let entries = &self.entries;
        self.last.retain(|known| entries.iter().any(|entry| entry.chain.epoch == known.epoch));
        self.entries.iter().filter(|entry| entry.row > from && entry.row <= row).map(Entry::cost).sum()
    }

    /// Forgets chains that are in parts and older than [`RECENT_MS`].
    pub(super) fn evict(&mut self, now: UnixMs) {
        let old = now.plus(-RECENT_MS);
        let mut keep_from = 0;
        for (at, entry) in self.entries.iter().enumerate() {
            if entry.row > self.compacted || entry.at > old {
                break;
            }
            if is_full(&entry.frame) {
                keep_from = at;
            }
        }
        // A chain may be dropped as a whole only when all of it is old, that is when the next begins.
        self.entries.drain(..keep_from);
        self.entries.shrink_to(self.entries.len() * 2);
    }

    /// Bytes of frames that are in no part.
    pub(super) fn uncompacted_bytes(&self) -> u64 {
        let owed = self.entries.iter().filter(|entry| entry.row > self.compacted);
        owed.map(|entry| entry.frame.len() as u64).sum()
    }
}

/// Most bytes of ticks that are unfolded at once. Small frames may unfold to large ticks.
pub(super) const MAX_UNFOLDED: usize = 32 << 20;

/// Decodes entries that begin with a full frame, one after the other, until `f` returns false. What does
/// not decode is left out: it was checked before it was stored, so it means a damaged file.
pub(super) fn unfold(entries: &[Entry], mut f: impl FnMut(Arc<Stored>) -> bool) {
    let mut decoder = Decoder::default();
    for entry in entries {
        let Some(tick) = decode_next(&mut decoder, entry) else { continue };
        let stored = Stored {
            tick,
            schema: entry.chain.schema.clone(),
            epoch: entry.chain.epoch,
            boot: entry.chain.boot,
            at: entry.at,
            received_at: entry.received_at,
        };
        if !f(Arc::new(stored)) {
            return;
        }
    }
}

/// The decoded entries; of those that are too much for memory, the newest.
pub(super) fn decode(entries: &[Entry]) -> Vec<Arc<Stored>> {
    let (mut ticks, mut bytes) = (VecDeque::with_capacity(entries.len()), 0);
    unfold(entries, |stored| {
        bytes += stored.cost();
        ticks.push_back(stored);
        while bytes > MAX_UNFOLDED && ticks.len() > 1 {
            bytes -= ticks.pop_front().map_or(0, |oldest: Arc<Stored>| oldest.cost());
        }
        true
    });
    ticks.into()
}

/// The tick of `entry`, which follows the last entry given to `decoder`.
fn decode_next(decoder: &mut Decoder, entry: &Entry) -> Option<Arc<Tick>> {
    if let Err(error) = decoder.decode(&entry.frame, entry.chain.schema.schema.columns.len()) {
        tracing::warn!(row = entry.row, seq = entry.seq, %error, "a stored frame does not decode");
        decoder.reset();
        return None;
    }
    decoder.last_shared().filter(|tick| tick.seq.0 == entry.seq)
}

/// All hosts.
#[derive(Debug, Default)]
pub(super) struct Memory {
    hosts: RwLock<HashMap<HostId, Arc<Mutex<HostMemory>>>>,
    leaving: Mutex<HashSet<HostId>>,
    /// Cost of what is not in parts yet.
    owed: AtomicU64,
}

pub(super) fn lock(host: &Mutex<HostMemory>) -> MutexGuard<'_, HostMemory> {
    host.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    pub(super) fn get(&self, host: HostId) -> Option<Arc<Mutex<HostMemory>>> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner).get(&host).cloned()
    }

    pub(super) fn of(&self, host: HostId) -> Arc<Mutex<HostMemory>> {
        if let Some(memory) = self.get(host) {
            return memory;
        }
        self.hosts.write().unwrap_or_else(PoisonError::into_inner).entry(host).or_default().clone()
    }

    pub(super) fn all(&self) -> Vec<(HostId, Arc<Mutex<HostMemory>>)> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().map(|(host, memory)| (*host, memory.clone())).collect()
    }

    /// A host was removed: it goes once all that came from it is in parts.
    pub(super) fn leave(&self, host: HostId) {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).insert(host);
    }

    /// Lets removed hosts go of which nothing is owed any more.
    pub(super) fn let_go(&self) {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.retain(|host| {
            let Some(memory) = self.get(*host) else { return false };
            if lock(&memory).has_uncompacted(i64::MAX) {
                return true;
            }
            self.hosts.write().unwrap_or_else(PoisonError::into_inner).remove(host);
            false
        });
    }

    pub(super) fn owe(&self, cost: u64) {
        self.owed.fetch_add(cost, Ordering::Relaxed);
    }

    pub(super) fn paid(&self, cost: u64) {
        let _ = self
            .owed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |owed| Some(owed.saturating_sub(cost)));
    }

    pub(super) fn owed(&self) -> u64 {
        self.owed.load(Ordering::Relaxed)
    }
}
