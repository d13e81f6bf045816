//! Moving the log of the database into its file: beside the commits, not inside one.
//!
//! Left to itself SQLite does it in whichever commit makes the log large, and every ack of that commit
//! waits for the thousands of pages that are written then. Here a connection of its own does the bulk of it
//! while commits go on, and the writer is held only for what came meanwhile, so that the next commit finds
//! all of the log moved and begins it anew.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::SqlitePool;
use tokio::sync::{Notify, watch};

use super::SampleStore;
use crate::store::StoreError;

/// Pages of the log from which on it is moved: 16 MiB.
const PAGES: u64 = 4_000;
/// From so many on the writer does it itself, since nobody else did: the log must not fill the disk.
const TOO_MANY: u64 = 8 * PAGES;
/// After a failure, how long to wait.
const AGAIN: Duration = Duration::from_secs(1);
/// Bytes of a page.
const PAGE: u64 = 4_096;
/// Pages that a transaction writes besides its content, about.
const BESIDES: u64 = 4;

/// The log of the sample database.
#[derive(Debug)]
pub(super) struct Log {
    connection: SqlitePool,
    /// Pages written since it was moved, about.
    pages: AtomicU64,
    grown: Notify,
}

impl Log {
    pub(super) fn new(connection: SqlitePool) -> Self {
        Self { connection, pages: AtomicU64::new(0), grown: Notify::new() }
    }

    /// A transaction with about `bytes` of content was committed.
    pub(super) fn grew(&self, bytes: usize) {
        let more = bytes as u64 / PAGE + BESIDES;
        if self.pages.fetch_add(more, Ordering::Relaxed) + more >= PAGES {
            self.grown.notify_one();
        }
    }

    fn moved(&self, pages: u64) {
        let less = |left: u64| Some(left.saturating_sub(pages));
        let _ = self.pages.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Moves what can be moved without making anyone wait.
    async fn pass(&self) -> Result<(), StoreError> {
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&self.connection).await?;
        Ok(())
    }

    /// Called by the writer before it begins: does the work of whoever should have done it.
    pub(super) async fn bound(&self) {
        if self.pages.load(Ordering::Relaxed) < TOO_MANY {
            return;
        }
        match self.pass().await {
            Ok(()) => self.pages.store(0, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(%error, "the log of the sample database cannot be moved into its file")
            }
        }
    }

    pub(super) async fn close(&self) {
        self.connection.close().await;
    }
}

impl SampleStore {
    /// Moves the log whenever it has grown, for as long as `stop` is not set.
    pub(super) async fn keep_log_small(&self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            tokio::select! {
                () = self.inner.log.grown.notified() => {}
                _ = stop.changed() => break,
            }
            if let Err(error) = self.checkpoint().await {
                tracing::error!(%error, "the log of the sample database cannot be moved into its file; it is tried again");
                tokio::time::sleep(AGAIN).await;
                self.inner.log.grown.notify_one();
            }
        }
    }

    /// Moves the log into the database's file. Commits wait only for the last few pages of it.
    ///
    /// # Errors
    /// When the database refuses; the log goes on growing and is moved later.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        let log = &self.inner.log;
        let moved = log.pages.load(Ordering::Relaxed);
        log.pass().await?;
        log.moved(moved);
        let _writer = self.inner.writer.lock().await;
        log.pass().await
    }
}
