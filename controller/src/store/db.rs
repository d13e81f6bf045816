//! Opening the control database and keeping it sound.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// SQLite's codes for content that it does not take: too big, constraint, mismatch, range.
const REFUSALS: [u32; 4] = [18, 19, 20, 25];

/// The store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or is out of reach.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("database schema: {0}")]
    Migrate(#[from] MigrateError),
    /// A stored value does not have its form: the database was edited or is damaged.
    #[error("stored {what} is not readable: {why}")]
    Corrupt {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// Nothing is stored under that key.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// Another one exists already, or the state changed in between.
    #[error("{0}")]
    Conflict(&'static str),
    /// It asks for more than is read at once.
    #[error("{0}")]
    TooMuch(&'static str),
    /// It would be right later.
    #[error("{0}")]
    TooSoon(&'static str),
}

impl StoreError {
    /// Whether the database is well and does not take what it was given: trying again changes nothing.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                // SQLite's primary code is in the low byte.
                let code = error.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or(0) & 0xff;
                REFUSALS.contains(&code)
            }
            Self::Database(sqlx::Error::Encode(_)) | Self::Corrupt { .. } | Self::Conflict(_) => true,
            _ => false,
        }
    }

    /// For a stored value that cannot be read back.
    pub fn corrupt(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Corrupt { what, why: why.to_string() }
    }
}

/// One connection, inside or outside a transaction.
pub type Conn = sqlx::SqliteConnection;

/// A transaction that writes. Dropped without [`Tx::commit`] it leaves nothing behind.
#[derive(Debug)]
pub struct Tx(sqlx::Transaction<'static, sqlx::Sqlite>);

impl Tx {
    /// Makes what was written last.
    ///
    /// # Errors
    /// When the database cannot; then nothing was written.
    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.0.commit().await?)
    }
}

impl Deref for Tx {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.0
    }
}

/// A file needs no asking whether it is still there: that would double the way of each statement.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).test_before_acquire(false)
}

/// WAL and synchronous FULL: what is committed survives a power cut.
fn durable(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
}

/// A database: one connection that writes, several that read.
///
/// One writer, because SQLite has one anyway: waiting happens here, in order, and never as an error.
#[derive(Debug, Clone)]
pub struct Db {
    write: SqlitePool,
    read: SqlitePool,
}

impl Db {
    /// Opens (and makes) the control database in `dir`.
    ///
    /// # Errors
    /// When the file cannot be opened or its schema not be brought up to date.
    pub async fn open_control(dir: &Path) -> Result<Self, StoreError> {
        let db = Self::open(&dir.join("control.db")).await?;
        sqlx::migrate!("../migrations/sqlite/control").run(&db.write).await?;
        Ok(db)
    }

    /// Opens (and makes) a SQLite file: WAL, synchronous FULL, so that what is committed survives a
    /// power cut.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(file: &Path) -> Result<Self, StoreError> {
        Self::connect(durable(file)).await
    }

    /// Like [`Db::open`], but no commit moves the log into the file: the second connection that comes with
    /// it is for whoever does so with `PRAGMA wal_checkpoint`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open_with_log(file: &Path) -> Result<(Self, SqlitePool), StoreError> {
        let options = durable(file).pragma("wal_autocheckpoint", "0");
        let db = Self::connect(options.clone()).await?;
        Ok((db, pool(1).connect_with(options).await?))
    }

    async fn connect(options: SqliteConnectOptions) -> Result<Self, StoreError> {
        let write = pool(1).connect_with(options.clone()).await?;
        let read = pool(4).connect_with(options.read_only(true)).await?;
        Ok(Self { write, read })
    }

    /// Opens a SQLite file that is there, to read only: nothing is made, nothing is migrated.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open_to_read(file: &Path) -> Result<Self, StoreError> {
        let options =
            SqliteConnectOptions::new().filename(file).read_only(true).busy_timeout(Duration::from_secs(10));
        let read = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        Ok(Self { write: read.clone(), read })
    }

    /// The connection that writes. Begin transactions here, keep them short, never await anything
    /// but the database inside.
    #[must_use]
    pub const fn write(&self) -> &SqlitePool {
        &self.write
    }

    /// Begins a transaction that writes. It takes the write lock at once, so that what it reads
    /// still holds when it writes, also beside another process (the command line).
    ///
    /// # Errors
    /// When the database is out of reach or locked for longer than 10 s.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(Tx(self.write.begin_with("BEGIN IMMEDIATE").await?))
    }

    /// One connection that reads.
    ///
    /// # Errors
    /// When none is free for 30 s.
    pub async fn reader(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Sqlite>, StoreError> {
        Ok(self.read.acquire().await?)
    }

    /// Connections that read.
    #[must_use]
    pub const fn read(&self) -> &SqlitePool {
        &self.read
    }

    /// Whether the database answers.
    pub async fn answers(&self) -> bool {
        sqlx::query("SELECT 1").execute(&self.read).await.is_ok()
    }

    /// Closes all connections, after what is under way.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_control_database_is_made_durable_and_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let db = Db::open_control(dir.path()).await.unwrap();
            let (mode,): (String,) =
                sqlx::query_as("PRAGMA journal_mode").fetch_one(db.write()).await.unwrap();
            let (sync,): (i64,) = sqlx::query_as("PRAGMA synchronous").fetch_one(db.write()).await.unwrap();
            assert_eq!((mode.as_str(), sync), ("wal", 2));
            db.close().await;
        }
    }
}
