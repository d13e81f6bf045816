//! Turning the tail into columnar parts per host, in the background.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sysop_common::ids::{Epoch, HostId};
use sysop_common::time::{HOUR_MS, UnixMs};
use tokio::sync::watch;

use super::memory::{self, HostMemory, RECENT_MS};
use super::parts::{NewPart, TIER_STRETCH, hour_of};
use super::types::{Boot, Stored};
use super::{SampleStore, part, parts, positions, tail};
use crate::store::StoreError;

/// Bytes of parts in one transaction: small, because acks wait behind it.
const GROUP_BYTES: usize = 1 << 20;
/// Bytes of log that a part's entries in the indexes take, about.
const INDEXED: usize = 16 << 10;
/// Hosts whose frames are decoded and encoded at once.
const GROUP_HOSTS: usize = 64;

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Ticks that are in parts now.
    pub ticks: usize,
    /// Parts written.
    pub parts: usize,
    /// Bytes of those parts.
    pub bytes: usize,
}

/// All that one host gives to one compaction.
struct HostParts {
    host: HostId,
    memory: Arc<Mutex<HostMemory>>,
    parts: Vec<NewPart>,
    positions: Vec<(Epoch, Boot, u64, UnixMs)>,
}

impl HostParts {
    fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.body.len()).sum()
    }
}

impl SampleStore {
    /// Compacts, merges and retires for as long as `stop` is not set, as often as the options say and
    /// earlier when much has come in.
    pub async fn maintain(self, stop: watch::Receiver<bool>) {
        tokio::join!(self.keep_order(stop.clone()), self.keep_log_small(stop));
    }

    async fn keep_order(&self, mut stop: watch::Receiver<bool>) {
        let every = Duration::from_millis(self.inner.options.compact_every_ms.max(1) as u64);
        let clock = || UnixMs::from_system(std::time::SystemTime::now());
        let mut retired_at = UnixMs(0);
        let report = |what: &str, result: Result<(), StoreError>| {
            if let Err(error) = result {
                tracing::error!(%error, what, "keeping the sample store in order failed; it is tried again");
            }
        };
        report("show silent hosts", self.show_silent_hosts(clock()).await);
        while !*stop.borrow() {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = self.inner.pressed.notified() => {}
                _ = stop.changed() => break,
            }
            let now = clock();
            report("compaction", self.compact(now).await.map(drop));
            report("merge", self.merge(now).await.map(drop));
            if now.since(retired_at).abs() >= HOUR_MS {
                report("retention", self.retire(now).await.map(drop));
                retired_at = now;
            }
            // Pressure that compaction cannot relieve must not make this spin.
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(200).min(every)) => {}
                _ = stop.changed() => break,
            }
        }
    }

    /// Puts everything that is in the tail now into parts. Harmless to interrupt at any point.
    ///
    /// # Errors
    /// When the database refuses; what was done is done, the rest comes with the next compaction.
    pub async fn compact(&self, now: UnixMs) -> Result<Compacted, StoreError> {
        let _only = self.inner.compaction.lock().await;
        let cut = self.cut(now).await;
        let due: Vec<(HostId, Arc<Mutex<HostMemory>>)> = self
            .inner
            .memory
            .all()
            .into_iter()
            .filter(|(_, memory)| memory::lock(memory).has_uncompacted(cut))
            .collect();
        let mut done = Compacted::default();
        for hosts in due.chunks(GROUP_HOSTS) {
            let hosts = hosts.to_vec();
            let made = tokio::task::spawn_blocking(move || {
                hosts.into_iter().map(|(host, memory)| build(host, memory, cut)).collect::<Vec<_>>()
            });
            let made = made.await.map_err(|e| StoreError::corrupt("compaction", e))?;
            let mut group = Vec::new();
            for host in made {
                group.push(host);
                if group.iter().map(HostParts::bytes).sum::<usize>() >= GROUP_BYTES {
                    self.write_group(std::mem::take(&mut group), cut, now, &mut done).await?;
                }
            }
            self.write_group(group, cut, now, &mut done).await?;
        }
        self.truncate(now).await?;
        self.inner.memory.let_go();
        Ok(done)
    }

    /// Ends all chains, so that the tail after this row can be read without what is before it.
    async fn cut(&self, now: UnixMs) -> i64 {
        let mut writer = self.inner.writer.lock().await;
        writer.generation += 1;
        let row = writer.last_row;
        if writer.cuts.last().is_none_or(|(last, _)| *last < row) {
            writer.cuts.push((row, now));
        }
        row
    }

    /// Writes the parts of some hosts and how far they reach, in one transaction.
    async fn write_group(
        &self,
        group: Vec<HostParts>,
        cut: i64,
        now: UnixMs,
        done: &mut Compacted,
    ) -> Result<(), StoreError> {
        if group.is_empty() {
            return Ok(());
        }
        let mut tx = self.inner.db.write().begin().await?;
        for host in &group {
            for part in &host.parts {
                parts::insert(&mut tx, part).await?;
            }
            for (epoch, boot, seq, at) in &host.positions {
                positions::raise(&mut tx, host.host, *epoch, *boot, *seq, *at).await?;
            }
        }
        tx.commit().await?;
        self.inner.log.grew(group.iter().map(|host| host.bytes() + host.parts.len() * INDEXED).sum());
        for host in &group {
            done.parts += host.parts.len();
            done.bytes += host.bytes();
            done.ticks += host.parts.iter().map(|part| part.ticks).sum::<usize>();
            let mut memory = memory::lock(&host.memory);
            let paid = memory.compacted(cut);
            memory.evict(now);
            self.inner.memory.paid(paid);
        }
        self.inner.relieved.notify_waiters();
        Ok(())
    }

    /// Removes rows of the tail that are in parts and not needed for the recent ticks after a restart.
    async fn truncate(&self, now: UnixMs) -> Result<(), StoreError> {
        let mut writer = self.inner.writer.lock().await;
        let old = now.plus(-RECENT_MS);
        let Some(at) = writer.cuts.iter().rposition(|(_, cut_at)| *cut_at <= old) else { return Ok(()) };
        let row = writer.cuts[at].0;
        let unused: Vec<i64> =
            writer.last_use.iter().filter(|(_, last)| **last <= row).map(|(id, _)| *id).collect();
        let mut tx = self.inner.db.write().begin().await?;
        tail::truncate(&mut tx, row, &unused).await?;
        tx.commit().await?;
        writer.cuts.drain(..at);
        for id in unused {
            writer.last_use.remove(&id);
            writer.chains.retain(|_, chain| chain.id != id);
        }
        Ok(())
    }
}

/// Decodes what a host has in rows up to `cut` and in no part, and encodes it as parts: one per epoch,
/// schema and hour.
fn build(host: HostId, memory: Arc<Mutex<HostMemory>>, cut: i64) -> HostParts {
    let entries = memory::lock(&memory).uncompacted(cut);
    let (mut parts, mut run, mut bytes) = (Vec::new(), Vec::<Arc<Stored>>::new(), 0);
    let same = |a: &Stored, b: &Stored| {
        a.epoch == b.epoch && a.boot == b.boot && a.schema.id == b.schema.id && hour_of(a.at) == hour_of(b.at)
    };
    memory::unfold(&entries, |stored| {
        let full = bytes > memory::MAX_UNFOLDED || run.len() >= part::MAX_TICKS;
        if full || run.last().is_some_and(|last| !same(last, &stored)) {
            parts.extend(NewPart::of(host, TIER_STRETCH, &run));
            run.clear();
            bytes = 0;
        }
        bytes += stored.cost();
        run.push(stored);
        true
    });
    parts.extend(NewPart::of(host, TIER_STRETCH, &run));
    let mut positions: Vec<(Epoch, Boot, u64, UnixMs)> = Vec::new();
    // From the entries, not the ticks: a frame that does not decode is not tried for ever.
    for entry in &entries {
        match positions.iter_mut().find(|known| known.0 == entry.chain.epoch) {
            Some(known) => (known.2, known.3) = (known.2.max(entry.seq), known.3.max(entry.at)),
            None => positions.push((entry.chain.epoch, entry.chain.boot, entry.seq, entry.at)),
        }
    }
    HostParts { host, memory, parts, positions }
}
