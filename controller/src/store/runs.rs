//! Runs: one action on one host, from proposal to verified effect.

mod waiting;

use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sysop_common::action::{Action, Risk, RunState};
use sysop_common::bytes::Digest;
use sysop_common::ids::{ControllerId, HostId, OrderId};
use sysop_common::order::Origin;
use sysop_common::time::UnixMs;
use uuid::Uuid;

use super::{Conn, Db, StoreError, json, parse};
pub use waiting::{hosts_in_state, in_state, in_state_of, outlived};

/// Who made a run that the analyser offered. Names of people are lower case, so nobody has this one.
pub const BY_ANALYSER: &str = "Analyser";
/// Who decided or cancelled without a person.
pub const BY_POLICY: &str = "Policy";

/// One reason for a run's risk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskFactor {
    /// `floor`, `irreversible`, `target`, `host`, `blast_radius`, `time`, `analyser`.
    pub factor: String,
    /// The risk after this factor.
    pub risk: Risk,
    /// One line for people.
    pub why: String,
}

/// A run as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id, which is the order's id.
    pub id: OrderId,
    /// On which host.
    pub host: HostId,
    /// For which incident.
    pub incident: Option<i64>,
    /// What.
    pub action: Action,
    /// What it acts on, for people.
    pub target: String,
    /// 1 for the first try of this action on this target in this incident.
    pub attempt: u32,
    /// Where it stands.
    pub state: RunState,
    /// Whether it is open, or unknown and not settled: nothing new with this intent is planned.
    pub pending: bool,
    /// Computed risk.
    pub risk: Risk,
    /// Why.
    pub risk_factors: Vec<RiskFactor>,
    /// Who decided, or would.
    pub origin: Origin,
    /// Why it exists, or why it waits; may hold lines for the host's policy file.
    pub reason: String,
    /// [`BY_ANALYSER`], or a person's name.
    pub created_by: String,
    /// When.
    pub created_at: UnixMs,
    /// When it last changed.
    pub updated_at: UnixMs,
    /// [`BY_POLICY`], or who approved or rejected.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<UnixMs>,
    /// Which controller sends it.
    pub claimed_by: Option<ControllerId>,
    /// When it was claimed; empty again when it was given back unsent.
    pub claimed_at: Option<UnixMs>,
    /// The host's lease number in the order.
    pub lease: Option<u64>,
    /// Approved: not claimed after this. From claimed on: the order's own expiry.
    pub expires_at: Option<UnixMs>,
    /// Who wants it cancelled.
    pub cancel_by: Option<String>,
    /// Since when.
    pub cancel_at: Option<UnixMs>,
    /// When the order was handed to the link.
    pub sent_at: Option<UnixMs>,
    /// When it ended.
    pub finished_at: Option<UnixMs>,
    /// Exit status, if there was one.
    pub exit: Option<i32>,
    /// How long it ran, in ms.
    pub duration_ms: Option<u64>,
    /// The word for why the host refused.
    pub refusal: Option<String>,
    /// One line on what came of it.
    pub detail: String,
    /// The signed order, once it was claimed.
    pub signed_order: Option<Vec<u8>>,
    /// Bytes of output before the cap.
    pub output_bytes: Option<u64>,
    /// SHA-256 of the whole output.
    pub output_hash: Option<Digest>,
}

/// A run to be made.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// On which host.
    pub host: HostId,
    /// For which incident.
    pub incident: Option<i64>,
    /// What.
    pub action: Action,
    /// Which try.
    pub attempt: u32,
    /// `Proposed`, `AwaitingApproval` or `Approved`.
    pub state: RunState,
    /// Computed risk.
    pub risk: Risk,
    /// Why.
    pub risk_factors: Vec<RiskFactor>,
    /// Who decided, or would.
    pub origin: Origin,
    /// One line: why.
    pub reason: String,
    /// [`BY_ANALYSER`], or a person's name.
    pub created_by: String,
    /// Who decided already.
    pub decided_by: Option<String>,
    /// Not claimed after this.
    pub expires_at: Option<UnixMs>,
    /// Principal and idempotency key of the request.
    pub request_key: Option<String>,
}

/// Which runs to list. Newest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunFilter {
    /// Of one host only.
    pub host: Option<HostId>,
    /// Of one incident only.
    pub incident: Option<i64>,
    /// In one state only.
    pub state: Option<RunState>,
    /// Only before this one: the last of the page before.
    pub before: Option<OrderId>,
    /// At most so many.
    pub limit: u32,
}

#[derive(FromRow)]
struct Row {
    id: String,
    host: String,
    incident: Option<i64>,
    action: String,
    params: String,
    target: String,
    attempt: i64,
    intent: Option<String>,
    state: String,
    risk: String,
    risk_factors: String,
    origin: String,
    reason: String,
    created_by: String,
    created_at: i64,
    updated_at: i64,
    decided_by: Option<String>,
    decided_at: Option<i64>,
    claimed_by: Option<String>,
    claimed_at: Option<i64>,
    lease: Option<i64>,
    expires_at: Option<i64>,
    cancel_by: Option<String>,
    cancel_at: Option<i64>,
    sent_at: Option<i64>,
    finished_at: Option<i64>,
    exit: Option<i64>,
    duration_ms: Option<i64>,
    refusal: Option<String>,
    detail: String,
    signed_order: Option<Vec<u8>>,
    output_bytes: Option<i64>,
    output_hash: Option<Vec<u8>>,
}

impl TryFrom<Row> for Run {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unsigned = |value: i64| u64::try_from(value).unwrap_or_default();
        Ok(Self {
            id: parse("run id", &row.id)?,
            host: parse("host id", &row.host)?,
            incident: row.incident,
            action: action_of(&row.action, &row.params)?,
            target: row.target,
            attempt: u32::try_from(row.attempt).unwrap_or(1),
            state: RunState::from_word(&row.state)
                .ok_or_else(|| StoreError::corrupt("state of a run", &row.state))?,
            pending: row.intent.is_some(),
            risk: Risk::from_word(&row.risk).ok_or_else(|| StoreError::corrupt("risk", &row.risk))?,
            risk_factors: json("risk factors", &row.risk_factors)?,
            origin: Origin::from_word(&row.origin)
                .ok_or_else(|| StoreError::corrupt("origin", &row.origin))?,
            reason: row.reason,
            created_by: row.created_by,
            created_at: UnixMs(row.created_at),
            updated_at: UnixMs(row.updated_at),
            decided_by: row.decided_by,
            decided_at: row.decided_at.map(UnixMs),
            claimed_by: row.claimed_by.as_deref().map(|id| parse("controller id", id)).transpose()?,
            claimed_at: row.claimed_at.map(UnixMs),
            lease: row.lease.map(unsigned),
            expires_at: row.expires_at.map(UnixMs),
            cancel_by: row.cancel_by,
            cancel_at: row.cancel_at.map(UnixMs),
            sent_at: row.sent_at.map(UnixMs),
            finished_at: row.finished_at.map(UnixMs),
            exit: row.exit.and_then(|exit| i32::try_from(exit).ok()),
            duration_ms: row.duration_ms.map(unsigned),
            refusal: row.refusal,
            detail: row.detail,
            signed_order: row.signed_order,
            output_bytes: row.output_bytes.map(unsigned),
            output_hash: row.output_hash.and_then(|hash| hash.try_into().ok()).map(Digest),
        })
    }
}

/// `params` as it is stored: the action without its name.
fn params_of(action: &Action) -> Result<String, StoreError> {
    let value = serde_json::to_value(action).map_err(|e| StoreError::corrupt("action", e))?;
    Ok(value.get("params").map_or_else(|| "{}".to_owned(), ToString::to_string))
}

fn action_of(name: &str, params: &str) -> Result<Action, StoreError> {
    let params: serde_json::Value = json("parameters", params)?;
    serde_json::from_value(serde_json::json!({ "action": name, "params": params }))
        .map_err(|e| StoreError::corrupt("action", e))
}

/// What a run is about: while it is open or unknown, no other run may have the same.
#[must_use]
pub fn intent(host: HostId, action: &Action) -> String {
    format!("{host}/{}/{}", action.name(), action.target())
}

fn all(rows: Vec<Row>) -> Result<Vec<Run>, StoreError> {
    rows.into_iter().map(Run::try_from).collect()
}

/// One run.
///
/// # Errors
/// Only the store's.
pub async fn get(conn: &mut Conn, id: OrderId) -> Result<Option<Run>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT * FROM runs WHERE id = ?").bind(id.to_string()).fetch_optional(conn).await?;
    row.map(Run::try_from).transpose()
}

/// One run, for pages.
///
/// # Errors
/// Only the store's.
pub async fn find(db: &Db, id: OrderId) -> Result<Option<Run>, StoreError> {
    get(&mut *db.read().acquire().await?, id).await
}

/// The run that was made for this request.
///
/// # Errors
/// Only the store's.
pub async fn by_request(conn: &mut Conn, request_key: &str) -> Result<Option<Run>, StoreError> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM runs WHERE request_key = ?")
        .bind(request_key)
        .fetch_optional(conn)
        .await?;
    row.map(Run::try_from).transpose()
}

/// The open or unknown run with this intent.
///
/// # Errors
/// Only the store's.
pub async fn by_intent(conn: &mut Conn, intent: &str) -> Result<Option<Run>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT * FROM runs WHERE intent = ?").bind(intent).fetch_optional(conn).await?;
    row.map(Run::try_from).transpose()
}

/// A page of runs, newest first.
///
/// # Errors
/// Only the store's.
pub async fn list(db: &Db, filter: RunFilter) -> Result<Vec<Run>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT * FROM runs
         WHERE (?1 IS NULL OR host = ?1) AND (?2 IS NULL OR incident = ?2)
           AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR id < ?4)
         ORDER BY id DESC LIMIT ?5",
    )
    .bind(filter.host.map(|host| host.to_string()))
    .bind(filter.incident)
    .bind(filter.state.map(RunState::word))
    .bind(filter.before.map(|id| id.to_string()))
    .bind(filter.limit)
    .fetch_all(db.read())
    .await?;
    all(rows)
}

/// All runs of an incident, oldest first.
///
/// # Errors
/// Only the store's.
pub async fn of_incident(conn: &mut Conn, incident: i64) -> Result<Vec<Run>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM runs WHERE incident = ? ORDER BY id LIMIT 500")
        .bind(incident)
        .fetch_all(conn)
        .await?;
    all(rows)
}

/// Stores a new run under a new id and returns it.
///
/// # Errors
/// [`StoreError::Conflict`] when the same is open, unknown or planned already.
pub async fn insert(conn: &mut Conn, run: &NewRun, now: UnixMs) -> Result<Run, StoreError> {
    let id = OrderId(Uuid::now_v7());
    let decided = run.decided_by.as_ref().map(|_| now.0);
    let done = sqlx::query(
        "INSERT INTO runs (id, host, incident, action, params, target, attempt, intent, request_key, state,
             risk, risk_factors, origin, reason, created_by, created_at, updated_at, decided_by, decided_at,
             expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id.to_string())
    .bind(run.host.to_string())
    .bind(run.incident)
    .bind(run.action.name())
    .bind(params_of(&run.action)?)
    .bind(run.action.target())
    .bind(i64::from(run.attempt))
    .bind(intent(run.host, &run.action))
    .bind(&run.request_key)
    .bind(run.state.word())
    .bind(run.risk.word())
    .bind(serde_json::to_string(&run.risk_factors).unwrap_or_else(|_| "[]".to_owned()))
    .bind(run.origin.word())
    .bind(&run.reason)
    .bind(&run.created_by)
    .bind(now.0)
    .bind(now.0)
    .bind(&run.decided_by)
    .bind(decided)
    .bind(run.expires_at.map(|at| at.0))
    .execute(&mut *conn)
    .await;
    match done {
        Err(sqlx::Error::Database(e)) if e.is_unique_violation() => Err(StoreError::Conflict(
            "the same action is planned, running or of unknown outcome on this target",
        )),
        Err(e) => Err(e.into()),
        Ok(_) => get(conn, id).await?.ok_or(StoreError::NotFound("run")),
    }
}
