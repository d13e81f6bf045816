//! The one writer of the spool's files.

use std::fs::File;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use sysop_common::ids::SchemaId;
use sysop_common::sample::Schema;
use sysop_common::time::UnixMs;
use sysop_common::wire::{GapReason, Upward};

use super::format::{self, GAP_SLOT, GAP_SLOTS, HEADER, Record, STATE_SLOT, Seal, StoredGap};
use super::segment::{SCHEMAS, Segment};
use super::{Sample, Shared, Spool};

/// Name of the state file.
pub(super) const STATE: &str = "state";
/// Name of the gap file.
pub(super) const GAPS: &str = "gaps";
/// A disk that failed is tried again this often.
const RETRY: Duration = Duration::from_secs(1);
/// How far the wall clock may stray from the monotonic one before ages are not believed, in ms.
const CREDIBLE_MS: i64 = 3_600_000;

/// Writes what was appended, drops what is over the bounds, removes what is acknowledged.
pub struct Writer {
    shared: Arc<Shared>,
    /// Held for its lock.
    _lock: Option<File>,
    active: Option<Active>,
    next_number: u64,
    counter: u64,
    /// The gap file as it is on disk.
    slots: Vec<Option<StoredGap>>,
    /// Whether the gap and state files have their space.
    prepared: bool,
    state_changed: bool,
    started: (UnixMs, Instant),
}

/// The segment that grows.
struct Active {
    seal: Seal,
    len: u64,
    /// Time of its first sample.
    since: UnixMs,
    /// The last [`SCHEMAS`] schemas that stand in it.
    schemas: Vec<SchemaId>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl Spool {
    /// Asks the writer to write what is left and to end.
    pub fn close(&self) {
        self.shared.index().stop = true;
        self.shared.work.notify_all();
    }
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        lock: Option<File>,
        next_number: u64,
        counter: u64,
        slots: Vec<Option<StoredGap>>,
        now: UnixMs,
    ) -> Self {
        Self {
            shared,
            _lock: lock,
            active: None,
            next_number,
            counter,
            slots,
            prepared: false,
            state_changed: true,
            started: (now, Instant::now()),
        }
    }

    /// Puts the new epoch on disk and removes segments that were dropped at opening.
    pub(super) fn begin(&mut self, dropped: &[Segment]) {
        let done = self.prepare().and_then(|()| self.write_gaps()).and_then(|()| self.write_state(true));
        self.note(done);
        for segment in dropped {
            // A file that stays is found again at the next start.
            let _ = self.shared.disk.remove(&segment.seal.name());
        }
    }

    /// Works until [`Spool::close`].
    pub fn run(mut self) {
        let mut stop = false;
        while !stop {
            let went_well = self.step();
            let index = self.shared.index();
            stop = index.stop;
            let busy = index.acked_changed || index.gaps_changed || !index.pending.is_empty();
            if stop || (went_well && busy) {
                continue;
            }
            let wait = if went_well { Duration::from_secs(60) } else { RETRY };
            drop(self.shared.work.wait_timeout(index, wait).unwrap_or_else(PoisonError::into_inner));
        }
        self.step();
        let done = self.write_state(true);
        self.note(done);
    }

    /// Does what there is to do; `false` when the disk failed. Never waits but for the disk.
    pub(super) fn step(&mut self) -> bool {
        let done = self.prepare().and_then(|()| self.write_pending());
        let wrote = self.note(done);
        // Gaps before the table of epochs: a gap that is settled goes while its epoch is known.
        let done = self
            .write_gaps()
            .and_then(|()| self.trim())
            .and_then(|()| if self.state_changed { self.write_state(false) } else { Ok(()) });
        let trimmed = done.is_ok();
        if wrote {
            self.note(done);
        }
        wrote && trimmed
    }

    /// Remembers a failure, for people, and offers samples from memory meanwhile.
    fn note(&self, done: io::Result<()>) -> bool {
        let mut index = self.shared.index();
        match done {
            Ok(()) => {
                if index.problem.take().is_some() {
                    tracing::info!("the spool's disk works again");
                }
                true
            }
            Err(e) => {
                let text = e.to_string();
                if index.problem.as_ref() != Some(&text) {
                    tracing::error!(error = text, "the spool cannot be written; samples are kept in memory");
                }
                index.problem = Some(text);
                index.offered = !index.pending.is_empty();
                drop(index);
                self.shared.offered.notify_one();
                false
            }
        }
    }

    /// Gives the gap and the state file their space, so that they can be written on a full disk.
    fn prepare(&mut self) -> io::Result<()> {
        if self.prepared {
            return Ok(());
        }
        let disk = &self.shared.disk;
        let files = disk.list()?;
        for (name, len) in [(GAPS, GAP_SLOT * GAP_SLOTS), (STATE, 2 * STATE_SLOT)] {
            let have = files.iter().find(|(file, _)| file == name).map_or(0, |(_, len)| *len);
            if let Some(lack) = (len as u64).checked_sub(have).filter(|lack| *lack > 0) {
                disk.write_at(name, have, &vec![0; usize::try_from(lack).unwrap_or_default()])?;
                disk.sync(name)?;
            }
        }
        disk.sync_names()?;
        self.prepared = true;
        Ok(())
    }

    fn write_pending(&mut self) -> io::Result<()> {
        loop {
            let next = self.shared.index().pending.front().cloned();
            let Some(sample) = next else { return Ok(()) };
            self.write(&sample)?;
            self.state_changed = true;
        }
    }

    /// Writes one sample and offers it to the drains.
    fn write(&mut self, sample: &Sample) -> io::Result<()> {
        self.rotate_if_due(sample);
        let fresh = self.active.is_none();
        let mut active = self.active.take().unwrap_or_else(|| self.new_segment(sample));
        let mut bytes = if fresh { HEADER.to_vec() } else { Vec::new() };
        if !active.schemas.contains(&sample.schema_id) {
            let mut message = Vec::new();
            let schema = Upward::Schema(Schema::clone(&sample.schema));
            schema.encode(&mut message).map_err(io::Error::other)?;
            let offset = active.len + bytes.len() as u64;
            format::put(&mut bytes, &active.seal, offset, &Record::Schema(&message));
            // What the reader forgets by now is written again when it comes back.
            if active.schemas.len() == SCHEMAS {
                active.schemas.remove(0);
            }
            active.schemas.push(sample.schema_id);
        }
        let offset = active.len + bytes.len() as u64;
        let record =
            Record::Sample { seq: sample.seq, at: sample.at, schema: sample.schema_id, frame: &sample.frame };
        format::put(&mut bytes, &active.seal, offset, &record);
        self.make_room(bytes.len() as u64, sample.at, &active);
        let name = active.seal.name();
        let disk = &self.shared.disk;
        let written = disk
            .write_at(&name, active.len, &bytes)
            .and_then(|()| disk.sync(&name))
            .and_then(|()| if fresh { disk.sync_names() } else { Ok(()) });
        if let Err(e) = written {
            // What is half there is never read: the index ends before it. The next try is in a new
            // file, since after a failed sync nobody knows what this one holds.
            let _ = if fresh { disk.remove(&name) } else { disk.truncate(&name, active.len) };
            return Err(e);
        }
        active.len += bytes.len() as u64;
        self.publish(&active, bytes.len() as u64, sample);
        self.active = Some(active);
        Ok(())
    }

    fn new_segment(&mut self, sample: &Sample) -> Active {
        let seal = Seal { host: self.shared.host, epoch: self.shared.epoch, number: self.next_number };
        self.next_number += 1;
        Active { seal, len: 0, since: sample.at, schemas: Vec::new() }
    }

    /// A segment spans a sixteenth of the bounds, so that dropping or keeping one is a small matter.
    fn rotate_if_due(&mut self, sample: &Sample) {
        let options = &self.shared.options;
        let bytes = (options.max_bytes / 16).clamp(16 << 10, 1 << 20);
        let age = i64::try_from(options.max_age.as_millis() / 16).unwrap_or(i64::MAX);
        let due = |active: &Active| active.len >= bytes || sample.at.since(active.since) > age;
        if self.active.as_ref().is_some_and(due) {
            self.active = None;
        }
    }

    fn publish(&self, active: &Active, bytes: u64, sample: &Sample) {
        let mut index = self.shared.index();
        let last = (sample.seq, sample.at);
        index.bytes += bytes;
        match index.segments.back_mut().filter(|segment| segment.seal == active.seal) {
            Some(segment) => (segment.len, segment.last) = (active.len, last),
            None => {
                let segment = Segment { seal: active.seal, first: last, last, len: active.len };
                index.segments.push_back(segment);
            }
        }
        if index.pending.front().is_some_and(|first| first.seq == sample.seq) {
            index.pending.pop_front();
        }
        index.offered &= !index.pending.is_empty();
        drop(index);
        self.shared.offered.notify_one();
    }

    /// Drops the oldest segments while the bounds would be exceeded; never the one that grows.
    fn make_room(&mut self, need: u64, now: UnixMs, active: &Active) {
        let options = self.shared.options;
        let age = i64::try_from(options.max_age.as_millis()).unwrap_or(i64::MAX);
        let elapsed = i64::try_from(self.started.1.elapsed().as_millis()).unwrap_or(i64::MAX);
        // A clock that was set must not empty the spool.
        let credible = (now.since(self.started.0) - elapsed).abs() < CREDIBLE_MS;
        loop {
            let mut index = self.shared.index();
            let Some(oldest) = index.segments.front().filter(|oldest| oldest.seal != active.seal) else {
                return;
            };
            let reason = if index.bytes + need > options.max_bytes {
                GapReason::SpoolFull
            } else if credible && now.since(oldest.first.1) > age + age / 16 {
                GapReason::SpoolAge
            } else {
                return;
            };
            let dropped = index.drop_oldest(reason);
            drop(index);
            // The gap is on disk before the samples go. Where it cannot be written, it is derived.
            let _ = self.write_gaps();
            let _ = dropped.map(|segment| self.shared.disk.remove(&segment.seal.name()));
        }
    }

    /// Removes segments that are acknowledged, after the acknowledgement is on disk.
    fn trim(&mut self) -> io::Result<()> {
        let mut index = self.shared.index();
        if !index.acked_changed {
            return Ok(());
        }
        index.acked_changed = false;
        self.state_changed = true;
        let growing = self.active.as_ref().map(|active| active.seal);
        let done: Vec<Segment> = index
            .segments
            .iter()
            .filter(|segment| Some(segment.seal) != growing && index.is_done(segment))
            .copied()
            .collect();
        drop(index);
        if done.is_empty() {
            return Ok(());
        }
        if let Err(e) = self.write_state(true) {
            self.shared.index().acked_changed = true;
            return Err(e);
        }
        for segment in &done {
            let removed = self.shared.disk.remove(&segment.seal.name());
            if removed.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::NotFound) {
                self.shared.index().acked_changed = true;
                return removed;
            }
            let mut index = self.shared.index();
            index.segments.retain(|other| other.seal != segment.seal);
            index.bytes = index.bytes.saturating_sub(segment.len);
        }
        self.shared.index().prune();
        Ok(())
    }

    /// Brings the gap file to what the index says.
    fn write_gaps(&mut self) -> io::Result<()> {
        let wanted = {
            let mut index = self.shared.index();
            if !std::mem::take(&mut index.gaps_changed) {
                return Ok(());
            }
            index.gaps.clone()
        };
        let written = self.write_slots(&wanted);
        if written.is_err() {
            self.shared.index().gaps_changed = true;
        }
        written
    }

    fn write_slots(&mut self, wanted: &[StoredGap]) -> io::Result<()> {
        let (disk, host) = (&self.shared.disk, self.shared.host);
        let mut wrote = false;
        let mut put = |slots: &mut Vec<Option<StoredGap>>, at: usize, gap: Option<StoredGap>| {
            disk.write_at(GAPS, (at * GAP_SLOT) as u64, &StoredGap::put(gap.as_ref(), host, at))?;
            slots[at] = gap;
            wrote = true;
            io::Result::Ok(())
        };
        let fresh: Vec<&StoredGap> = wanted.iter().filter(|gap| !self.slots.contains(&Some(**gap))).collect();
        for gap in fresh {
            // A gap that grew stays in its slot, so that a crash leaves the old one or the new one.
            let grew = |slot: &Option<StoredGap>| {
                slot.is_some_and(|old| {
                    (old.epoch, old.first, old.reason) == (gap.epoch, gap.first, gap.reason)
                })
            };
            let unwanted = |slot: &Option<StoredGap>| slot.is_none_or(|old| !wanted.contains(&old));
            let place = self.slots.iter().position(grew).or_else(|| self.slots.iter().position(unwanted));
            if let Some(at) = place {
                put(&mut self.slots, at, Some(*gap))?;
            }
        }
        for at in 0..self.slots.len() {
            if self.slots[at].is_some_and(|old| !wanted.contains(&old)) {
                put(&mut self.slots, at, None)?;
            }
        }
        if wrote { disk.sync(GAPS) } else { Ok(()) }
    }

    /// Writes the table of epochs to the slot that is not the newest.
    fn write_state(&mut self, sync: bool) -> io::Result<()> {
        let slot = {
            let index = self.shared.index();
            format::put_state(self.shared.host, self.counter + 1, &index.epochs)
        };
        self.counter += 1;
        let disk = &self.shared.disk;
        disk.write_at(STATE, (self.counter % 2) * STATE_SLOT as u64, &slot)?;
        if sync {
            disk.sync(STATE)?;
        }
        self.state_changed = false;
        Ok(())
    }
}
