//! Probes as operators define them. How they stand is in [`standing`].

pub mod standing;

use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sysop_common::finding::Severity;
use sysop_common::ids::HostId;
use sysop_common::probe::{Check, ProbeId};
use sysop_common::time::UnixMs;

use super::{Conn, Db, StoreError, json, parse};

/// Who runs a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunBy {
    /// This controller.
    Controller,
    /// A host, as far as its owner's policy allows.
    Host(HostId),
    /// Every host on which an admin set this label.
    Label {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

/// What an operator says of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Its name, for people.
    pub name: String,
    /// What is asked.
    pub check: Check,
    /// From where.
    pub run_by: RunBy,
    /// The host whose card it is on, for a probe that the controller runs.
    pub host: Option<HostId>,
    /// Time between two tries, in ms.
    pub interval_ms: u32,
    /// How long an answer is waited for, in ms.
    pub timeout_ms: u32,
    /// Failures in a row before it is told of.
    pub failures: u8,
    /// Answers in a row before that is over.
    pub successes: u8,
    /// How bad a failure is.
    pub severity: Severity,
    /// Whether it is run at all.
    pub enabled: bool,
}

/// A probe as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Its number.
    pub id: ProbeId,
    /// What its operator says.
    pub settings: Settings,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: UnixMs,
    /// When it was last changed.
    pub updated_at: UnixMs,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    definition: String,
    created_by: String,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<Row> for Probe {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: probe_id(row.id)?,
            settings: json("probe", &row.definition)?,
            created_by: row.created_by,
            created_at: UnixMs(row.created_at),
            updated_at: UnixMs(row.updated_at),
        })
    }
}

fn probe_id(number: i64) -> Result<ProbeId, StoreError> {
    u32::try_from(number).map(ProbeId).map_err(|e| StoreError::corrupt("number of a probe", e))
}

/// All probes by name.
///
/// # Errors
/// Only the store's.
pub async fn list(db: &Db) -> Result<Vec<Probe>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, definition, created_by, created_at, updated_at FROM probes ORDER BY name LIMIT 1000",
    )
    .fetch_all(db.read())
    .await?;
    rows.into_iter().map(Probe::try_from).collect()
}

/// One probe.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(conn: &mut Conn, id: ProbeId) -> Result<Probe, StoreError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT id, definition, created_by, created_at, updated_at FROM probes WHERE id = ?")
            .bind(i64::from(id.0))
            .fetch_optional(conn)
            .await?;
    row.ok_or(StoreError::NotFound("probe"))?.try_into()
}

/// How many there are.
///
/// # Errors
/// Only the store's.
pub async fn count(conn: &mut Conn) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM probes").fetch_one(conn).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

const SAME_NAME: StoreError = StoreError::Conflict("a probe of this name exists");

fn unique(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(e) if e.is_unique_violation() => SAME_NAME,
        e => e.into(),
    }
}

/// Stores a new probe.
///
/// # Errors
/// [`StoreError::Conflict`] when there is one of this name.
pub async fn insert(
    conn: &mut Conn,
    settings: &Settings,
    who: &str,
    now: UnixMs,
) -> Result<Probe, StoreError> {
    let done = sqlx::query(
        "INSERT INTO probes (name, definition, created_by, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&settings.name)
    .bind(text(settings))
    .bind(who)
    .bind(now.0)
    .bind(now.0)
    .execute(conn)
    .await
    .map_err(unique)?;
    Ok(Probe {
        id: probe_id(done.last_insert_rowid())?,
        settings: settings.clone(),
        created_by: who.to_owned(),
        created_at: now,
        updated_at: now,
    })
}

/// Stores a changed probe. What is known of how it stood is forgotten when something else is `asked`.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] when there is another one of this name.
pub async fn update(
    conn: &mut Conn,
    id: ProbeId,
    settings: &Settings,
    asked: bool,
    now: UnixMs,
) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE probes SET name = ?, definition = ?, updated_at = ? WHERE id = ?")
        .bind(&settings.name)
        .bind(text(settings))
        .bind(now.0)
        .bind(i64::from(id.0))
        .execute(&mut *conn)
        .await
        .map_err(unique)?;
    if done.rows_affected() == 0 {
        return Err(StoreError::NotFound("probe"));
    }
    if asked {
        sqlx::query("DELETE FROM probe_states WHERE probe = ?").bind(i64::from(id.0)).execute(conn).await?;
    }
    Ok(())
}

/// Removes a probe with all that came of it.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn remove(conn: &mut Conn, id: ProbeId) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM probe_states WHERE probe = ?",
        "DELETE FROM probe_buckets WHERE probe = ?",
        "DELETE FROM probe_results WHERE probe = ?",
    ] {
        sqlx::query(statement).bind(i64::from(id.0)).execute(&mut *conn).await?;
    }
    let done = sqlx::query("DELETE FROM probes WHERE id = ?").bind(i64::from(id.0)).execute(conn).await?;
    if done.rows_affected() == 0 { Err(StoreError::NotFound("probe")) } else { Ok(()) }
}

/// Hosts that run a probe by a label of an admin's: name, value, host.
///
/// # Errors
/// Only the store's.
pub async fn carriers(conn: &mut Conn) -> Result<Vec<(String, String, HostId)>, StoreError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT l.name, l.value, l.host FROM host_labels l JOIN hosts h ON h.id = l.host
         WHERE l.source = 'admin' AND h.removed_at IS NULL ORDER BY l.host",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|(name, value, host)| Ok((name, value, parse("host id", &host)?))).collect()
}

/// These types hold nothing that JSON cannot.
fn text(settings: &Settings) -> String {
    serde_json::to_string(settings).unwrap_or_default()
}
