//! What a model was asked about incidents, what it answered, and what counts of that.

use sqlx::FromRow;
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::{Conn, Db, StoreError, parse};

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The answer counts as it is.
    Accepted,
    /// The second answer counts, after the first one's faults were named.
    Repaired,
    /// Its text counts, its actions do not.
    Flagged,
    /// Nothing of the answer counts.
    Rejected,
    /// There was no answer.
    Failed,
    /// An equal question had been answered.
    Shared,
    /// It was not asked: the day's limit is reached.
    Capped,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Repaired,
        Self::Flagged,
        Self::Rejected,
        Self::Failed,
        Self::Shared,
        Self::Capped,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repaired => "repaired",
            Self::Flagged => "flagged",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Shared => "shared",
            Self::Capped => "capped",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.word() == word)
    }
}

/// A question as it is stored. Texts in JSON are the model stage's matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysis {
    /// Number, rising; not looked at when it is stored.
    pub id: i64,
    /// About which incident.
    pub incident: Option<i64>,
    /// On which host.
    pub host: Option<HostId>,
    /// When.
    pub at: UnixMs,
    /// Why it was asked.
    pub reason: String,
    /// Which model.
    pub model: String,
    /// Version of the prompt's words.
    pub prompt_version: String,
    /// Version of the answer's form.
    pub schema_version: String,
    /// In which language.
    pub language: String,
    /// Equal questions have equal keys.
    pub key: Vec<u8>,
    /// What was said to the model, as a JSON list; empty once retention took it.
    pub prompt: String,
    /// Its answers, as a JSON list of texts.
    pub answer: String,
    /// What became of it.
    pub verdict: Verdict,
    /// What was thrown out, as a JSON list.
    pub rejects: String,
    /// What counts, as JSON.
    pub opinion: Option<String>,
    /// What is left of the model's confidence, in percent.
    pub confidence: Option<u8>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// Requests that were sent.
    pub turns: u32,
    /// From the first request to the last answer.
    pub latency_ms: u64,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    incident: Option<i64>,
    host: Option<String>,
    at: i64,
    reason: String,
    model: String,
    prompt_version: String,
    schema_version: String,
    language: String,
    key: Vec<u8>,
    prompt: String,
    answer: String,
    verdict: String,
    rejects: String,
    opinion: Option<String>,
    confidence: Option<i64>,
    error: Option<String>,
    turns: i64,
    latency_ms: i64,
}

impl TryFrom<Row> for Analysis {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            incident: row.incident,
            host: row.host.as_deref().map(|host| parse("host id", host)).transpose()?,
            at: UnixMs(row.at),
            reason: row.reason,
            model: row.model,
            prompt_version: row.prompt_version,
            schema_version: row.schema_version,
            language: row.language,
            key: row.key,
            prompt: row.prompt,
            answer: row.answer,
            verdict: Verdict::from_word(&row.verdict)
                .ok_or_else(|| StoreError::corrupt("verdict of an analysis", &row.verdict))?,
            rejects: row.rejects,
            opinion: row.opinion,
            confidence: row.confidence.map(|percent| u8::try_from(percent).unwrap_or(0).min(100)),
            error: row.error,
            turns: u32::try_from(row.turns).unwrap_or(0),
            latency_ms: u64::try_from(row.latency_ms).unwrap_or(0),
        })
    }
}

/// Which to list. Newest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    /// Of one incident only.
    pub incident: Option<i64>,
    /// Of one host only.
    pub host: Option<HostId>,
    /// With one verdict only.
    pub verdict: Option<Verdict>,
    /// Only with a number below this: the last one of the page before.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// Stores a question; returns its number.
///
/// # Errors
/// Only the store's.
pub async fn insert(conn: &mut Conn, analysis: &Analysis) -> Result<i64, StoreError> {
    let done = sqlx::query(
        "INSERT INTO analyses (incident, host, at, reason, model, prompt_version, schema_version, language,
             key, prompt, answer, verdict, rejects, opinion, confidence, error, turns, latency_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(analysis.incident)
    .bind(analysis.host.map(|host| host.to_string()))
    .bind(analysis.at.0)
    .bind(&analysis.reason)
    .bind(&analysis.model)
    .bind(&analysis.prompt_version)
    .bind(&analysis.schema_version)
    .bind(&analysis.language)
    .bind(&analysis.key)
    .bind(&analysis.prompt)
    .bind(&analysis.answer)
    .bind(analysis.verdict.word())
    .bind(&analysis.rejects)
    .bind(&analysis.opinion)
    .bind(analysis.confidence.map(i64::from))
    .bind(&analysis.error)
    .bind(i64::from(analysis.turns))
    .bind(i64::try_from(analysis.latency_ms).unwrap_or(i64::MAX))
    .execute(conn)
    .await?;
    Ok(done.last_insert_rowid())
}

/// One question.
///
/// # Errors
/// Only the store's.
pub async fn find(db: &Db, id: i64) -> Result<Option<Analysis>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT * FROM analyses WHERE id = ?").bind(id).fetch_optional(db.read()).await?;
    row.map(Analysis::try_from).transpose()
}

/// A page of questions, newest first.
///
/// # Errors
/// Only the store's.
pub async fn list(db: &Db, filter: Filter) -> Result<Vec<Analysis>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT * FROM analyses
         WHERE (?1 IS NULL OR incident = ?1) AND (?2 IS NULL OR host = ?2)
           AND (?3 IS NULL OR verdict = ?3) AND id < ?4
         ORDER BY id DESC LIMIT ?5",
    )
    .bind(filter.incident)
    .bind(filter.host.map(|host| host.to_string()))
    .bind(filter.verdict.map(Verdict::word))
    .bind(filter.before.unwrap_or(i64::MAX))
    .bind(filter.limit)
    .fetch_all(db.read())
    .await?;
    rows.into_iter().map(Analysis::try_from).collect()
}

/// The newest question of each open incident: where the stage goes on after a restart.
///
/// # Errors
/// Only the store's.
pub async fn newest_of_open(conn: &mut Conn) -> Result<Vec<Analysis>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT * FROM analyses WHERE id IN (
             SELECT max(a.id) FROM analyses a JOIN incidents i ON i.id = a.incident
             WHERE i.open_key IS NOT NULL GROUP BY a.incident)",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Analysis::try_from).collect()
}

/// The newest question of an incident of which something counts.
///
/// # Errors
/// Only the store's.
pub async fn opinion_of(conn: &mut Conn, incident: i64) -> Result<Option<Analysis>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT * FROM analyses WHERE incident = ? AND opinion IS NOT NULL ORDER BY id DESC LIMIT 1",
    )
    .bind(incident)
    .fetch_optional(conn)
    .await?;
    row.map(Analysis::try_from).transpose()
}

/// Which model has an opinion on an incident, and how sure it says it is, in percent.
///
/// # Errors
/// Only the store's.
pub async fn stated(conn: &mut Conn, incident: i64) -> Result<Option<(String, u8)>, StoreError> {
    let row: Option<(String, i64)> = sqlx::query_as(
        "SELECT model, json_extract(opinion, '$.views[0].confidence') FROM analyses
         WHERE incident = ? AND json_extract(opinion, '$.views[0].confidence') IS NOT NULL
         ORDER BY id DESC LIMIT 1",
    )
    .bind(incident)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(model, percent)| (model, u8::try_from(percent).unwrap_or(0).min(100))))
}

/// Empties prompts and answers from before `texts`, and deletes questions from before `rows`; tells how
/// many were touched, at most `limit` of each.
///
/// # Errors
/// Only the store's.
pub async fn forget(conn: &mut Conn, texts: UnixMs, rows: UnixMs, limit: u32) -> Result<u64, StoreError> {
    let emptied = sqlx::query(
        "UPDATE analyses SET prompt = '[]', answer = '[]' WHERE id IN (
             SELECT id FROM analyses WHERE at < ? AND prompt <> '[]' LIMIT ?)",
    )
    .bind(texts.0)
    .bind(limit)
    .execute(&mut *conn)
    .await?;
    let gone = sqlx::query("DELETE FROM analyses WHERE id IN (SELECT id FROM analyses WHERE at < ? LIMIT ?)")
        .bind(rows.0)
        .bind(limit)
        .execute(conn)
        .await?;
    Ok(emptied.rows_affected() + gone.rows_affected())
}
