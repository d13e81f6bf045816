//! Samples on disk until the controller has stored them.
//!
//! **Promise.** Every number that was given out ends acknowledged, on its way, or in a gap that says
//! why. **How:**
//! - A sample gets its number when it is appended. It is first in memory ([`Spool::append`] never
//!   waits for the disk); the writer ([`Writer`], a thread of its own) writes it and calls
//!   `fdatasync` for each one, and only then is it offered to the link. So whatever a controller has
//!   seen survives a power cut here. At the usual interval of 10 s that is six syncs a minute.
//! - Where the disk fails or hangs, samples are offered from memory after 2 s, so that a host whose
//!   disk is full or stuck is still seen. At most [`MAX_PENDING`] wait there; older ones become a gap.
//! - Samples are dropped by whole segments, oldest first; the gap is on disk, in space that was
//!   preallocated, before the segment goes. Segments that are acknowledged go after the
//!   acknowledgement is synced.
//! - Damage is not recorded, it is *derived*: a reader knows which number comes next and which
//!   numbers each epoch gave out, and yields a gap for what it does not find. So a flipped bit, a torn
//!   tail, a missing or foreign file all end the same way, and a resend says the same again.

mod append;
mod disk;
mod drain;
mod format;
mod index;
mod recover;
mod segment;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sysop_common::ids::{Epoch, HostId, SchemaId, Seq};
use sysop_common::sample::{Schema, Tick, codec};
use sysop_common::time::UnixMs;
use sysop_common::wire::{Gap, PreviousEpoch};
use tokio::sync::Notify;

pub use append::Writer;
pub use drain::Drain;
use index::Index;

/// Most samples that wait in memory for a disk that fails.
pub const MAX_PENDING: usize = 128;
/// Most bytes that they take.
pub const MAX_PENDING_BYTES: usize = 2 << 20;
/// Most bytes of a frame: a message of samples holds one with room to spare.
pub const MAX_FRAME: usize = 60 * 1024;
/// A sample that waits for the disk longer than this is offered from memory.
const HANG: Duration = Duration::from_secs(2);

/// Bounds of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Most bytes of all segments.
    pub max_bytes: u64,
    /// Oldest sample that is kept.
    pub max_age: Duration,
    /// Time without a sample, from which on it is a gap: longer than the interval.
    pub silence: Duration,
}

/// The spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Its directory cannot be used.
    #[error("spool in {}: {source}; check that the agent's user owns the directory", directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another agent has it.
    #[error("spool in {}: another sysop-agent is running here; stop it first", .0.display())]
    Locked(PathBuf),
    /// The system has no randomness for the epoch.
    #[error("the system gives no random numbers")]
    Random,
}

/// A sample that was appended.
#[derive(Debug)]
pub struct Sample {
    /// Its number.
    pub seq: Seq,
    /// When it was taken.
    pub at: UnixMs,
    /// Id of its schema.
    pub schema_id: SchemaId,
    /// Its schema.
    pub schema: Arc<Schema>,
    /// Its full frame.
    pub frame: Vec<u8>,
    /// What the frame holds.
    pub tick: Arc<Tick>,
    queued: Instant,
}

impl Sample {
    /// A sample as it is kept: the tick's full frame, within [`MAX_FRAME`].
    #[must_use]
    pub fn new(schema: Arc<Schema>, tick: Tick) -> Self {
        Self::under(schema.id(), schema, tick)
    }

    fn under(schema_id: SchemaId, schema: Arc<Schema>, tick: Tick) -> Self {
        let (frame, tick) = frame(tick);
        let (seq, at, tick) = (tick.seq, tick.at, Arc::new(tick));
        Self { seq, at, schema_id, schema, frame, tick, queued: Instant::now() }
    }

    /// The sample after this one. The same schema has the same id, which is dear to find.
    fn next(&self, schema: &Arc<Schema>, tick: Tick) -> Self {
        let same = Arc::ptr_eq(&self.schema, schema);
        Self::under(if same { self.schema_id } else { schema.id() }, schema.clone(), tick)
    }
}

/// What a drain yields, in the order in which it must be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A sample.
    Sample {
        /// In which epoch it was taken.
        epoch: Epoch,
        /// Its number.
        seq: Seq,
        /// When it was taken.
        at: UnixMs,
        /// Id of its schema.
        schema_id: SchemaId,
        /// Its schema.
        schema: Arc<Schema>,
        /// Its full frame.
        frame: Vec<u8>,
        /// What the frame holds, where that is in memory.
        tick: Option<Arc<Tick>>,
    },
    /// Samples that will never come.
    Gap(Gap),
}

/// How full the spool is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Depth {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Numbers that are not acknowledged.
    pub unacked: u64,
    /// Numbers among them that are not on disk.
    pub pending: u64,
    /// Gaps that are not acknowledged.
    pub gaps: u64,
    /// What is wrong with the disk, if something is.
    pub problem: Option<String>,
}

/// What writer, drains and callers share.
struct Shared {
    index: Mutex<Index>,
    /// Work for the writer.
    work: Condvar,
    /// Something for the drain.
    offered: Notify,
    disk: Box<dyn disk::Disk>,
    host: HostId,
    options: Options,
    epoch: Epoch,
}

impl Shared {
    /// A panic elsewhere leaves the index as it was between two of its methods, each of which keeps
    /// it sound.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The spool. Clones are handles of the same one.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spool of epoch {}", self.shared.epoch)
    }
}

impl Spool {
    /// This agent's epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// The number that the next sample will have.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.shared.index().current().map_or(Seq(1), |info| info.last.next())
    }

    /// The epoch before this one.
    #[must_use]
    pub fn previous(&self) -> Option<PreviousEpoch> {
        let index = self.shared.index();
        let info = index.epochs.iter().rev().nth(1)?;
        Some(PreviousEpoch { epoch: info.epoch, last_seq: info.last, last_at: info.last_at })
    }

    /// Gives the next number to `tick` and keeps it. Never waits for the disk.
    pub fn append(&self, schema: &Arc<Schema>, mut tick: Tick) -> Seq {
        let mut index = self.shared.index();
        let seq = index.current().map_or(Seq(1), |info| info.last.next());
        tick.seq = seq;
        let sample = Arc::new(match &index.newest {
            Some(newest) => newest.next(schema, tick),
            None => Sample::new(schema.clone(), tick),
        });
        index.append(sample, HANG);
        let offered = index.offered;
        drop(index);
        self.shared.work.notify_all();
        if offered {
            self.shared.offered.notify_one();
        }
        seq
    }

    /// No samples were taken from `from` to `to` although the agent ran: it was suspended, or slow.
    pub fn stalled(&self, from: UnixMs, to: UnixMs) {
        self.shared.index().stalled(from, to);
        self.shared.work.notify_all();
    }

    /// Everything of `epoch` up to `seq` is stored by the controller. What it names beyond what was
    /// given out is ignored.
    ///
    /// It is on disk with the next sample, or when a file can go: a crash in between costs a resend, which
    /// does no harm.
    pub fn acknowledge(&self, epoch: Epoch, seq: Seq) {
        let mut index = self.shared.index();
        index.acknowledge(epoch, seq);
        let has_work = index.gaps_changed || index.segments.len() > 1;
        drop(index);
        if has_work {
            self.shared.work.notify_all();
        }
    }

    /// A reader from the first number that is not acknowledged.
    #[must_use]
    pub fn drain(&self) -> Drain {
        Drain::new(self.shared.clone())
    }

    /// Waits until a drain may have something new.
    pub async fn changed(&self) {
        self.shared.offered.notified().await;
    }

    /// The newest sample, on disk or not.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<Sample>> {
        self.shared.index().newest.clone()
    }

    /// How full it is.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.shared.index().depth()
    }
}

/// The tick's full frame, and the tick as the frame holds it; a host with very many rows loses the least
/// telling ones.
fn frame(tick: Tick) -> (Vec<u8>, Tick) {
    let mut tick = match tick.normal() {
        Cow::Borrowed(_) => tick,
        Cow::Owned(normal) => normal,
    };
    let mut frame = Vec::new();
    codec::encode_full(&tick, &mut frame);
    let mut keep = tick.units.len();
    while frame.len() > MAX_FRAME && (keep > 0 || !tick.processes.is_empty()) {
        keep /= 2;
        // Stable: units that failed come first, then by name as before.
        tick.units.sort_by_key(|unit| unit.active != sysop_common::sample::Active::Failed);
        tick.units.truncate(keep);
        tick.units.sort_by(|a, b| a.name.cmp(&b.name));
        if keep == 0 {
            tick.processes.clear();
        }
        frame.clear();
        codec::encode_full(&tick, &mut frame);
    }
    (frame, tick)
}
