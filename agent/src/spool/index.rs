//! What the spool holds, in memory: every method leaves it sound, none touches the disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sysop_common::ids::{Epoch, Seq};
use sysop_common::time::UnixMs;
use sysop_common::wire::{Gap, GapReason};

use super::format::{EpochInfo, GAP_SLOTS, StoredGap};
use super::segment::Segment;
use super::{Depth, MAX_PENDING, MAX_PENDING_BYTES, Sample};

/// The spool's content.
#[derive(Default)]
pub(super) struct Index {
    /// Oldest first; the last one is this agent's.
    pub(super) epochs: Vec<EpochInfo>,
    /// By number; the last one may still grow.
    pub(super) segments: VecDeque<Segment>,
    /// Bytes of all segments.
    pub(super) bytes: u64,
    /// Samples of this epoch that have a number and are not on disk.
    pub(super) pending: VecDeque<Arc<Sample>>,
    /// Whether drains may read `pending`: the disk does not do its work.
    pub(super) offered: bool,
    pub(super) newest: Option<Arc<Sample>>,
    /// Gaps that are recorded, not those that are derived.
    pub(super) gaps: Vec<StoredGap>,
    pub(super) gaps_changed: bool,
    pub(super) acked_changed: bool,
    pub(super) stop: bool,
    pub(super) problem: Option<String>,
}

impl Index {
    pub(super) fn current(&self) -> Option<&EpochInfo> {
        self.epochs.last()
    }

    pub(super) fn info(&self, epoch: Epoch) -> Option<&EpochInfo> {
        self.epochs.iter().find(|info| info.epoch == epoch)
    }

    pub(super) fn append(&mut self, sample: Arc<Sample>, hang: Duration) {
        let Some(info) = self.epochs.last_mut() else { return };
        (info.last, info.last_at) = (sample.seq, sample.at);
        self.newest = Some(sample.clone());
        self.pending.push_back(sample);
        if self.pending.front().is_some_and(|first| first.queued.elapsed() > hang) {
            self.offered = true;
        }
        let mut bytes: usize = self.pending.iter().map(|sample| sample.frame.len()).sum();
        while self.pending.len() > MAX_PENDING || (bytes > MAX_PENDING_BYTES && self.pending.len() > 1) {
            let Some(lost) = self.pending.pop_front() else { break };
            bytes -= lost.frame.len();
            self.lose(lost.seq, lost.seq, lost.at, lost.at, GapReason::SpoolWrite, None);
        }
    }

    /// Numbers from `first` to `last` will never come, but for those that are acknowledged.
    pub(super) fn lose(
        &mut self,
        first: Seq,
        last: Seq,
        from: UnixMs,
        to: UnixMs,
        reason: GapReason,
        epoch: Option<Epoch>,
    ) {
        let Some(info) = epoch.map_or(self.epochs.last(), |epoch| self.info(epoch)) else { return };
        let first = first.max(info.acked.next());
        if first <= last {
            let gap = StoredGap { epoch: info.epoch, first, last, from, to, reason };
            self.keep(gap);
        }
    }

    pub(super) fn stalled(&mut self, from: UnixMs, to: UnixMs) {
        let Some(info) = self.epochs.last() else { return };
        let gap = StoredGap {
            epoch: info.epoch,
            first: info.last.next(),
            last: Seq(0),
            from,
            to,
            reason: GapReason::Stalled,
        };
        self.keep(gap);
    }

    fn keep(&mut self, mut gap: StoredGap) {
        self.gaps_changed = true;
        // The clock may have been set back in between.
        gap.to = gap.to.max(gap.from);
        let joins = |before: &&mut StoredGap| {
            let same = before.epoch == gap.epoch && before.reason == gap.reason;
            same && before.has_seqs() && gap.has_seqs() && before.last.next() == gap.first
        };
        if let Some(before) = self.gaps.iter_mut().rev().find(joins) {
            (before.last, before.to) = (gap.last, gap.to.max(before.to));
            return;
        }
        // Beyond the cap the oldest loses its reason only: a reader derives the gap all the same.
        if self.gaps.len() == GAP_SLOTS {
            self.gaps.remove(0);
        }
        self.gaps.push(gap);
    }

    pub(super) fn acknowledge(&mut self, epoch: Epoch, seq: Seq) {
        let is_current = self.current().is_some_and(|info| info.epoch == epoch);
        let acked = match self.epochs.iter_mut().find(|info| info.epoch == epoch) {
            Some(info) if seq.min(info.last) <= info.acked => return,
            Some(info) => {
                info.acked = seq.min(info.last);
                info.acked
            }
            // An epoch that was dropped whole has nothing left but gaps.
            None => seq,
        };
        self.acked_changed = true;
        if is_current {
            self.pending.retain(|sample| sample.seq > acked);
            self.offered &= !self.pending.is_empty();
        }
        let before = self.gaps.len();
        self.gaps.retain(|gap| gap.epoch != epoch || gap.acked_with() > acked);
        self.gaps_changed |= self.gaps.len() != before;
    }

    /// Whether every number in a segment is acknowledged.
    pub(super) fn is_done(&self, segment: &Segment) -> bool {
        self.info(segment.seal.epoch).is_none_or(|info| segment.last.0 <= info.acked)
    }

    /// Takes the oldest segment out; what of it is not acknowledged becomes a gap.
    pub(super) fn drop_oldest(&mut self, reason: GapReason) -> Option<Segment> {
        let segment = self.segments.pop_front()?;
        self.bytes = self.bytes.saturating_sub(segment.len);
        let (first, last) = (segment.first, segment.last);
        self.lose(first.0, last.0, first.1, last.1, reason, Some(segment.seal.epoch));
        Some(segment)
    }

    /// Forgets epochs of which nothing is left to say.
    pub(super) fn prune(&mut self) {
        let keep_from = self.epochs.len().saturating_sub(2);
        let mut at = 0;
        let epochs = &self.epochs;
        let settled = |n: usize| {
            let (info, next) = (&epochs[n], epochs.get(n + 1));
            // The epoch after it still needs its time, to tell how long the agent was down.
            let told = next.is_none_or(|next| next.acked > Seq(0));
            info.acked >= info.last && (told || info.last == Seq(0))
        };
        let keep: Vec<bool> = (0..epochs.len()).map(|n| n >= keep_from || !settled(n)).collect();
        self.epochs.retain(|_| {
            at += 1;
            keep[at - 1]
        });
    }

    /// The gaps that stand for the numbers from `first` to `last`, in order: those that are recorded,
    /// and damage for the rest.
    pub(super) fn missing(&self, epoch: Epoch, first: Seq, last: Seq, from: UnixMs, to: UnixMs) -> Vec<Gap> {
        let (mut gaps, mut at) = (Vec::new(), first);
        while at <= last {
            let here = |gap: &&StoredGap| gap.epoch == epoch && gap.has_seqs();
            let covers = self.gaps.iter().filter(here).find(|gap| gap.first <= at && gap.last >= at);
            let gap = if let Some(gap) = covers {
                let seqs = Some((at, gap.last.min(last)));
                Gap { epoch, seqs, from: gap.from, to: gap.to, reason: gap.reason }
            } else {
                let next = self.gaps.iter().filter(here).map(|gap| gap.first).filter(|seq| *seq > at).min();
                let end = next.map_or(last, |next| last.min(Seq(next.0 - 1)));
                Gap { epoch, seqs: Some((at, end)), from: from.min(to), to, reason: GapReason::SpoolCorrupt }
            };
            at = gap.seqs.map_or(last, |(_, end)| end).next();
            gaps.push(gap);
        }
        gaps
    }

    /// The gaps without numbers that come right before number `seq`.
    pub(super) fn stalls_before(&self, epoch: Epoch, seq: Seq) -> impl Iterator<Item = Gap> {
        let here = move |gap: &&StoredGap| gap.epoch == epoch && !gap.has_seqs() && gap.first == seq;
        self.gaps.iter().filter(here).map(|gap| Gap {
            epoch: gap.epoch,
            seqs: None,
            from: gap.from,
            to: gap.to,
            reason: gap.reason,
        })
    }

    pub(super) fn depth(&self) -> Depth {
        Depth {
            bytes: self.bytes,
            unacked: self.epochs.iter().map(|info| info.last.0.saturating_sub(info.acked.0)).sum(),
            pending: self.pending.len() as u64,
            gaps: self.gaps.len() as u64,
            problem: self.problem.clone(),
        }
    }
}
