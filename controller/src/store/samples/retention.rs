//! Removing what is older than it is kept. Stops and asks when the clock jumped: a wrong clock must
//! not empty the store.

use std::path::Path;

use sysop_common::ids::HostId;
use sysop_common::time::{DAY_MS, UnixMs};

use super::{Db, SampleStore, memory};
use crate::store::StoreError;

/// Rows removed in one transaction: small, because acks wait behind it.
const PAGE: i64 = 200;
/// Epochs are remembered this much longer than their samples, so that the oldest spool is no news.
const REMEMBER_MS: i64 = 7 * DAY_MS;

const HELD_SINCE: &str = "retention_held_since";
const LAST_SEEN: &str = "last_retention_clock";

/// What retention did or why it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// So many parts and gaps were removed.
    Done {
        /// Parts.
        parts: u64,
        /// Gaps.
        gaps: u64,
    },
    /// The clock is more than a day past the last time that anything was committed: nothing is removed
    /// until [`SampleStore::confirm_clock`].
    Held {
        /// Since when.
        since: UnixMs,
    },
}

impl SampleStore {
    /// Removes parts and gaps that end before what is kept.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn retire(&self, now: UnixMs) -> Result<Retention, StoreError> {
        if let Some(since) = self.clock_doubted(now).await? {
            tracing::warn!(
                held_since_ms = since.0,
                "the clock jumped by more than a day: old samples are kept until the clock is confirmed"
            );
            return Ok(Retention::Held { since });
        }
        let before = now.plus(-self.inner.options.keep_ms);
        let (mut parts, mut gaps) = (0, 0);
        loop {
            let done = sqlx::query(
                "DELETE FROM parts WHERE id IN (SELECT id FROM parts WHERE to_at < ? ORDER BY to_at LIMIT ?)",
            )
            .bind(before.0)
            .bind(PAGE)
            .execute(self.inner.db.write())
            .await?;
            parts += done.rows_affected();
            if done.rows_affected() == 0 {
                break;
            }
        }
        let done = sqlx::query("DELETE FROM gaps WHERE to_at < ?")
            .bind(before.plus(-REMEMBER_MS).0)
            .execute(self.inner.db.write())
            .await?;
        gaps += done.rows_affected();
        sqlx::query("DELETE FROM positions WHERE at < ?")
            .bind(before.plus(-REMEMBER_MS).0)
            .execute(self.inner.db.write())
            .await?;
        if parts > 0 {
            sqlx::query(
                "DELETE FROM schemas WHERE id NOT IN (SELECT schema FROM parts UNION SELECT schema FROM chains)",
            )
            .execute(self.inner.db.write())
            .await?;
        }
        Ok(Retention::Done { parts, gaps })
    }

    /// Since when retention waits, deciding it anew: whoever deletes by age asks here first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn clock_doubted(&self, now: UnixMs) -> Result<Option<UnixMs>, StoreError> {
        if let Some(since) = self.fact(HELD_SINCE).await? {
            return Ok(Some(UnixMs(since)));
        }
        let committed = self.inner.writer.lock().await.last_at;
        // The clock of the last run bounds a jump that commits have followed already.
        let last = match self.fact(LAST_SEEN).await? {
            Some(clock) => Some(clock),
            None => (committed > 0).then_some(committed),
        };
        if last.is_some_and(|last| now.since(UnixMs(last)) > DAY_MS) {
            self.set_fact(HELD_SINCE, now.0).await?;
            return Ok(Some(now));
        }
        self.set_fact(LAST_SEEN, now.0).await?;
        Ok(None)
    }

    /// Whether retention waits for the clock to be confirmed, and since when.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn retention_held(&self) -> Result<Option<UnixMs>, StoreError> {
        Ok(self.fact(HELD_SINCE).await?.map(UnixMs))
    }

    /// The clock is right: retention goes on. Said by a person, or by a host elsewhere whose own clock
    /// agrees.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn confirm_clock(&self, now: UnixMs) -> Result<(), StoreError> {
        confirm(&self.inner.db, now).await.map(drop)
    }

    /// As [`SampleStore::confirm_clock`], on the files in `dir`, beside a running controller or without
    /// one; tells since when retention had waited.
    ///
    /// # Errors
    /// When there is no such file, or the database refuses.
    pub async fn confirm_clock_in(dir: &Path, now: UnixMs) -> Result<Option<UnixMs>, StoreError> {
        let file = dir.join("samples.db");
        if !file.exists() {
            return Err(StoreError::NotFound("sample database"));
        }
        let db = Db::open(&file).await?;
        let confirmed = confirm(&db, now).await;
        db.close().await;
        confirmed
    }

    async fn fact(&self, name: &str) -> Result<Option<i64>, StoreError> {
        fact(&self.inner.db, name).await
    }

    async fn set_fact(&self, name: &str, value: i64) -> Result<(), StoreError> {
        set_fact(&self.inner.db, name, value).await
    }

    /// Bytes that a host's samples take: its parts, and its frames that are in no part.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn storage(&self, host: HostId) -> Result<u64, StoreError> {
        let parts: i64 = sqlx::query_scalar("SELECT COALESCE(SUM(bytes), 0) FROM parts WHERE host = ?")
            .bind(&host.0.as_bytes()[..])
            .fetch_one(self.inner.db.read())
            .await?;
        let tail = self.inner.memory.get(host).map_or(0, |memory| memory::lock(&memory).uncompacted_bytes());
        Ok(parts as u64 + tail)
    }
}

async fn confirm(db: &Db, now: UnixMs) -> Result<Option<UnixMs>, StoreError> {
    let held = fact(db, HELD_SINCE).await?;
    if held.is_some() {
        // In this order: cut in between, it is asked once more, and nothing is lost.
        set_fact(db, LAST_SEEN, now.0).await?;
        sqlx::query("DELETE FROM facts WHERE name = ?").bind(HELD_SINCE).execute(db.write()).await?;
    }
    Ok(held.map(UnixMs))
}

async fn fact(db: &Db, name: &str) -> Result<Option<i64>, StoreError> {
    let value = sqlx::query_scalar("SELECT value FROM facts WHERE name = ?");
    Ok(value.bind(name).fetch_optional(db.read()).await?)
}

async fn set_fact(db: &Db, name: &str, value: i64) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(name)
        .bind(value)
        .execute(db.write())
        .await?;
    Ok(())
}
