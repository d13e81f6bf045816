//! What the analyser must remember of a host beyond the samples in memory: one text per host.

use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::{Conn, StoreError};

/// The state of every host that has one.
///
/// # Errors
/// Only the store's.
pub async fn load(conn: &mut Conn) -> Result<Vec<(HostId, String)>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT host, state FROM analyser_state").fetch_all(conn).await?;
    rows.into_iter().map(|(host, state)| Ok((super::parse("host id", &host)?, state))).collect()
}

/// Stores the state of one host.
///
/// # Errors
/// Only the store's.
pub async fn save(conn: &mut Conn, host: HostId, state: &str, now: UnixMs) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO analyser_state (host, state, updated_at) VALUES (?, ?, ?)
         ON CONFLICT (host) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at",
    )
    .bind(host.to_string())
    .bind(state)
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(())
}
