//! Reading the spool in the order in which it must be sent.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use sysop_common::ids::{Epoch, Seq};
use sysop_common::time::UnixMs;
use sysop_common::wire::{Gap, GapReason};

use super::format::EpochInfo;
use super::index::Index;
use super::segment::{Read, Reader};
use super::{Entry, Sample, Shared};

/// Yields everything that is not acknowledged: epochs in order, numbers in order, a gap for each
/// number that is not there. Reads files in pieces of 64 KiB; the newest pages are in memory as a rule.
pub struct Drain {
    shared: Arc<Shared>,
    reader: Option<Reader>,
    /// Where the drain is: everything before number `next` of this epoch was yielded or acknowledged.
    epoch: Option<Epoch>,
    next: Seq,
    last_at: Option<UnixMs>,
    queue: VecDeque<Entry>,
}

impl std::fmt::Debug for Drain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Drain at {:?} of {:?}", self.next, self.epoch)
    }
}

impl Drain {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, reader: None, epoch: None, next: Seq(1), last_at: None, queue: VecDeque::new() }
    }

    /// The next entry; `None` while there is nothing new.
    pub fn next_entry(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.queue.pop_front() {
                return Some(entry);
            }
            let (epoch, read) = self.read()?;
            self.arrange(epoch, read);
        }
    }

    /// The next sample on disk, or in memory where the disk fails.
    fn read(&mut self) -> Option<(Epoch, Read)> {
        if let Some(newest) = self.newest() {
            return Some(newest);
        }
        loop {
            let here = self.reader.as_ref().map(|reader| *reader.seal());
            let len = |index: &Index| {
                index.segments.iter().find(|segment| Some(segment.seal) == here).map(|segment| segment.len)
            };
            let seen = len(&self.shared.index());
            if let (Some(reader), Some(seen)) = (&mut self.reader, seen) {
                match reader.next(&*self.shared.disk, seen) {
                    Ok(Some(read)) => return Some((reader.seal().epoch, read)),
                    Ok(None) => {}
                    // Dropped meanwhile: it is missing, and the gap says so.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    // Tried again when there is something new.
                    Err(e) => {
                        tracing::warn!(segment = reader.seal().name(), error = %e, "the spool cannot be read now");
                        return None;
                    }
                }
            }
            let index = self.shared.index();
            if seen.is_some() && len(&index) != seen {
                continue;
            }
            let after = here.map_or(0, |seal| seal.number + 1);
            let rest =
                |segment: &&super::segment::Segment| segment.seal.number >= after && !index.is_done(segment);
            match index.segments.iter().find(rest) {
                Some(next) => self.reader = Some(Reader::new(next.seal)),
                None => return self.in_memory(&index),
            }
        }
    }

    /// The newest sample, when it is on disk and the next one: what was written a moment ago need not be
    /// read back. The reader stays behind; should it be needed again, what it finds first is passed over.
    fn newest(&self) -> Option<(Epoch, Read)> {
        let index = self.shared.index();
        let (current, newest) = (index.current()?.epoch, index.newest.as_ref()?);
        let is_next = self.epoch == Some(current) && newest.seq == self.next && index.pending.is_empty();
        is_next.then(|| (current, copy(newest)))
    }

    fn in_memory(&self, index: &Index) -> Option<(Epoch, Read)> {
        let current = index.current()?.epoch;
        let from = if self.epoch == Some(current) { self.next } else { Seq(1) };
        let sample = index.pending.iter().find(|sample| index.offered && sample.seq >= from)?;
        Some((current, copy(sample)))
    }

    /// Queues `read` with the gaps that come before it.
    fn arrange(&mut self, epoch: Epoch, read: Read) {
        let shared = self.shared.clone();
        let index = shared.index();
        let Some(target) = index.epochs.iter().position(|info| info.epoch == epoch) else { return };
        if self.epoch != Some(epoch) && !self.move_to(&index, target) {
            return;
        }
        if read.seq < self.next {
            return;
        }
        if self.next == Seq(1) {
            self.queue.extend(self.down(&index.epochs[..target], epoch, read.at).map(Entry::Gap));
        }
        if read.seq > self.next {
            let from = self.last_at.unwrap_or(read.at);
            let missing = index.missing(epoch, self.next, Seq(read.seq.0 - 1), from, read.at);
            self.queue.extend(missing.into_iter().map(Entry::Gap));
        }
        self.queue.extend(index.stalls_before(epoch, read.seq).map(Entry::Gap));
        (self.next, self.last_at) = (read.seq.next(), Some(read.at));
        self.queue.push_back(Entry::Sample {
            epoch,
            seq: read.seq,
            at: read.at,
            schema_id: read.schema_id,
            schema: read.schema,
            frame: read.frame,
            tick: read.tick,
        });
    }

    /// Finishes the epochs up to the one at `target` and enters that; `false` when it is behind.
    fn move_to(&mut self, index: &Index, target: usize) -> bool {
        let known = self.epoch.and_then(|epoch| index.epochs.iter().position(|info| info.epoch == epoch));
        if self.epoch.is_none() {
            self.forgotten(index);
        }
        // An epoch that is not in the table any more was settled, and so nothing after it was yielded.
        let at = known.unwrap_or_else(|| {
            self.enter(&index.epochs[0]);
            0
        });
        for n in at..target {
            let info = index.epochs[n];
            if self.next <= info.last {
                let from = self.last_at.unwrap_or(info.last_at);
                let missing = index.missing(info.epoch, self.next, info.last, from, info.last_at);
                self.queue.extend(missing.into_iter().map(Entry::Gap));
            }
            self.enter(&index.epochs[n + 1]);
        }
        at <= target
    }

    fn enter(&mut self, info: &EpochInfo) {
        (self.epoch, self.next, self.last_at) = (Some(info.epoch), info.acked.next(), None);
    }

    /// Gaps of epochs that were dropped whole.
    fn forgotten(&mut self, index: &Index) {
        let unknown = index.gaps.iter().filter(|gap| index.info(gap.epoch).is_none() && gap.has_seqs());
        for gap in unknown {
            let seqs = Some((gap.first, gap.last));
            let gap = Gap { epoch: gap.epoch, seqs, from: gap.from, to: gap.to, reason: gap.reason };
            self.queue.push_back(Entry::Gap(gap));
        }
    }

    /// The time that the agent was down before its first sample of `epoch`, if that is long.
    fn down(&self, before: &[EpochInfo], epoch: Epoch, to: UnixMs) -> Option<Gap> {
        let from = before.iter().rev().find(|info| info.last > Seq(0))?.last_at;
        let silence = i64::try_from(self.shared.options.silence.as_millis()).unwrap_or(i64::MAX);
        (to.since(from) > silence).then_some(Gap {
            epoch,
            seqs: None,
            from,
            to,
            reason: GapReason::AgentDown,
        })
    }
}

fn copy(sample: &Sample) -> Read {
    Read {
        seq: sample.seq,
        at: sample.at,
        schema_id: sample.schema_id,
        schema: sample.schema.clone(),
        frame: sample.frame.clone(),
        tick: Some(sample.tick.clone()),
    }
}
