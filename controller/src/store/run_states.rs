//! Changes of a run's state: compare-and-set on `runs`, each with its row in `run_events`.

use sqlx::FromRow;
use sysop_common::action::RunState;
use sysop_common::ids::{ControllerId, HostId, OrderId};
use sysop_common::time::UnixMs;

use super::runs::{Run, by_intent, intent};
use super::{Conn, Db, StoreError};

/// Who recorded an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The host, from its journal.
    Host,
    /// A controller.
    Controller,
}

impl Source {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Controller => "controller",
        }
    }
}

/// One event of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEvent {
    /// Of which run.
    pub run: OrderId,
    /// Who recorded it.
    pub source: Source,
    /// The host's journal number, or our own count. 0 from a host: it is not in its journal.
    pub number: u64,
    /// When it happened, by the recorder's clock.
    pub at: UnixMs,
    /// When it was stored.
    pub recorded_at: UnixMs,
    /// The event's word: a state, or `checked`, `duplicate`, `released`, `cancel_requested`.
    pub state: String,
    /// Details as JSON.
    pub detail: String,
}

#[derive(FromRow)]
struct Row {
    source: String,
    number: i64,
    at: i64,
    recorded_at: i64,
    state: String,
    detail: String,
}

/// All events of a run, in the order in which they were stored.
///
/// # Errors
/// Only the store's.
pub async fn events(db: &Db, run: OrderId) -> Result<Vec<RunEvent>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT source, number, at, recorded_at, state, detail FROM run_events
         WHERE run = ? ORDER BY recorded_at, source, number LIMIT 1000",
    )
    .bind(run.to_string())
    .fetch_all(db.read())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| RunEvent {
            run,
            source: if row.source == Source::Controller.word() { Source::Controller } else { Source::Host },
            number: if row.source == SAID { 0 } else { u64::try_from(row.number).unwrap_or_default() },
            at: UnixMs(row.at),
            recorded_at: UnixMs(row.recorded_at),
            state: row.state,
            detail: row.detail,
        })
        .collect())
}

/// What became of an event that a host reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is new, and stored.
    New,
    /// It is stored already.
    Same,
    /// Another event is stored under its number.
    Other,
    /// The run has as many events as it may have.
    Full,
}

/// Most events that one run may have from its host: an honest executor reports fewer than ten.
pub const MAX_HOST_EVENTS: i64 = 64;

/// Source of what a host says once, without its journal: its number 0 is no key.
const SAID: &str = "said";

/// Stores an event that a host reported, once per number of its journal; what is not in its journal,
/// once for as long as it says the same.
///
/// # Errors
/// Only the store's.
pub async fn record_host(conn: &mut Conn, event: &RunEvent) -> Result<Recorded, StoreError> {
    let id = event.run.to_string();
    let journaled = event.number > 0;
    let source = if journaled { Source::Host.word() } else { SAID };
    let (count, last): (i64, i64) = sqlx::query_as(
        "SELECT count(*), coalesce(max(number), 0) FROM run_events WHERE run = ? AND source = ?",
    )
    .bind(&id)
    .bind(source)
    .fetch_one(&mut *conn)
    .await?;
    let number = if journaled { i64::try_from(event.number).unwrap_or(i64::MAX) } else { last };
    let found: Option<(String, String)> =
        sqlx::query_as("SELECT state, detail FROM run_events WHERE run = ? AND source = ? AND number = ?")
            .bind(&id)
            .bind(source)
            .bind(number)
            .fetch_optional(&mut *conn)
            .await?;
    match found {
        Some((state, detail)) if state == event.state && detail == event.detail => return Ok(Recorded::Same),
        Some(_) if journaled => return Ok(Recorded::Other),
        _ if count >= MAX_HOST_EVENTS => return Ok(Recorded::Full),
        _ => {}
    }
    let number = if journaled { number } else { last + 1 };
    insert(conn, event, source, number).await?;
    Ok(Recorded::New)
}

/// Stores an event of the controller's own.
///
/// # Errors
/// Only the store's.
pub async fn record(
    conn: &mut Conn,
    run: OrderId,
    state: &str,
    detail: &serde_json::Value,
    now: UnixMs,
) -> Result<(), StoreError> {
    let (number,): (i64,) = sqlx::query_as(
        "SELECT coalesce(max(number), 0) + 1 FROM run_events WHERE run = ? AND source = 'controller'",
    )
    .bind(run.to_string())
    .fetch_one(&mut *conn)
    .await?;
    let event = RunEvent {
        run,
        source: Source::Controller,
        number: 0,
        at: now,
        recorded_at: now,
        state: state.to_owned(),
        detail: detail.to_string(),
    };
    insert(conn, &event, event.source.word(), number).await
}

async fn insert(conn: &mut Conn, event: &RunEvent, source: &str, number: i64) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO run_events (run, source, number, at, recorded_at, state, detail)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(event.run.to_string())
    .bind(source)
    .bind(number)
    .bind(event.at.0)
    .bind(event.recorded_at.0)
    .bind(&event.state)
    .bind(&event.detail)
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves `run` to its new values, if it is still in state `from`: compare-and-set. The intent is
/// released with the end of the run, except when its outcome is unknown.
///
/// # Errors
/// [`StoreError::Conflict`] when another was faster.
pub async fn move_on(conn: &mut Conn, run: &Run, from: RunState) -> Result<(), StoreError> {
    let release = run.state.is_final() && run.state != RunState::Unknown;
    let done = sqlx::query(
        "UPDATE runs SET state = ?, intent = CASE WHEN ? THEN NULL ELSE intent END, reason = ?, risk = ?,
             risk_factors = ?, origin = ?, updated_at = ?, decided_by = ?, decided_at = ?, claimed_by = ?,
             claimed_at = ?, lease = ?, expires_at = ?, cancel_by = ?, cancel_at = ?, sent_at = ?, finished_at = ?, exit = ?,
             duration_ms = ?, refusal = ?, detail = ?, signed_order = ?, output_bytes = ?, output_hash = ?
         WHERE id = ? AND state = ?",
    )
    .bind(run.state.word())
    .bind(release)
    .bind(&run.reason)
    .bind(run.risk.word())
    .bind(serde_json::to_string(&run.risk_factors).unwrap_or_else(|_| "[]".to_owned()))
    .bind(run.origin.word())
    .bind(run.updated_at.0)
    .bind(&run.decided_by)
    .bind(run.decided_at.map(|at| at.0))
    .bind(run.claimed_by.map(|id: ControllerId| id.to_string()))
    .bind(run.claimed_at.map(|at| at.0))
    .bind(run.lease.map(|lease| i64::try_from(lease).unwrap_or(i64::MAX)))
    .bind(run.expires_at.map(|at| at.0))
    .bind(&run.cancel_by)
    .bind(run.cancel_at.map(|at| at.0))
    .bind(run.sent_at.map(|at| at.0))
    .bind(run.finished_at.map(|at| at.0))
    .bind(run.exit)
    .bind(run.duration_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)))
    .bind(&run.refusal)
    .bind(&run.detail)
    .bind(&run.signed_order)
    .bind(run.output_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)))
    .bind(run.output_hash.map(|hash| hash.0.to_vec()))
    .bind(run.id.to_string())
    .bind(from.word())
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(StoreError::Conflict("the run changed in between; look at it again"))
    }
}

/// Releases the intent of a run of unknown outcome, after a person looked at the host.
///
/// # Errors
/// [`StoreError::Conflict`] when its outcome is known, or it was released before.
pub async fn release_unknown(conn: &mut Conn, run: OrderId, now: UnixMs) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE runs SET intent = NULL, updated_at = ? WHERE id = ? AND state = 'unknown' AND intent IS NOT NULL",
    )
    .bind(now.0)
    .bind(run.to_string())
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(StoreError::Conflict("the run's outcome is known, or it was settled before"))
    }
}

/// Gives a run that is under way again its intent back, so that nothing like it is planned beside it.
/// False when another run has it by now.
///
/// # Errors
/// Only the store's.
pub async fn hold_intent(conn: &mut Conn, run: &Run) -> Result<bool, StoreError> {
    let intent = intent(run.host, &run.action);
    match by_intent(&mut *conn, &intent).await? {
        Some(other) => Ok(other.id == run.id),
        None => {
            sqlx::query("UPDATE runs SET intent = ? WHERE id = ?")
                .bind(intent)
                .bind(run.id.to_string())
                .execute(conn)
                .await?;
            Ok(true)
        }
    }
}

/// Whether the host itself said that the effect of `run` was not seen.
///
/// # Errors
/// Only the store's.
pub async fn host_denied_effect(conn: &mut Conn, run: OrderId) -> Result<bool, StoreError> {
    let (count,): (i64,) = sqlx::query_as(
        "SELECT count(*) FROM run_events WHERE run = ? AND source = 'host' AND state = 'not_verified'",
    )
    .bind(run.to_string())
    .fetch_one(conn)
    .await?;
    Ok(count > 0)
}

/// Automatic runs that a controller claimed at or after `since`: host and time of the claim.
///
/// Counted inside the claim's transaction, so that two claims cannot both be the last one.
///
/// # Errors
/// Only the store's.
pub async fn automatic_since(conn: &mut Conn, since: UnixMs) -> Result<Vec<(HostId, UnixMs)>, StoreError> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT host, claimed_at FROM runs WHERE claimed_at >= ? AND origin = 'automatic'")
            .bind(since.0)
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(|(host, at)| Ok((super::parse("host id", &host)?, UnixMs(at)))).collect()
}

/// How many automatic runs of an incident were claimed.
///
/// # Errors
/// Only the store's.
pub async fn automatic_of(conn: &mut Conn, incident: i64) -> Result<u32, StoreError> {
    let (count,): (i64,) = sqlx::query_as(
        "SELECT count(*) FROM runs WHERE incident = ? AND claimed_at IS NOT NULL AND origin = 'automatic'",
    )
    .bind(incident)
    .fetch_one(conn)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// On how many hosts other than `host` the action was claimed at or after `since`.
///
/// # Errors
/// Only the store's.
pub async fn elsewhere(
    conn: &mut Conn,
    action: &str,
    host: HostId,
    since: UnixMs,
) -> Result<u32, StoreError> {
    let (count,): (i64,) = sqlx::query_as(
        "SELECT count(DISTINCT host) FROM runs WHERE action = ? AND claimed_at >= ? AND host <> ?",
    )
    .bind(action)
    .bind(since.0)
    .bind(host.to_string())
    .fetch_one(conn)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}
