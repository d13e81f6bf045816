//! Incidents: findings of one host that belong together, from opening to closing.

use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sysop_common::finding::{Category, Finding, Offer, Severity};
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::{Conn, Db, StoreError, json, parse};

/// An incident as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Number, rising.
    pub id: i64,
    /// Of which host; `None` for trouble of the fleet.
    pub host: Option<HostId>,
    /// What makes it the same trouble at the next look (of the root finding when it was opened).
    pub fingerprint: String,
    /// What kind the root is.
    pub category: Category,
    /// Of what: unit, mount point, `host`, `fleet`.
    pub entity: String,
    /// The worst of its findings.
    pub severity: Severity,
    /// One line: what.
    pub title: String,
    /// One line: why; empty when it is not known.
    pub cause: String,
    /// How sure, in percent.
    pub confidence: u8,
    /// Its findings with their evidence, the root first.
    pub findings: Vec<Finding>,
    /// What may be done about it, best first.
    pub offers: Vec<Offer>,
    /// When the trouble began to show.
    pub opened_at: UnixMs,
    /// When it last changed.
    pub updated_at: UnixMs,
    /// When any of it was last seen to hold.
    pub last_true: UnixMs,
    /// When it was closed.
    pub closed_at: Option<UnixMs>,
    /// Why it was closed.
    pub close_why: Option<String>,
    /// Who said that they know.
    pub acked_by: Option<String>,
    /// When.
    pub acked_at: Option<UnixMs>,
    /// 1, and one more each time that it came back within an hour of its closing.
    pub opens: u32,
}

/// Which incidents to list. Newest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct IncidentFilter {
    /// Of one host only.
    pub host: Option<HostId>,
    /// Open ones (`true`), closed ones (`false`) or both.
    pub open: Option<bool>,
    /// Of at least this severity.
    pub severity: Option<Severity>,
    /// Only with a number below this: the last one of the page before.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    host: Option<String>,
    fingerprint: String,
    category: String,
    entity: String,
    severity: String,
    title: String,
    cause: String,
    confidence: i64,
    findings: String,
    offers: String,
    opened_at: i64,
    updated_at: i64,
    last_true: i64,
    closed_at: Option<i64>,
    close_why: Option<String>,
    acked_by: Option<String>,
    acked_at: Option<i64>,
    opens: i64,
}

impl TryFrom<Row> for Incident {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            host: row.host.as_deref().map(|host| parse("host id", host)).transpose()?,
            category: Category::from_word(&row.category)
                .ok_or_else(|| StoreError::corrupt("category", &row.category))?,
            severity: severity(&row.severity)?,
            fingerprint: row.fingerprint,
            entity: row.entity,
            title: row.title,
            cause: row.cause,
            confidence: u8::try_from(row.confidence).unwrap_or(0).min(100),
            findings: json("findings", &row.findings)?,
            offers: json("offers", &row.offers)?,
            opened_at: UnixMs(row.opened_at),
            updated_at: UnixMs(row.updated_at),
            last_true: UnixMs(row.last_true),
            closed_at: row.closed_at.map(UnixMs),
            close_why: row.close_why,
            acked_by: row.acked_by,
            acked_at: row.acked_at.map(UnixMs),
            opens: u32::try_from(row.opens).unwrap_or(1),
        })
    }
}

fn severity(word: &str) -> Result<Severity, StoreError> {
    Severity::from_word(word).ok_or_else(|| StoreError::corrupt("severity", word))
}

fn all(rows: Vec<Row>) -> Result<Vec<Incident>, StoreError> {
    rows.into_iter().map(Incident::try_from).collect()
}

/// One incident.
///
/// # Errors
/// Only the store's.
pub async fn get(conn: &mut Conn, id: i64) -> Result<Option<Incident>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT * FROM incidents WHERE id = ?").bind(id).fetch_optional(conn).await?;
    row.map(Incident::try_from).transpose()
}

/// One incident, for pages.
///
/// # Errors
/// Only the store's.
pub async fn find(db: &Db, id: i64) -> Result<Option<Incident>, StoreError> {
    get(&mut *db.read().acquire().await?, id).await
}

/// A page of incidents, newest first.
///
/// # Errors
/// Only the store's.
pub async fn list(db: &Db, filter: IncidentFilter) -> Result<Vec<Incident>, StoreError> {
    let rank = filter.severity.map_or(0, |s| Severity::ALL.iter().position(|x| *x == s).unwrap_or(0));
    let at_least = |n: usize| if rank <= n { Severity::ALL[n].word() } else { "-" };
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT * FROM incidents
         WHERE (?1 IS NULL OR host = ?1) AND (?2 IS NULL OR (closed_at IS NULL) = ?2)
           AND severity IN (?3, ?4, ?5) AND id < ?6
         ORDER BY id DESC LIMIT ?7",
    )
    .bind(filter.host.map(|host| host.to_string()))
    .bind(filter.open)
    .bind(at_least(0))
    .bind(at_least(1))
    .bind(at_least(2))
    .bind(filter.before.unwrap_or(i64::MAX))
    .bind(filter.limit)
    .fetch_all(db.read())
    .await?;
    all(rows)
}

/// Open incidents of one host (`None`: of the fleet), and those closed at or after `closed_since`.
///
/// # Errors
/// Only the store's.
pub async fn current(
    conn: &mut Conn,
    host: Option<HostId>,
    closed_since: UnixMs,
) -> Result<Vec<Incident>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT * FROM incidents WHERE host IS ?1 AND open_key IS NOT NULL
         UNION ALL
         SELECT * FROM incidents WHERE host IS ?1 AND open_key IS NULL AND closed_at >= ?2
         ORDER BY id",
    )
    .bind(host.map(|host| host.to_string()))
    .bind(closed_since.0)
    .fetch_all(conn)
    .await?;
    all(rows)
}

/// All open incidents, oldest first.
///
/// # Errors
/// Only the store's.
pub async fn open(conn: &mut Conn) -> Result<Vec<Incident>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM incidents WHERE open_key IS NOT NULL ORDER BY id")
        .fetch_all(conn)
        .await?;
    all(rows)
}

/// How many incidents are open, by host; `None` counts those of the fleet.
///
/// # Errors
/// Only the store's.
pub async fn open_counts(db: &Db) -> Result<Vec<(Option<HostId>, Severity, u32)>, StoreError> {
    let rows: Vec<(Option<String>, String, i64)> = sqlx::query_as(
        "SELECT host, severity, count(*) FROM incidents WHERE open_key IS NOT NULL GROUP BY host, severity",
    )
    .fetch_all(db.read())
    .await?;
    rows.into_iter()
        .map(|(host, word, count)| {
            let host = host.as_deref().map(|host| parse("host id", host)).transpose()?;
            Ok((host, severity(&word)?, u32::try_from(count).unwrap_or(u32::MAX)))
        })
        .collect()
}

/// Stores a new incident; its `id` is not looked at. Returns the id.
///
/// # Errors
/// [`StoreError::Conflict`] when one with this fingerprint is open on the host.
pub async fn insert(conn: &mut Conn, incident: &Incident) -> Result<i64, StoreError> {
    let done = sqlx::query(
        "INSERT INTO incidents (host, fingerprint, open_key, category, entity, severity, title, cause,
             confidence, findings, offers, opened_at, updated_at, last_true, opens)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(incident.host.map(|host| host.to_string()))
    .bind(&incident.fingerprint)
    .bind(open_key(incident))
    .bind(incident.category.word())
    .bind(&incident.entity)
    .bind(incident.severity.word())
    .bind(&incident.title)
    .bind(&incident.cause)
    .bind(i64::from(incident.confidence))
    .bind(to_json(&incident.findings))
    .bind(to_json(&incident.offers))
    .bind(incident.opened_at.0)
    .bind(incident.updated_at.0)
    .bind(incident.last_true.0)
    .bind(i64::from(incident.opens))
    .execute(conn)
    .await;
    match done {
        Err(sqlx::Error::Database(e)) if e.is_unique_violation() => {
            Err(StoreError::Conflict("an incident of this kind is open already"))
        }
        Err(e) => Err(e.into()),
        Ok(done) => Ok(done.last_insert_rowid()),
    }
}

/// Stores an incident as it is now, open or closed.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] as for [`insert`].
pub async fn update(conn: &mut Conn, incident: &Incident) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE incidents SET open_key = ?, category = ?, entity = ?, severity = ?, title = ?, cause = ?,
             confidence = ?, findings = ?, offers = ?, updated_at = ?, last_true = ?, closed_at = ?,
             close_why = ?, opens = ?
         WHERE id = ?",
    )
    .bind(incident.closed_at.is_none().then(|| open_key(incident)))
    .bind(incident.category.word())
    .bind(&incident.entity)
    .bind(incident.severity.word())
    .bind(&incident.title)
    .bind(&incident.cause)
    .bind(i64::from(incident.confidence))
    .bind(to_json(&incident.findings))
    .bind(to_json(&incident.offers))
    .bind(incident.updated_at.0)
    .bind(incident.last_true.0)
    .bind(incident.closed_at.map(|at| at.0))
    .bind(&incident.close_why)
    .bind(i64::from(incident.opens))
    .bind(incident.id)
    .execute(conn)
    .await;
    match done {
        Err(sqlx::Error::Database(e)) if e.is_unique_violation() => {
            Err(StoreError::Conflict("an incident of this kind is open already"))
        }
        Err(e) => Err(e.into()),
        Ok(done) if done.rows_affected() == 0 => Err(StoreError::NotFound("incident")),
        Ok(_) => Ok(()),
    }
}

/// Notes that `who` knows of an open incident; false when someone said so before.
///
/// # Errors
/// Only the store's.
pub async fn ack(conn: &mut Conn, id: i64, who: &str, now: UnixMs) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE incidents SET acked_by = ?, acked_at = ? WHERE id = ? AND acked_at IS NULL")
            .bind(who)
            .bind(now.0)
            .bind(id)
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes incidents that were closed before `before` and that no run names; tells how many.
///
/// # Errors
/// Only the store's.
pub async fn forget(conn: &mut Conn, before: UnixMs, limit: u32) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM incidents WHERE id IN (
             SELECT id FROM incidents WHERE closed_at < ?
               AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.incident = incidents.id) LIMIT ?)",
    )
    .bind(before.0)
    .bind(limit)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

fn open_key(incident: &Incident) -> String {
    let host = incident.host.map_or_else(|| "fleet".to_owned(), |host| host.to_string());
    format!("{host}/{}", incident.fingerprint)
}

/// These types hold nothing that JSON cannot.
fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned())
}
