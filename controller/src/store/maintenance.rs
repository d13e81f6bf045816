//! Maintenance windows: times in which nothing runs by itself, on one host or on all.

use sqlx::FromRow;
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;
use uuid::Uuid;

use super::{Conn, Db, StoreError, parse};

/// A window as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Id.
    pub id: String,
    /// On which host; `None` on all.
    pub host: Option<HostId>,
    /// From when.
    pub starts_at: UnixMs,
    /// Until when.
    pub ends_at: UnixMs,
    /// Why.
    pub reason: String,
    /// Who set it.
    pub created_by: String,
    /// When.
    pub created_at: UnixMs,
}

#[derive(FromRow)]
struct Row {
    id: String,
    host: Option<String>,
    starts_at: i64,
    ends_at: i64,
    reason: String,
    created_by: String,
    created_at: i64,
}

impl TryFrom<Row> for Window {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            host: row.host.as_deref().map(|host| parse("host id", host)).transpose()?,
            starts_at: UnixMs(row.starts_at),
            ends_at: UnixMs(row.ends_at),
            reason: row.reason,
            created_by: row.created_by,
            created_at: UnixMs(row.created_at),
        })
    }
}

/// Windows that have not ended, soonest first.
///
/// # Errors
/// Only the store's.
pub async fn list(db: &Db, now: UnixMs) -> Result<Vec<Window>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM maintenance WHERE ends_at > ? ORDER BY starts_at LIMIT 1000")
            .bind(now.0)
            .fetch_all(db.read())
            .await?;
    rows.into_iter().map(Window::try_from).collect()
}

/// The window that holds now for `host`, if there is one.
///
/// # Errors
/// Only the store's.
pub async fn active(conn: &mut Conn, host: HostId, now: UnixMs) -> Result<Option<Window>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT * FROM maintenance WHERE starts_at <= ?1 AND ends_at > ?1 AND (host IS NULL OR host = ?2)
         ORDER BY ends_at DESC LIMIT 1",
    )
    .bind(now.0)
    .bind(host.to_string())
    .fetch_optional(conn)
    .await?;
    row.map(Window::try_from).transpose()
}

/// Stores a window and returns it.
///
/// # Errors
/// Only the store's.
pub async fn insert(
    conn: &mut Conn,
    host: Option<HostId>,
    span: (UnixMs, UnixMs),
    reason: &str,
    who: &str,
    now: UnixMs,
) -> Result<Window, StoreError> {
    let window = Window {
        id: Uuid::now_v7().to_string(),
        host,
        starts_at: span.0,
        ends_at: span.1,
        reason: reason.to_owned(),
        created_by: who.to_owned(),
        created_at: now,
    };
    sqlx::query(
        "INSERT INTO maintenance (id, host, starts_at, ends_at, reason, created_by, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&window.id)
    .bind(host.map(|host| host.to_string()))
    .bind(span.0.0)
    .bind(span.1.0)
    .bind(reason)
    .bind(who)
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(window)
}

/// Ends a window now; false when there is none that has not ended.
///
/// # Errors
/// Only the store's.
pub async fn end(conn: &mut Conn, id: &str, now: UnixMs) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE maintenance SET ends_at = max(?1, starts_at + 1) WHERE id = ?2 AND ends_at > ?1")
            .bind(now.0)
            .bind(id)
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
}
