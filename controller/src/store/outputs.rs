//! Output of runs, in pieces as they came, with a cap per run.

use sysop_common::ids::OrderId;
use sysop_common::time::UnixMs;

use super::{Conn, Db, StoreError};

/// Stores the piece of output that begins at `position`; a piece that is there already stays as it
/// is. Bytes beyond `cap` are dropped. Returns how many bytes of the run are stored.
///
/// # Errors
/// Only the store's.
pub async fn append(
    conn: &mut Conn,
    run: OrderId,
    position: u64,
    bytes: &[u8],
    cap: u64,
) -> Result<u64, StoreError> {
    let room = usize::try_from(cap.saturating_sub(position)).unwrap_or(usize::MAX);
    let bytes = &bytes[..bytes.len().min(room)];
    let id = run.to_string();
    let (stored, pieces): (i64, i64) =
        sqlx::query_as("SELECT coalesce(sum(length(bytes)), 0), count(*) FROM run_outputs WHERE run = ?")
            .bind(&id)
            .fetch_one(&mut *conn)
            .await?;
    let stored = u64::try_from(stored).unwrap_or_default();
    // Overlapping or tiny pieces cannot cost more than the cap either.
    if bytes.is_empty() || stored.saturating_add(bytes.len() as u64) > cap || pieces >= 256 {
        return Ok(stored);
    }
    let done = sqlx::query("INSERT OR IGNORE INTO run_outputs (run, position, bytes) VALUES (?, ?, ?)")
        .bind(&id)
        .bind(i64::try_from(position).unwrap_or(i64::MAX))
        .bind(bytes)
        .execute(conn)
        .await?;
    Ok(stored + if done.rows_affected() == 1 { bytes.len() as u64 } else { 0 })
}

/// The output of a run as far as it is stored.
///
/// # Errors
/// Only the store's.
pub async fn read(db: &Db, run: OrderId) -> Result<Vec<u8>, StoreError> {
    let rows: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT bytes FROM run_outputs WHERE run = ? ORDER BY position")
            .bind(run.to_string())
            .fetch_all(db.read())
            .await?;
    Ok(rows.into_iter().flat_map(|(bytes,)| bytes).collect())
}

/// Deletes outputs of runs that ended before `before`, of at most `limit` runs; tells of how many pieces.
///
/// # Errors
/// Only the store's.
pub async fn forget_outputs(conn: &mut Conn, before: UnixMs, limit: u32) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM run_outputs WHERE run IN (
             SELECT id FROM runs WHERE updated_at < ? AND intent IS NULL
               AND EXISTS (SELECT 1 FROM run_outputs o WHERE o.run = runs.id) LIMIT ?)",
    )
    .bind(before.0)
    .bind(limit)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes runs that ended before `before`, with their events and outputs; tells how many runs.
///
/// # Errors
/// Only the store's.
pub async fn forget_runs(conn: &mut Conn, before: UnixMs, limit: u32) -> Result<u64, StoreError> {
    let ids: Vec<(String,)> =
        sqlx::query_as("SELECT id FROM runs WHERE updated_at < ? AND intent IS NULL ORDER BY id LIMIT ?")
            .bind(before.0)
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?;
    for (id,) in &ids {
        sqlx::query("DELETE FROM run_outputs WHERE run = ?").bind(id).execute(&mut *conn).await?;
        sqlx::query("DELETE FROM run_events WHERE run = ?").bind(id).execute(&mut *conn).await?;
        sqlx::query("DELETE FROM runs WHERE id = ?").bind(id).execute(&mut *conn).await?;
    }
    Ok(ids.len() as u64)
}
