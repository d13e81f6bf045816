//! Group commit: everything that came during the last commit goes in one transaction, then the acks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sysop_common::ids::Epoch;
use tokio::sync::{Notify, watch};

use super::host::HostCell;
use super::refuse::settle;
use crate::clock::Clock;
use crate::store::samples::{HostGap, Incoming, SampleStore};
use crate::wake::Signal;

/// With so much waiting the writer does not linger: one more sync costs little per frame then.
const PLENTY: usize = 1_000;

/// Something of one host that waits for its commit.
pub(super) struct Item {
    pub(super) host: Arc<HostCell>,
    pub(super) epoch: Epoch,
    /// Up to which number it reaches; 0 for a gap without numbers.
    pub(super) seq: u64,
    pub(super) tick: Option<Incoming>,
    pub(super) gaps: Vec<HostGap>,
    /// Bytes that it takes in memory.
    pub(super) cost: usize,
}

#[derive(Default)]
struct Waiting {
    items: Vec<Item>,
    /// Sessions that wait for room in the whole queue.
    blocked: Vec<Arc<Notify>>,
}

/// What waits for its commit.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
    bytes: AtomicUsize,
    cap: usize,
}

impl Queue {
    pub(super) fn new(cap: usize) -> Self {
        Self { waiting: Mutex::default(), filled: Notify::new(), bytes: AtomicUsize::new(0), cap }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, item: Item) {
        self.bytes.fetch_add(item.cost, Ordering::Relaxed);
        item.host.queued.fetch_add(item.cost, Ordering::Relaxed);
        self.lock().items.push(item);
        self.filled.notify_one();
    }

    /// Whether more may be queued. If not, `signal` is notified when it may be again.
    pub(super) fn has_room(&self, signal: &Arc<Notify>) -> bool {
        if self.bytes.load(Ordering::Relaxed) < self.cap {
            return true;
        }
        let mut waiting = self.lock();
        // Looked at again under the lock: the writer may have emptied it in between.
        if self.bytes.load(Ordering::Relaxed) < self.cap {
            return true;
        }
        if !waiting.blocked.iter().any(|known| Arc::ptr_eq(known, signal)) {
            waiting.blocked.push(signal.clone());
        }
        false
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn len(&self) -> usize {
        self.lock().items.len()
    }

    fn take(&self) -> Vec<Item> {
        let mut waiting = self.lock();
        // As much room again as was needed: batches are alike.
        let next = Vec::with_capacity(waiting.items.len().min(PLENTY));
        std::mem::replace(&mut waiting.items, next)
    }

    fn settle(&self, items: &[Item]) {
        for item in items {
            self.bytes.fetch_sub(item.cost, Ordering::Relaxed);
            item.host.queued.fetch_sub(item.cost, Ordering::Relaxed);
        }
        let blocked =
            if self.bytes() < self.cap { std::mem::take(&mut self.lock().blocked) } else { Vec::new() };
        blocked.iter().for_each(|signal| signal.notify_one());
    }
}

/// The one writer. Ends when `stop` is set and everything that was queued is committed.
pub(super) async fn write(
    queue: Arc<Queue>,
    store: SampleStore,
    clock: Clock,
    linger: Duration,
    committed: Signal,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let filled = queue.filled.notified();
        let waiting = queue.len();
        if waiting == 0 {
            if *stop.borrow() {
                return;
            }
            tokio::select! {
                () = filled => {}
                _ = stop.changed() => {}
            }
        }
        // Others are about to come too: one sync for all of them, also while commits follow one another.
        if waiting < PLENTY && !linger.is_zero() && !*stop.borrow() {
            tokio::time::sleep(linger).await;
        }
        let items = queue.take();
        if !settle(&store, &clock, &items, &mut stop).await {
            return;
        }
        queue.settle(&items);
        acknowledge(&items);
        committed.wake();
    }
}

fn acknowledge(items: &[Item]) {
    for item in items {
        let mut host = item.host.lock();
        if item.seq > 0 {
            host.numbers.commit(item.epoch, item.seq);
        }
        for gap in &item.gaps {
            if let Some((_, last)) = gap.seqs {
                host.numbers.commit(gap.epoch, last.0);
            }
        }
        if let Some(signal) = &host.signal {
            signal.notify_one();
        }
    }
}
