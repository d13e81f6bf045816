//! How actions did: their outcomes per kind of trouble, and which of them lost the right to run by
//! themselves.

use sqlx::FromRow;
use sysop_common::action::RunState;
use sysop_common::finding::Category;
use sysop_common::time::UnixMs;

use super::{Conn, Db, StoreError};

/// An action that may not run by itself for a kind of trouble.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Demotion {
    /// Number, rising.
    pub id: i64,
    /// Which action.
    pub action: String,
    /// For which kind of trouble.
    pub category: String,
    /// Why.
    pub reason: String,
    /// Since when, ms UTC.
    pub opened_at: i64,
    /// When a person lifted it, ms UTC.
    pub lifted_at: Option<i64>,
    /// Who.
    pub lifted_by: Option<String>,
}

/// The demotion that holds for an action and a category.
///
/// # Errors
/// Only the store's.
pub async fn demotion(
    conn: &mut Conn,
    action: &str,
    category: Category,
) -> Result<Option<Demotion>, StoreError> {
    Ok(sqlx::query_as("SELECT * FROM demotions WHERE action = ? AND category = ? AND lifted_at IS NULL")
        .bind(action)
        .bind(category.word())
        .fetch_optional(conn)
        .await?)
}

/// Takes the right away; false when it is away already.
///
/// # Errors
/// Only the store's.
pub async fn demote(
    conn: &mut Conn,
    action: &str,
    category: Category,
    reason: &str,
    now: UnixMs,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT OR IGNORE INTO demotions (action, category, reason, opened_at) VALUES (?, ?, ?, ?)",
    )
    .bind(action)
    .bind(category.word())
    .bind(reason)
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives the right back; returns what was lifted.
///
/// # Errors
/// [`StoreError::NotFound`] when there is none that holds.
pub async fn lift(conn: &mut Conn, id: i64, who: &str, now: UnixMs) -> Result<Demotion, StoreError> {
    sqlx::query_as(
        "UPDATE demotions SET lifted_at = ?, lifted_by = ? WHERE id = ? AND lifted_at IS NULL RETURNING *",
    )
    .bind(now.0)
    .bind(who)
    .bind(id)
    .fetch_optional(conn)
    .await?
    .ok_or(StoreError::NotFound("demotion"))
}

/// Demotions, those that hold first, then the newest.
///
/// # Errors
/// Only the store's.
pub async fn demotions(db: &Db) -> Result<Vec<Demotion>, StoreError> {
    Ok(sqlx::query_as("SELECT * FROM demotions ORDER BY lifted_at IS NOT NULL, id DESC LIMIT 200")
        .fetch_all(db.read())
        .await?)
}

/// How the newest runs of an action for a category ended, newest first, since the last time that a person
/// lifted a demotion of it: whether the effect was seen. Runs whose end says nothing are left out.
///
/// # Errors
/// Only the store's.
pub async fn outcomes(
    conn: &mut Conn,
    action: &str,
    category: Category,
    limit: u32,
) -> Result<Vec<bool>, StoreError> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT r.state FROM runs r JOIN incidents i ON i.id = r.incident
         WHERE r.action = ?1 AND i.category = ?2
           AND r.state IN ('verified', 'not_verified', 'failed', 'timed_out', 'undone')
           AND r.updated_at > coalesce((SELECT max(lifted_at) FROM demotions
               WHERE action = ?1 AND category = ?2), 0)
         ORDER BY r.updated_at DESC, r.id DESC LIMIT ?3",
    )
    .bind(action)
    .bind(category.word())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(state,)| state == RunState::Verified.word()).collect())
}

/// Successes and all ends of every action per category.
///
/// # Errors
/// Only the store's.
pub async fn rates(db: &Db) -> Result<Vec<(String, String, i64, i64)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT r.action, i.category, sum(r.state = 'verified'), count(*)
         FROM runs r JOIN incidents i ON i.id = r.incident
         WHERE r.state IN ('verified', 'not_verified', 'failed', 'timed_out', 'undone')
         GROUP BY r.action, i.category ORDER BY r.action, i.category",
    )
    .fetch_all(db.read())
    .await?)
}
