//! Samples: what was measured, kept so that it is neither lost nor counted twice.
//!
//! A sample's way: [`SampleStore::append`] writes everything that came during the last commit as one
//! row of the **tail** and into memory; every ten minutes [`SampleStore::compact`] turns what is in
//! the tail into columnar **parts** per host, and later merges those by hour; retention removes the
//! oldest. Reading goes over memory and parts as one: whatever is not in a part is in memory. The tail
//! is read at start only.
//!
//! The key of a sample is (host, epoch, number). A frame can be in the tail and in a part: the number
//! up to which an epoch is in parts is written in the transaction that writes the part, and readers
//! drop what they see twice. So a crash at any point is harmless.
//!
//! SQL is in `tail`, `parts` and `positions`; what a value means is in [`rates`].

mod append;
mod checkpoint;
mod compact;
mod ints;
mod memory;
mod merge;
mod open;
mod part;
mod parts;
mod points;
mod positions;
pub mod rates;
mod retention;
mod rows;
mod series;
mod tail;
#[cfg(test)]
mod tests;
mod types;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sysop_common::ids::{HostId, SchemaId};
use sysop_common::sample::Schema;
use sysop_common::time::{DAY_MS, MINUTE_MS, UnixMs};
use tokio::sync::Notify;

use super::{Db, StoreError};
pub use compact::Compacted;
pub use memory::RECENT_MS;
pub use positions::{StoredEpoch, reason_word};
pub use retention::Retention;
pub use rows::RowsAt;
pub use types::{
    Batch, Boot, GapRow, HostGap, Incoming, Latest, NamedSchema, Resolution, Series, SeriesRequest,
    SeriesSet, SeriesUnit, Stored, tick_cost,
};

/// Settings of the sample store.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How often the tail is turned into parts, ms.
    pub compact_every_ms: i64,
    /// How long samples and gaps are kept, ms.
    pub keep_ms: i64,
    /// Bytes of frames that may be in no part. Beyond a quarter of it compaction starts early, at the
    /// whole of it taking in waits.
    pub max_uncompacted: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { compact_every_ms: 10 * MINUTE_MS, keep_ms: 7 * DAY_MS, max_uncompacted: 256 << 20 }
    }
}

/// The store of samples. Cheap to clone: all clones are one store.
#[derive(Debug, Clone)]
pub struct SampleStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Db,
    options: Options,
    memory: memory::Memory,
    /// Whoever holds it writes: one batch, or a part of a compaction.
    writer: tokio::sync::Mutex<append::Writer>,
    /// One compaction at a time.
    compaction: tokio::sync::Mutex<()>,
    /// Schemas that somebody holds.
    schemas: Mutex<HashMap<SchemaId, Weak<NamedSchema>>>,
    /// Much is not in parts: compact early.
    pressed: Notify,
    /// Readings of series at a time: each may take a good part of memory.
    readings: tokio::sync::Semaphore,
    /// Something was compacted: there may be room again.
    relieved: Notify,
    log: checkpoint::Log,
}

impl SampleStore {
    /// The newest tick of a host and the one before it; `None` when none is known.
    #[must_use]
    pub fn latest(&self, host: HostId) -> Option<Latest> {
        memory::lock(&*self.inner.memory.get(host)?).latest()
    }

    /// The newest ticks of all hosts, in no order.
    #[must_use]
    pub fn latest_all(&self) -> Vec<(HostId, Latest)> {
        let hosts = self.inner.memory.all();
        hosts.into_iter().filter_map(|(host, memory)| Some((host, memory::lock(&memory).latest()?))).collect()
    }

    /// Whole ticks of a host from `since` on, in order, as far back as they are in memory: at least
    /// [`RECENT_MS`] while the controller runs and after a restart.
    #[must_use]
    pub fn recent(&self, host: HostId, since: UnixMs) -> Vec<Arc<Stored>> {
        let Some(memory) = self.inner.memory.get(host) else { return Vec::new() };
        let entries = memory::lock(&memory).since(since);
        let mut ticks = memory::decode(&entries);
        ticks.retain(|stored| stored.at >= since);
        ticks
    }

    /// Shows a sample that came out of order, without storing it.
    pub fn show(&self, incoming: &Incoming) {
        memory::lock(&self.inner.memory.of(incoming.host)).now(&incoming.stored);
    }

    /// The one shared copy of a schema.
    #[must_use]
    pub fn intern(&self, schema: Schema) -> Arc<NamedSchema> {
        let id = schema.id();
        let mut known = self.inner.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = known.get(&id).and_then(Weak::upgrade) {
            return schema;
        }
        if known.len() > 1_024 && known.len() > 2 * known.values().filter(|s| s.strong_count() > 0).count() {
            known.retain(|_, schema| schema.strong_count() > 0);
        }
        let named = Arc::new(NamedSchema { id, schema });
        known.insert(id, Arc::downgrade(&named));
        named
    }

    /// The schema called `id`, from memory or the database.
    async fn schema(&self, id: SchemaId) -> Result<Arc<NamedSchema>, StoreError> {
        let known = self
            .inner
            .schemas
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .and_then(Weak::upgrade);
        if let Some(schema) = known {
            return Ok(schema);
        }
        let mut db = self.inner.db.read().acquire().await?;
        let found = tail::schema(&mut db, id).await?;
        let schema = found.ok_or_else(|| StoreError::corrupt("part", "its schema is not stored"))?;
        Ok(self.intern(schema.schema.clone()))
    }

    /// Forgets what memory holds of a host that was removed, once all of it is in parts: its history stays.
    pub fn forget(&self, host: HostId) {
        self.inner.memory.leave(host);
    }

    /// How far each epoch of a host is stored: parts, tail and gaps together; the newest last.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stored_epochs(&self, host: HostId) -> Result<Vec<StoredEpoch>, StoreError> {
        let mut db = self.inner.db.read().acquire().await?;
        let mut epochs = positions::of_host(&mut db, host).await?;
        if let Some(memory) = self.inner.memory.get(host) {
            memory::lock(&memory).raise(&mut epochs);
        }
        Ok(epochs)
    }

    /// The gaps of a host that overlap a window, by time; the first 2,000 of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn gaps(&self, host: HostId, from: UnixMs, to: UnixMs) -> Result<Vec<GapRow>, StoreError> {
        let mut db = self.inner.db.read().acquire().await?;
        positions::gaps(&mut db, host, from, to).await
    }

    /// All gaps of a host with their numbers.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn numbered_gaps(&self, host: HostId) -> Result<Vec<HostGap>, StoreError> {
        let mut db = self.inner.db.read().acquire().await?;
        positions::numbered_gaps(&mut db, host).await
    }

    /// Closes the database, after what is under way.
    pub async fn close(&self) {
        let _writer = self.inner.writer.lock().await;
        self.inner.log.close().await;
        self.inner.db.close().await;
    }
}
