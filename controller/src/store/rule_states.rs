//! How far each rule is on each host, packed by its owner.

use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::{Conn, StoreError, parse};

/// The state of every host that has one.
///
/// # Errors
/// Only the store's.
pub async fn load(conn: &mut Conn) -> Result<Vec<(HostId, Vec<u8>)>, StoreError> {
    let rows: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT host, state FROM rule_states").fetch_all(conn).await?;
    rows.into_iter().map(|(host, state)| Ok((parse("host id", &host)?, state))).collect()
}

/// The state of one host.
///
/// # Errors
/// Only the store's.
pub async fn of(conn: &mut Conn, host: HostId) -> Result<Option<Vec<u8>>, StoreError> {
    let found = sqlx::query_scalar("SELECT state FROM rule_states WHERE host = ?").bind(host.to_string());
    Ok(found.fetch_optional(conn).await?)
}

/// Stores the state of one host.
///
/// # Errors
/// Only the store's.
pub async fn save(conn: &mut Conn, host: HostId, state: &[u8], now: UnixMs) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO rule_states (host, state, updated_at) VALUES (?, ?, ?)
         ON CONFLICT (host) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at",
    )
    .bind(host.to_string())
    .bind(state)
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets hosts that are not there any more.
///
/// # Errors
/// Only the store's.
pub async fn forget(conn: &mut Conn) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM rule_states WHERE host NOT IN (SELECT id FROM hosts WHERE removed_at IS NULL)")
        .execute(conn)
        .await?;
    Ok(())
}
