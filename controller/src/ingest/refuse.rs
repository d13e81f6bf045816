//! Committing a batch to its end. What the store does not take, however often it is tried, is found among
//! the others and left out, with a gap record in its place and a line in the log: one host's sample that
//! cannot be stored must not hold up those of all others.

use std::time::Duration;

use sysop_common::ids::Seq;
use sysop_common::wire::GapReason;
use tokio::sync::watch;

use super::commit::Item;
use crate::clock::Clock;
use crate::store::StoreError;
use crate::store::samples::{Batch, HostGap, SampleStore};

/// First and longest wait after a commit that failed.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Commits all of `items`, or a gap in place of what is refused. While the database is not well it tries
/// again: what was accepted is not dropped. Returns false when told to stop meanwhile; then what is not
/// committed was not acknowledged, and the agents send it again.
pub(super) async fn settle(
    store: &SampleStore,
    clock: &Clock,
    items: &[Item],
    stop: &mut watch::Receiver<bool>,
) -> bool {
    // The part to commit next is the last one; parts stay in their order.
    let mut parts = vec![items];
    let mut wait = RETRY.0;
    while let Some(part) = parts.pop() {
        match store.append(&batch(part), clock.now()).await {
            Ok(()) => {
                wait = RETRY.0;
                continue;
            }
            Err(error) if error.is_refusal() && part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
                continue;
            }
            Err(error) if error.is_refusal() && leave_out(store, clock, part, &error).await => continue,
            Err(error) => {
                let ticks = part.iter().filter(|item| item.tick.is_some()).count();
                tracing::error!(%error, ticks, "samples cannot be stored; agents keep them, trying again");
            }
        }
        parts.push(part);
        if *stop.borrow() {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stop.changed() => {}
        }
        wait = (wait * 2).min(RETRY.1);
    }
    true
}

fn batch(items: &[Item]) -> Batch {
    Batch {
        ticks: items.iter().filter_map(|item| item.tick.clone()).collect(),
        gaps: items.iter().flat_map(|item| item.gaps.iter().cloned()).collect(),
    }
}

/// Records a gap in place of the one sample that is refused. Returns whether that is committed: if not,
/// it is the database that is not well, and nothing is left out.
async fn leave_out(store: &SampleStore, clock: &Clock, part: &[Item], why: &StoreError) -> bool {
    let mut gaps: Vec<HostGap> = part.iter().flat_map(|item| item.gaps.iter().cloned()).collect();
    gaps.extend(part.iter().filter_map(in_place_of));
    let batch = Batch { ticks: Vec::new(), gaps };
    match store.append(&batch, clock.now()).await {
        Ok(()) => {
            for gap in batch.gaps.iter().filter(|gap| gap.reason == GapReason::Refused) {
                let seq = gap.seqs.map_or(0, |(first, _)| first.0);
                tracing::error!(host = %gap.host, epoch = gap.epoch.0, seq, error = %why, "a sample is refused by the store and left out; a gap record says so");
            }
            true
        }
        Err(_) => false,
    }
}

fn in_place_of(item: &Item) -> Option<HostGap> {
    let tick = item.tick.as_ref()?;
    let (seq, at) = (Seq(item.seq), tick.stored.at);
    let reason = GapReason::Refused;
    Some(HostGap { host: tick.host, epoch: item.epoch, seqs: Some((seq, seq)), from: at, to: at, reason })
}
