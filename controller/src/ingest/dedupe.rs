//! What of a host is accepted, queued and committed: drops resends, finds holes, derives the gaps that no
//! agent could report. Pure: times and numbers come in, decisions go out.

use sysop_common::ids::{Epoch, HostId, Seq};
use sysop_common::time::UnixMs;
use sysop_common::wire::{GapReason, PreviousEpoch};

use crate::store::samples::{Boot, HostGap, StoredEpoch};

/// Epochs remembered per host. Older ones are in the store.
const MAX_EPOCHS: usize = 64;
/// A stretch longer than this many intervals is a gap.
const GAP_INTERVALS: f64 = 2.5;

/// How far one epoch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    epoch: Epoch,
    boot: Boot,
    /// Accepted: stored or on its way.
    accepted: u64,
    /// Committed: may be acknowledged.
    committed: u64,
    /// Time of the last tick accepted; 0 when only gaps were.
    at: UnixMs,
}

/// What is to be done with something that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is stored or on its way: acknowledge it, no more.
    Known,
    /// It is new, and these gaps come to light before it.
    New(Vec<HostGap>),
}

/// One host's numbers.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    host: HostId,
    /// Oldest first, by when they were last touched.
    epochs: Vec<Position>,
    /// The epoch before whose first sample the agent said by itself that it had been down.
    down_said: Option<Epoch>,
    interval_ms: i64,
}

/// What the hello of the session said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    pub(super) epoch: Epoch,
    pub(super) previous: Option<PreviousEpoch>,
}

impl Numbers {
    pub(super) fn new(host: HostId, stored: &[StoredEpoch], interval_ms: i64) -> Self {
        let epochs = stored.iter().rev().take(MAX_EPOCHS).rev().map(|stored| Position {
            epoch: stored.epoch,
            boot: stored.boot,
            accepted: stored.seq.0,
            committed: stored.seq.0,
            at: stored.at,
        });
        Self { host, epochs: epochs.collect(), down_said: None, interval_ms }
    }

    fn of(&self, epoch: Epoch) -> Option<&Position> {
        self.epochs.iter().find(|position| position.epoch == epoch)
    }

    /// The last number that is committed.
    pub(super) fn committed(&self, epoch: Epoch) -> Seq {
        Seq(self.of(epoch).map_or(0, |position| position.committed))
    }

    /// The boot of an epoch, if one is known.
    pub(super) fn boot(&self, epoch: Epoch) -> Option<Boot> {
        self.of(epoch).map(|position| position.boot)
    }

    /// Notes that numbers up to `seq` are committed.
    pub(super) fn commit(&mut self, epoch: Epoch, seq: u64) {
        if let Some(position) = self.epochs.iter_mut().find(|position| position.epoch == epoch) {
            position.committed = position.committed.max(seq.min(position.accepted));
        }
    }

    /// A tick came.
    pub(super) fn tick(&mut self, said: Said, epoch: Epoch, boot: Boot, seq: u64, at: UnixMs) -> Decision {
        let before = self.of(epoch).copied();
        let accepted = before.map_or(0, |position| position.accepted);
        if seq <= accepted {
            return Decision::Known;
        }
        let mut gaps = match before {
            Some(_) => Vec::new(),
            None => self.start_gaps(said, epoch, at),
        };
        if seq > accepted + 1 {
            let from = before.map(|position| position.at).filter(|from| from.0 > 0);
            let from = from.or_else(|| gaps.last().map(|gap| gap.from)).unwrap_or(at).min(at);
            gaps.push(self.gap(epoch, Some((accepted + 1, seq - 1)), from, at, GapReason::StateLost));
        }
        self.accept(epoch, boot, seq, Some(at));
        Decision::New(gaps)
    }

    /// A gap came. It is cut to what is not known yet.
    pub(super) fn gap_came(&mut self, said: Said, boot: Boot, mut gap: HostGap) -> Decision {
        let Some((first, last)) = gap.seqs else {
            if gap.reason == GapReason::AgentDown {
                self.down_said = Some(gap.epoch);
            }
            return Decision::New(vec![gap]);
        };
        let before = self.of(gap.epoch).copied();
        let accepted = before.map_or(0, |position| position.accepted);
        if last.0 <= accepted {
            return Decision::Known;
        }
        let mut gaps = match before {
            Some(_) => Vec::new(),
            None => self.start_gaps(said, gap.epoch, gap.from),
        };
        if first.0 > accepted + 1 {
            let from = before.map(|position| position.at).filter(|from| from.0 > 0).unwrap_or(gap.from);
            let hole = (accepted + 1, first.0 - 1);
            gaps.push(self.gap(gap.epoch, Some(hole), from.min(gap.from), gap.from, GapReason::StateLost));
        }
        gap.seqs = Some((Seq(first.0.max(accepted + 1)), last));
        let epoch = gap.epoch;
        gaps.push(gap);
        self.accept(epoch, boot, last.0, None);
        Decision::New(gaps)
    }

    /// The first of an epoch came at `at`: what is missing between the last that is known and it?
    fn start_gaps(&self, said: Said, epoch: Epoch, at: UnixMs) -> Vec<HostGap> {
        let last = self.epochs.iter().filter(|position| position.at.0 > 0).max_by_key(|position| position.at);
        // An old epoch that is drained before the agent's own: the agent was down before it too.
        let previous = if said.epoch == epoch { said.previous } else { None };
        let mut gaps = Vec::new();
        let mut from = last.map(|position| position.at);
        let mut reason = match (last, previous) {
            (Some(_), None) if said.epoch == epoch => GapReason::StateLost,
            _ => GapReason::AgentDown,
        };
        if let Some(previous) = previous {
            let accepted = self.of(previous.epoch).map_or(0, |position| position.accepted);
            if previous.last_seq.0 > accepted {
                // Written to the spool, and neither sent nor reported as dropped.
                let seqs = Some((accepted + 1, previous.last_seq.0));
                let since = from.unwrap_or(previous.last_at).min(previous.last_at);
                gaps.push(self.gap(previous.epoch, seqs, since, previous.last_at, GapReason::StateLost));
                from = Some(from.map_or(previous.last_at, |from| from.max(previous.last_at)));
            }
            let continues =
                last.is_none_or(|last| last.epoch == previous.epoch) && previous.last_seq.0 >= accepted;
            if !continues {
                // An older copy of the agent's state came back.
                reason = GapReason::StateLost;
            }
            from = from.or(Some(previous.last_at));
        }
        let said_already = reason == GapReason::AgentDown && self.down_said == Some(epoch);
        if let Some(from) = from
            && !said_already
            && at.since(from) as f64 > GAP_INTERVALS * self.interval_ms as f64
        {
            gaps.push(self.gap(epoch, None, from, at, reason));
        }
        gaps
    }

    fn gap(
        &self,
        epoch: Epoch,
        seqs: Option<(u64, u64)>,
        from: UnixMs,
        to: UnixMs,
        reason: GapReason,
    ) -> HostGap {
        let seqs = seqs.map(|(first, last)| (Seq(first), Seq(last)));
        HostGap { host: self.host, epoch, seqs, from, to, reason }
    }

    fn accept(&mut self, epoch: Epoch, boot: Boot, seq: u64, at: Option<UnixMs>) {
        if let Some(found) = self.epochs.iter().position(|position| position.epoch == epoch) {
            self.epochs[found..].rotate_left(1);
            if let Some(position) = self.epochs.last_mut() {
                position.accepted = seq;
                position.at = at.unwrap_or(position.at);
            }
            return;
        }
        if self.epochs.len() >= MAX_EPOCHS {
            self.epochs.remove(0);
        }
        let at = at.unwrap_or_default();
        self.epochs.push(Position { epoch, boot, accepted: seq, committed: 0, at });
    }

    /// After gaps of another epoch were accepted with a tick: its numbers are covered by them.
    pub(super) fn cover(&mut self, gaps: &[HostGap]) {
        for gap in gaps {
            if let Some((_, last)) = gap.seqs
                && self.of(gap.epoch).is_none_or(|position| position.accepted < last.0)
            {
                self.accept(gap.epoch, Boot::unknown(gap.epoch), last.0, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Epoch = Epoch(10);
    const B: Epoch = Epoch(20);
    const BOOT: Boot = Boot(1);

    fn host() -> HostId {
        HostId(uuid::Uuid::from_u128(7))
    }

    fn numbers(stored: &[(Epoch, u64, i64)]) -> Numbers {
        let stored: Vec<StoredEpoch> = stored
            .iter()
            .map(|(epoch, seq, at)| StoredEpoch {
                epoch: *epoch,
                seq: Seq(*seq),
                at: UnixMs(*at),
                boot: BOOT,
            })
            .collect();
        Numbers::new(host(), &stored, 10_000)
    }

    fn said(epoch: Epoch, previous: Option<(Epoch, u64, i64)>) -> Said {
        let previous =
            previous.map(|(epoch, seq, at)| PreviousEpoch { epoch, last_seq: Seq(seq), last_at: UnixMs(at) });
        Said { epoch, previous }
    }

    type Short = (Epoch, Option<(u64, u64)>, i64, i64, GapReason);

    fn gaps(decision: Decision) -> Vec<Short> {
        let Decision::New(gaps) = decision else { panic!("known") };
        let short =
            |gap: HostGap| (gap.epoch, gap.seqs.map(|(a, b)| (a.0, b.0)), gap.from.0, gap.to.0, gap.reason);
        gaps.into_iter().map(short).collect()
    }

    #[test]
    fn a_resend_is_known_and_a_hole_is_a_gap() {
        let mut numbers = numbers(&[(A, 5, 50_000)]);
        let said = said(A, None);
        assert_eq!(numbers.tick(said, A, BOOT, 5, UnixMs(50_000)), Decision::Known);
        assert_eq!(gaps(numbers.tick(said, A, BOOT, 6, UnixMs(60_000))), vec![]);
        assert_eq!(
            gaps(numbers.tick(said, A, BOOT, 9, UnixMs(90_000))),
            vec![(A, Some((7, 8)), 60_000, 90_000, GapReason::StateLost)]
        );
        assert_eq!(numbers.committed(A), Seq(5));
        numbers.commit(A, 9);
        assert_eq!(numbers.committed(A), Seq(9));
        numbers.commit(A, 99);
        assert_eq!(numbers.committed(A), Seq(9), "no more than was accepted");
    }

    #[test]
    fn a_restart_is_a_gap_of_time_and_a_quick_one_is_none() {
        let known = || numbers(&[(A, 5, 50_000)]);
        let now = said(B, Some((A, 5, 50_000)));
        assert_eq!(
            gaps(known().tick(now, B, BOOT, 1, UnixMs(120_000))),
            vec![(B, None, 50_000, 120_000, GapReason::AgentDown)]
        );
        assert_eq!(gaps(known().tick(now, B, BOOT, 1, UnixMs(70_000))), vec![]);
        assert_eq!(gaps(numbers(&[]).tick(said(B, None), B, BOOT, 1, UnixMs(70_000))), vec![]);
    }

    #[test]
    fn a_gap_of_time_that_the_agent_reports_is_not_derived_again() {
        let mut numbers = numbers(&[(A, 5, 50_000)]);
        let now = said(B, Some((A, 5, 50_000)));
        // Its clock was corrected by a little more than at the sample before.
        let (from, to) = (UnixMs(50_400), UnixMs(120_000));
        let down = HostGap { host: host(), epoch: B, seqs: None, from, to, reason: GapReason::AgentDown };
        assert_eq!(numbers.gap_came(now, BOOT, down.clone()), Decision::New(vec![down]));
        assert_eq!(gaps(numbers.tick(now, B, BOOT, 1, UnixMs(120_000))), vec![]);
    }

    #[test]
    fn state_that_was_lost_or_rolled_back_leaves_a_gap_that_says_so() {
        let known = || numbers(&[(A, 5, 50_000)]);
        // Nothing is left of the agent's state.
        assert_eq!(
            gaps(known().tick(said(B, None), B, BOOT, 1, UnixMs(120_000))),
            vec![(B, None, 50_000, 120_000, GapReason::StateLost)]
        );
        // The spool lost its end.
        assert_eq!(
            gaps(known().tick(said(B, Some((A, 8, 80_000))), B, BOOT, 1, UnixMs(120_000))),
            vec![
                (A, Some((6, 8)), 50_000, 80_000, GapReason::StateLost),
                (B, None, 80_000, 120_000, GapReason::AgentDown)
            ]
        );
        // An older copy came back: it ends before what is stored.
        assert_eq!(
            gaps(known().tick(said(B, Some((A, 3, 30_000))), B, BOOT, 1, UnixMs(120_000))),
            vec![(B, None, 50_000, 120_000, GapReason::StateLost)]
        );
        // Or it knows of another epoch before.
        let rolled = said(B, Some((Epoch(1), 3, 30_000)));
        let got = gaps(known().tick(rolled, B, BOOT, 1, UnixMs(120_000)));
        assert_eq!(got.last(), Some(&(B, None, 50_000, 120_000, GapReason::StateLost)));
    }

    #[test]
    fn a_reported_gap_moves_on_and_is_cut_to_what_is_new() {
        let mut numbers = numbers(&[(A, 5, 50_000)]);
        let said = said(A, None);
        let reported = |first, last| HostGap {
            host: host(),
            epoch: A,
            seqs: Some((Seq(first), Seq(last))),
            from: UnixMs(60_000),
            to: UnixMs(90_000),
            reason: GapReason::SpoolFull,
        };
        assert_eq!(numbers.gap_came(said, BOOT, reported(2, 5)), Decision::Known);
        assert_eq!(
            gaps(numbers.gap_came(said, BOOT, reported(4, 9))),
            vec![(A, Some((6, 9)), 60_000, 90_000, GapReason::SpoolFull)]
        );
        assert_eq!(gaps(numbers.tick(said, A, BOOT, 10, UnixMs(100_000))), vec![]);
    }
}
