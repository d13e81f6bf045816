//! Requests that carried an idempotency key, and what was answered.
//!
//! A key is claimed before the work and settled after it. A claim that was never settled (the process
//! ended in between) stays: whether the work was done is not known, so it is not done again.

use sysop_common::time::UnixMs;

use super::{Db, StoreError};

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is new, and now claimed: do the work, then [`settle`] or [`release`].
    New,
    /// The same request was answered with this.
    Done {
        /// HTTP status.
        status: u16,
        /// Body, without anything secret.
        body: String,
    },
    /// The same request is under way, or its end is not known.
    Open,
    /// Another request came under this key.
    Other,
}

/// Claims `key` of `principal` for the request with digest `request`.
///
/// # Errors
/// Only the store's.
pub async fn claim(
    db: &Db,
    principal: &str,
    key: &str,
    request: &[u8; 32],
    now: UnixMs,
) -> Result<Claim, StoreError> {
    let done = sqlx::query(
        "INSERT OR IGNORE INTO idempotency (principal, key, request, status, body, created_at)
         VALUES (?, ?, ?, 0, '', ?)",
    )
    .bind(principal)
    .bind(key)
    .bind(request.as_slice())
    .bind(now.0)
    .execute(db.write())
    .await?;
    if done.rows_affected() == 1 {
        return Ok(Claim::New);
    }
    // Read by the writer: another connection may not see its last commit yet.
    let row: Option<(Vec<u8>, i64, String)> =
        sqlx::query_as("SELECT request, status, body FROM idempotency WHERE principal = ? AND key = ?")
            .bind(principal)
            .bind(key)
            .fetch_optional(db.write())
            .await?;
    Ok(match row {
        Some((found, ..)) if found != request => Claim::Other,
        Some((_, status, body)) => match u16::try_from(status) {
            Ok(status @ 100..) => Claim::Done { status, body },
            _ => Claim::Open,
        },
        // Released in between: the caller's next try finds it new.
        None => Claim::Open,
    })
}

/// Stores the answer to a claimed request.
///
/// # Errors
/// Only the store's.
pub async fn settle(db: &Db, principal: &str, key: &str, status: u16, body: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE idempotency SET status = ?, body = ? WHERE principal = ? AND key = ?")
        .bind(i64::from(status))
        .bind(body)
        .bind(principal)
        .bind(key)
        .execute(db.write())
        .await?;
    Ok(())
}

/// Gives a claimed key back: the request was refused and nothing was done.
///
/// # Errors
/// Only the store's.
pub async fn release(db: &Db, principal: &str, key: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM idempotency WHERE principal = ? AND key = ? AND status = 0")
        .bind(principal)
        .bind(key)
        .execute(db.write())
        .await?;
    Ok(())
}

/// Forgets keys claimed before `before`; tells how many.
///
/// # Errors
/// Only the store's.
pub async fn forget(db: &Db, before: UnixMs) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM idempotency WHERE created_at < ?")
        .bind(before.0)
        .execute(db.write())
        .await?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_worked_on_once_and_answers_the_same_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open_control(dir.path()).await.unwrap();
        let ask = async |key: &'static str, request: u8| {
            claim(&db, "user:ann", key, &[request; 32], UnixMs(5)).await.unwrap()
        };
        assert_eq!(ask("k", 1).await, Claim::New);
        assert_eq!(ask("k", 1).await, Claim::Open);
        assert_eq!(ask("k", 2).await, Claim::Other);
        settle(&db, "user:ann", "k", 201, "{}").await.unwrap();
        assert_eq!(ask("k", 1).await, Claim::Done { status: 201, body: "{}".into() });
        release(&db, "user:ann", "k").await.unwrap();
        assert_eq!(ask("k", 1).await, Claim::Done { status: 201, body: "{}".into() });
        assert_eq!(ask("l", 1).await, Claim::New);
        release(&db, "user:ann", "l").await.unwrap();
        assert_eq!(ask("l", 3).await, Claim::New);
        assert_eq!(forget(&db, UnixMs(6)).await.unwrap(), 2);
    }
}
