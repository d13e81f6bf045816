//! Settings that people change while the controller runs: a name and a text.

use sysop_common::time::UnixMs;

use super::{Conn, StoreError};

/// `on` or `off`: whether anything may run without a person.
pub const AUTOMATION: &str = "automation";
/// Hours of the day, UTC, in which actions that interrupt a service count as riskier: `8-18`; none by default.
pub const BUSY_HOURS: &str = "risk.busy_hours";

/// The value of a setting, if it was ever set.
///
/// # Errors
/// Only the store's.
pub async fn get(conn: &mut Conn, name: &str) -> Result<Option<String>, StoreError> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT value FROM settings WHERE name = ?").bind(name).fetch_optional(conn).await?;
    Ok(row.map(|(value,)| value))
}

/// Sets a setting; returns what it was before.
///
/// # Errors
/// Only the store's.
pub async fn set(
    conn: &mut Conn,
    name: &str,
    value: &str,
    now: UnixMs,
) -> Result<Option<String>, StoreError> {
    let before = get(&mut *conn, name).await?;
    sqlx::query(
        "INSERT INTO settings (name, value, updated_at) VALUES (?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
    )
    .bind(name)
    .bind(value)
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(before)
}

/// Whether automation is on. It is until someone turns it off; what runs by itself needs an
/// assignment and the host's own policy besides.
///
/// # Errors
/// Only the store's.
pub async fn automation(conn: &mut Conn) -> Result<bool, StoreError> {
    Ok(get(conn, AUTOMATION).await?.as_deref() != Some("off"))
}
