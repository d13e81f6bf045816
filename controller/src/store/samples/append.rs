//! The one writer: a batch becomes one row of the tail, with the gaps, chains and schemas that belong
//! to it, in one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sysop_common::ids::HostId;
use sysop_common::sample::codec::{encode_after, is_full};
use sysop_common::time::{MINUTE_MS, UnixMs};

use super::memory::{self, Base, ChainInfo, Entry};
use super::types::{Batch, Incoming, Stored};
use super::{SampleStore, positions, tail};
use crate::store::StoreError;

/// The first frame per host and this long is stored full.
const FULL_EVERY_MS: i64 = 10 * MINUTE_MS;

/// What the writer knows from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// The chain of each host's newest frame.
    pub(super) chains: HashMap<HostId, Arc<ChainInfo>>,
    /// The last row that names a chain.
    pub(super) last_use: HashMap<i64, i64>,
    pub(super) next_chain: i64,
    /// Raised when no later frame may build on earlier ones: at a compaction, after a failure.
    pub(super) generation: u64,
    pub(super) last_row: i64,
    /// When the last row was written; 0 when not known.
    pub(super) last_at: i64,
    /// Rows after which the tail begins anew, with their times, oldest first.
    pub(super) cuts: Vec<(i64, UnixMs)>,
}

/// A batch as it will be written.
struct Prepared {
    entries: Vec<(HostId, Entry)>,
    new_chains: Vec<(HostId, Arc<ChainInfo>)>,
    bases: HashMap<HostId, Base>,
}

impl SampleStore {
    /// Commits a batch: when this returns, it survives a power cut. Waits while too much is in no part.
    ///
    /// The caller has dropped what is stored already; the ticks of one host are in order.
    ///
    /// # Errors
    /// When the database refuses. Nothing of the batch is visible then, and it may be given again.
    pub async fn append(&self, batch: &Batch, now: UnixMs) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.wait_for_room().await;
        let mut writer = self.inner.writer.lock().await;
        self.inner.log.bound().await;
        let prepared = self.prepare(&mut writer, batch);
        match self.write(&writer, &prepared, batch, now).await {
            Ok(row) => {
                self.remember(&mut writer, prepared, batch, row, now);
                Ok(())
            }
            Err(error) => {
                if !error.is_refusal() {
                    // It may or may not be on disk: what follows must not build on it.
                    writer.generation += 1;
                }
                for (host, _) in &prepared.new_chains {
                    writer.chains.remove(host);
                }
                Err(error)
            }
        }
    }

    async fn wait_for_room(&self) {
        let limit = self.inner.options.max_uncompacted;
        loop {
            let relieved = self.inner.relieved.notified();
            if self.inner.memory.owed() < limit {
                return;
            }
            self.inner.pressed.notify_one();
            relieved.await;
        }
    }

    fn prepare(&self, writer: &mut Writer, batch: &Batch) -> Prepared {
        let mut prepared = Prepared {
            entries: Vec::with_capacity(batch.ticks.len()),
            new_chains: Vec::new(),
            bases: HashMap::new(),
        };
        for Incoming { host, stored } in &batch.ticks {
            let chain = chain_of(writer, &mut prepared, *host, stored);
            let base = match prepared.bases.remove(host) {
                Some(base) => Some(base),
                None => self.inner.memory.get(*host).and_then(|memory| memory::lock(&memory).base.clone()),
            };
            let base = base.filter(|base| may_build_on(base, stored, writer.generation));
            let mut frame = Vec::new();
            encode_after(base.as_ref().map(|base| &*base.stored.tick), &stored.tick, &mut frame);
            let began = match &base {
                Some(base) if !is_full(&frame) => base.began,
                _ => stored.received_at,
            };
            let base = Base { stored: stored.clone(), began, generation: writer.generation };
            prepared.bases.insert(*host, base);
            let entry = Entry {
                row: 0,
                seq: stored.tick.seq.0,
                at: stored.at,
                received_at: stored.received_at,
                chain,
                frame: frame.into(),
            };
            prepared.entries.push((*host, entry));
        }
        prepared
    }

    async fn write(
        &self,
        writer: &Writer,
        prepared: &Prepared,
        batch: &Batch,
        now: UnixMs,
    ) -> Result<i64, StoreError> {
        let mut body = tail::begin();
        prepared.entries.iter().for_each(|(_, entry)| tail::put_entry(&mut body, now, entry));
        if prepared.new_chains.is_empty() && batch.gaps.is_empty() {
            // One statement is a transaction by itself, at a third of the way to the database and back.
            let mut db = self.inner.db.write().acquire().await?;
            let row = tail::insert(&mut db, now, prepared.entries.len(), &body).await?;
            self.inner.log.grew(body.len());
            return Ok(row);
        }
        let mut tx = self.inner.db.write().begin().await?;
        let mut schemas = HashSet::new();
        for (_, chain) in &prepared.new_chains {
            if schemas.insert(chain.schema.id) {
                tail::insert_schema(&mut tx, &chain.schema).await?;
            }
        }
        tail::insert_chains(&mut tx, &prepared.new_chains).await?;
        for gap in &batch.gaps {
            positions::insert_gap(&mut tx, gap, now).await?;
        }
        let mut row = writer.last_row;
        if !prepared.entries.is_empty() {
            row = tail::insert(&mut tx, now, prepared.entries.len(), &body).await?;
        }
        tx.commit().await?;
        self.inner.log.grew(body.len());
        Ok(row)
    }

    fn remember(&self, writer: &mut Writer, prepared: Prepared, batch: &Batch, row: i64, now: UnixMs) {
        writer.last_row = row;
        writer.last_at = now.0;
        let mut owed = 0;
        let mut bases = prepared.bases;
        for ((host, mut entry), incoming) in prepared.entries.into_iter().zip(&batch.ticks) {
            entry.row = row;
            writer.last_use.insert(entry.chain.id, row);
            let memory = self.inner.memory.of(host);
            let mut memory = memory::lock(&memory);
            let full = is_full(&entry.frame);
            owed += memory.extend([entry]);
            memory.stored(&incoming.stored);
            if let Some(base) = bases.remove(&host) {
                memory.base = Some(base);
            }
            if full {
                memory.evict(now);
            }
        }
        self.inner.memory.owe(owed);
        if self.inner.memory.owed() > self.inner.options.max_uncompacted / 4 {
            self.inner.pressed.notify_one();
        }
    }
}

fn may_build_on(base: &Base, next: &Stored, generation: u64) -> bool {
    base.generation == generation
        && base.stored.epoch == next.epoch
        && base.stored.schema.id == next.schema.id
        && next.received_at.since(base.began) < FULL_EVERY_MS
}

fn chain_of(writer: &mut Writer, prepared: &mut Prepared, host: HostId, stored: &Stored) -> Arc<ChainInfo> {
    let fits = |chain: &&Arc<ChainInfo>| {
        chain.epoch == stored.epoch && chain.boot == stored.boot && chain.schema.id == stored.schema.id
    };
    if let Some(chain) = writer.chains.get(&host).filter(fits) {
        return chain.clone();
    }
    writer.next_chain += 1;
    let chain = Arc::new(ChainInfo {
        id: writer.next_chain,
        epoch: stored.epoch,
        boot: stored.boot,
        schema: stored.schema.clone(),
    });
    writer.chains.insert(host, chain.clone());
    prepared.new_chains.push((host, chain.clone()));
    chain
}
