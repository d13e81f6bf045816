//! What asking a model took: tokens and money, per request.

use sqlx::FromRow;
use sysop_common::ids::HostId;
use sysop_common::time::{DAY_MS, UnixMs};

use super::{Conn, Db, StoreError};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// For which question.
    pub analysis: Option<i64>,
    /// About which incident.
    pub incident: Option<i64>,
    /// On which host.
    pub host: Option<HostId>,
    /// When.
    pub at: UnixMs,
    /// Which model.
    pub model: String,
    /// `triage`, `repair`, `deep`, `test`.
    pub purpose: &'static str,
    /// Tokens of the request.
    pub prompt: u64,
    /// Of these, found in the server's cache.
    pub cached: u64,
    /// Tokens of the answer.
    pub completion: u64,
    /// Of these, for thinking.
    pub reasoning: u64,
    /// The server did not say.
    pub estimated: bool,
    /// Digest of the prices that held.
    pub price_version: String,
    /// Millionths of the currency.
    pub micro: u64,
    /// `USD`.
    pub currency: String,
}

/// A sum of costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct Sum {
    /// Requests.
    pub calls: i64,
    /// Tokens of requests.
    pub prompt: i64,
    /// Of these, cached.
    pub cached: i64,
    /// Tokens of answers.
    pub completion: i64,
    /// Of these, for thinking.
    pub reasoning: i64,
    /// Millionths of the currency.
    pub micro: i64,
    /// Requests whose tokens were counted here.
    pub estimated: i64,
}

impl Sum {
    /// All tokens.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        u64::try_from(self.prompt.saturating_add(self.completion)).unwrap_or(0)
    }

    /// Money in millionths.
    #[must_use]
    pub fn money(&self) -> u64 {
        u64::try_from(self.micro).unwrap_or(0)
    }
}

/// The day of a time, counted from 1970, UTC.
#[must_use]
pub const fn day(at: UnixMs) -> i64 {
    at.0.div_euclid(DAY_MS)
}

/// Stores one request.
///
/// # Errors
/// Only the store's.
pub async fn insert(conn: &mut Conn, cost: &Cost) -> Result<(), StoreError> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO model_costs (analysis, incident, host, at, day, model, purpose, prompt, cached,
             completion, reasoning, estimated, price_version, micro, currency)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(cost.analysis)
    .bind(cost.incident)
    .bind(cost.host.map(|host| host.to_string()))
    .bind(cost.at.0)
    .bind(day(cost.at))
    .bind(&cost.model)
    .bind(cost.purpose)
    .bind(number(cost.prompt))
    .bind(number(cost.cached))
    .bind(number(cost.completion))
    .bind(number(cost.reasoning))
    .bind(cost.estimated)
    .bind(&cost.price_version)
    .bind(number(cost.micro))
    .bind(&cost.currency)
    .execute(conn)
    .await?;
    Ok(())
}

macro_rules! sum {
    ($by:literal) => {
        concat!(
            "SELECT count(*) AS calls, coalesce(sum(prompt), 0) AS prompt, coalesce(sum(cached), 0) AS cached,
                 coalesce(sum(completion), 0) AS completion, coalesce(sum(reasoning), 0) AS reasoning,
                 coalesce(sum(micro), 0) AS micro, coalesce(sum(estimated), 0) AS estimated
             FROM model_costs WHERE ",
            $by,
            " = ?"
        )
    };
}

/// Of one day.
///
/// # Errors
/// Only the store's.
pub async fn of_day(conn: &mut Conn, day: i64) -> Result<Sum, StoreError> {
    Ok(sqlx::query_as(sum!("day")).bind(day).fetch_one(conn).await?)
}

/// Of one incident.
///
/// # Errors
/// Only the store's.
pub async fn of_incident(db: &Db, incident: i64) -> Result<Sum, StoreError> {
    Ok(sqlx::query_as(sum!("incident")).bind(incident).fetch_one(db.read()).await?)
}

/// Of one question.
///
/// # Errors
/// Only the store's.
pub async fn of_analysis(db: &Db, analysis: i64) -> Result<Sum, StoreError> {
    Ok(sqlx::query_as(sum!("analysis")).bind(analysis).fetch_one(db.read()).await?)
}

/// Of each day from one on, newest first: day, calls, tokens, money.
///
/// # Errors
/// Only the store's.
pub async fn by_day(db: &Db, since: i64) -> Result<Vec<(i64, i64, i64, i64)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT day, count(*), sum(prompt + completion), sum(micro) FROM model_costs WHERE day >= ?
         GROUP BY day ORDER BY day DESC",
    )
    .bind(since)
    .fetch_all(db.read())
    .await?)
}

/// Deletes requests from before `before`, at most `limit`; tells how many.
///
/// # Errors
/// Only the store's.
pub async fn forget(conn: &mut Conn, before: UnixMs, limit: u32) -> Result<u64, StoreError> {
    let done =
        sqlx::query("DELETE FROM model_costs WHERE id IN (SELECT id FROM model_costs WHERE day < ? LIMIT ?)")
            .bind(day(before))
            .bind(limit)
            .execute(conn)
            .await?;
    Ok(done.rows_affected())
}
