//! Opening the store: the tail is read into memory, once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use sysop_common::ids::{Epoch, HostId};
use sysop_common::time::{DAY_MS, UnixMs};

use super::append::Writer;
use super::checkpoint::Log;
use super::memory::{self, ChainInfo, Entry, Memory};
use super::part::Part;
use super::types::Stored;
use super::{Db, Inner, Options, SampleStore, StoreError, parts, positions, tail};

/// Readings of series at a time.
const READINGS: usize = 4;
/// Rows of the tail read at once.
const PAGE: i64 = 256;

impl SampleStore {
    /// Opens (and makes) the sample database in `dir` and reads its tail.
    ///
    /// # Errors
    /// When the file cannot be opened or its schema not be brought up to date.
    pub async fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        let (db, log) = Db::open_with_log(&dir.join("samples.db")).await?;
        sqlx::migrate!("../migrations/sqlite/samples").run(db.write()).await?;
        let store = Self {
            inner: Arc::new(Inner {
                db,
                options,
                memory: Memory::default(),
                writer: tokio::sync::Mutex::default(),
                compaction: tokio::sync::Mutex::default(),
                schemas: std::sync::Mutex::default(),
                pressed: tokio::sync::Notify::new(),
                readings: tokio::sync::Semaphore::new(READINGS),
                relieved: tokio::sync::Notify::new(),
                log: Log::new(log),
            }),
        };
        store.read_tail().await?;
        Ok(store)
    }

    async fn read_tail(&self) -> Result<(), StoreError> {
        let mut writer = self.inner.writer.lock().await;
        let mut db = self.inner.db.read().acquire().await?;
        let mut chains = HashMap::new();
        for (id, host, epoch, boot, schema) in tail::chains(&mut db).await? {
            writer.next_chain = writer.next_chain.max(id);
            writer.last_use.insert(id, 0);
            let schema = self.schema(schema).await?;
            chains.insert(id, (host, Arc::new(ChainInfo { id, epoch, boot, schema })));
        }
        let mut in_parts = HashMap::new();
        for (host, epoch, seq) in positions::all(&mut db).await? {
            in_parts.insert((tail::host_id(&host)?, Epoch(epoch as u64)), seq as u64);
        }
        let mut scan = Scan { store: self, writer: &mut writer, in_parts, owed: 0 };
        let mut after = 0;
        loop {
            let rows = tail::rows(&mut db, after, PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = last.0;
            for (row, at, body) in &rows {
                scan.row(*row, UnixMs(*at), body, &chains);
            }
        }
        let owed = scan.owed;
        self.inner.memory.owe(owed);
        writer.last_row = tail::last_row(&mut db).await?;
        // Chains end here: what is written from now on begins with full frames.
        let (row, at) = (writer.last_row, UnixMs(writer.last_at));
        writer.cuts.push((row, at));
        self.show_newest_of_tail();
        Ok(())
    }

    /// Decodes the newest ticks of each host from the tail.
    fn show_newest_of_tail(&self) {
        for (_, memory) in self.inner.memory.all() {
            let entries = memory::lock(&memory).newest_chain();
            let ticks = memory::decode(&entries);
            let mut memory = memory::lock(&memory);
            ticks[ticks.len().saturating_sub(2)..].iter().for_each(|stored| memory.stored(stored));
        }
    }

    /// Shows the newest stored tick of hosts of which nothing is in memory: those that have been silent
    /// since before the tail begins. Meant for the background, after the start.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn show_silent_hosts(&self, now: UnixMs) -> Result<(), StoreError> {
        let hosts = {
            let mut db = self.inner.db.read().acquire().await?;
            parts::hosts_since(&mut db, now.plus(-DAY_MS)).await?
        };
        for host in hosts.into_iter().filter(|host| self.latest(*host).is_none()) {
            let row = {
                let mut db = self.inner.db.read().acquire().await?;
                parts::newest(&mut db, host).await?
            };
            if let Some(row) = row {
                let schema = self.schema(row.schema).await?;
                self.show_part(host, schema, &row);
            }
        }
        Ok(())
    }

    fn show_part(&self, host: HostId, schema: Arc<super::NamedSchema>, row: &parts::PartRow) {
        let ticks = match Part::open(&row.body).and_then(|part| part.ticks()) {
            Ok(ticks) => ticks,
            Err(error) => return tracing::warn!(%host, part = row.id, %error, "a part cannot be read"),
        };
        let memory = self.inner.memory.of(host);
        let mut memory = memory::lock(&memory);
        if memory.latest().is_some() {
            return;
        }
        let first = ticks.len().saturating_sub(2);
        for (tick, at, received_at) in ticks.into_iter().skip(first) {
            memory.stored(&Arc::new(Stored {
                tick: Arc::new(tick),
                schema: schema.clone(),
                epoch: row.epoch,
                boot: row.boot,
                at,
                received_at,
            }));
        }
    }
}

/// One pass over the tail.
struct Scan<'a> {
    store: &'a SampleStore,
    writer: &'a mut Writer,
    in_parts: HashMap<(HostId, Epoch), u64>,
    owed: u64,
}

impl Scan<'_> {
    fn row(&mut self, row: i64, at: UnixMs, body: &[u8], chains: &HashMap<i64, (HostId, Arc<ChainInfo>)>) {
        self.writer.last_at = self.writer.last_at.max(at.0);
        let entries = match tail::read_row(row, at, body, chains) {
            Ok(entries) => entries,
            // Nothing else can be lost by going on, and much by stopping.
            Err(error) => return tracing::error!(row, %error, "a row of the tail is damaged and left out"),
        };
        for (host, entry) in entries {
            self.writer.last_use.insert(entry.chain.id, row);
            self.entry(host, entry);
        }
    }

    fn entry(&mut self, host: HostId, entry: Entry) {
        let in_parts = self.in_parts.get(&(host, entry.chain.epoch)).copied().unwrap_or(0);
        let memory = self.store.inner.memory.of(host);
        let mut memory = memory::lock(&memory);
        if memory.has(entry.chain.epoch, entry.seq) {
            return;
        }
        let (row, done) = (entry.row, entry.seq <= in_parts);
        let cost = memory.extend([entry]);
        if done {
            memory.found_compacted(row);
        } else {
            self.owed += cost;
        }
    }
}
