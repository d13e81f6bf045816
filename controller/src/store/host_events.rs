//! What the link saw of a host that no sample tells.

use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::{Conn, StoreError};

/// A second live session came on one certificate from another epoch: refused.
pub const CLONE: &str = "agent_clone";

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEvent {
    /// When.
    pub at: UnixMs,
    /// What kind: [`CLONE`], …
    pub kind: String,
    /// One line: from where, …
    pub detail: String,
}

/// Stores an event; the caller keeps the rate down (one per host, kind and minute is enough).
///
/// # Errors
/// Only the store's.
pub async fn insert(
    conn: &mut Conn,
    host: HostId,
    kind: &str,
    detail: &str,
    now: UnixMs,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO host_events (host, at, kind, detail) VALUES (?, ?, ?, ?)")
        .bind(host.to_string())
        .bind(now.0)
        .bind(kind)
        .bind(detail)
        .execute(conn)
        .await?;
    Ok(())
}

/// Events of all hosts at or after `since`, oldest first, at most 1000.
///
/// # Errors
/// Only the store's.
pub async fn since(conn: &mut Conn, since: UnixMs) -> Result<Vec<(HostId, HostEvent)>, StoreError> {
    let rows: Vec<(String, i64, String, String)> = sqlx::query_as(
        "SELECT host, at, kind, detail FROM host_events WHERE at >= ? ORDER BY id DESC LIMIT 1000",
    )
    .bind(since.0)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .rev()
        .map(|(host, at, kind, detail)| {
            Ok((super::parse("host id", &host)?, HostEvent { at: UnixMs(at), kind, detail }))
        })
        .collect()
}

/// Deletes events before `before`; tells how many.
///
/// # Errors
/// Only the store's.
pub async fn forget(conn: &mut Conn, before: UnixMs) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM host_events WHERE at < ?").bind(before.0).execute(conn).await?;
    Ok(done.rows_affected())
}
