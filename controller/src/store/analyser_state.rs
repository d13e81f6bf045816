//! What the analyser must remember of a host beyond the samples in memory: one text of facts and one
//! packed value of what was learned per host.

use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::{Conn, StoreError};

/// What is remembered of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Which.
    pub host: HostId,
    /// Facts, as JSON; may be empty.
    pub facts: String,
    /// What the statistics learned, packed.
    pub soft: Option<Vec<u8>>,
}

/// The state of every host that has one.
///
/// # Errors
/// Only the store's.
pub async fn load(conn: &mut Conn) -> Result<Vec<Remembered>, StoreError> {
    let rows: Vec<(String, String, Option<Vec<u8>>)> =
        sqlx::query_as("SELECT host, state, soft FROM analyser_state").fetch_all(conn).await?;
    rows.into_iter()
        .map(|(host, facts, soft)| Ok(Remembered { host: super::parse("host id", &host)?, facts, soft }))
        .collect()
}

/// Stores the facts of one host.
///
/// # Errors
/// Only the store's.
pub async fn save(conn: &mut Conn, host: HostId, facts: &str, now: UnixMs) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO analyser_state (host, state, updated_at) VALUES (?, ?, ?)
         ON CONFLICT (host) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at",
    )
    .bind(host.to_string())
    .bind(facts)
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores what was learned of one host.
///
/// # Errors
/// Only the store's.
pub async fn save_soft(conn: &mut Conn, host: HostId, soft: &[u8], now: UnixMs) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO analyser_state (host, state, soft, updated_at) VALUES (?, '', ?, ?)
         ON CONFLICT (host) DO UPDATE SET soft = excluded.soft, updated_at = excluded.updated_at",
    )
    .bind(host.to_string())
    .bind(soft)
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(())
}
