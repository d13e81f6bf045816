//! Enrolment tokens: random, limited in uses and time, stored as SHA-256 only.

use std::collections::BTreeMap;
use std::str::FromStr;

use sysop_common::bytes::Digest;
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::{Conn, Db, StoreError, certificates, hosts, labels};

/// A token as it is stored. Its text is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollmentToken {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: UnixMs,
    /// When it ends.
    pub expires_at: UnixMs,
    /// How often it may be used.
    pub max_uses: u32,
    /// How often it was used.
    pub uses: u32,
    /// Labels for the hosts that use it, given by the admin who made it.
    pub labels: BTreeMap<String, String>,
    /// The host that it brings back, and no other.
    pub recovers: Option<HostId>,
    /// When it was withdrawn.
    pub revoked_at: Option<UnixMs>,
}

type Row = (String, String, String, i64, i64, i64, i64, String, Option<String>, Option<i64>);

fn token(row: Row) -> Result<EnrollmentToken, StoreError> {
    let (id, name, created_by, created_at, expires_at, max_uses, uses, labels, recovers, revoked_at) = row;
    let corrupt = |e: &dyn std::fmt::Display| StoreError::corrupt("enrolment token", e);
    Ok(EnrollmentToken {
        id,
        name,
        created_by,
        created_at: UnixMs(created_at),
        expires_at: UnixMs(expires_at),
        max_uses: max_uses as u32,
        uses: uses as u32,
        labels: serde_json::from_str(&labels).map_err(|e| corrupt(&e))?,
        recovers: recovers.map(|id| HostId::from_str(&id).map_err(|e| corrupt(&e))).transpose()?,
        revoked_at: revoked_at.map(UnixMs),
    })
}

/// Stores a new token by its hash.
///
/// # Errors
/// When the database refuses, or the host that it should bring back does not exist.
pub async fn insert(conn: &mut Conn, hash: Digest, token: &EnrollmentToken) -> Result<(), StoreError> {
    if let Some(host) = token.recovers {
        let known: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM hosts WHERE id = ? AND removed_at IS NULL")
                .bind(host.to_string())
                .fetch_optional(&mut *conn)
                .await?;
        known.ok_or(StoreError::NotFound("host"))?;
    }
    let labels = serde_json::to_string(&token.labels).map_err(|e| StoreError::corrupt("labels", e))?;
    sqlx::query(
        "INSERT INTO enrollment_tokens (id, hash, name, created_by, created_at, expires_at, max_uses, labels, recovers) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&token.id)
    .bind(&hash.0[..])
    .bind(&token.name)
    .bind(&token.created_by)
    .bind(token.created_at.0)
    .bind(token.expires_at.0)
    .bind(i64::from(token.max_uses))
    .bind(labels)
    .bind(token.recovers.map(|host| host.to_string()))
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest tokens, at most `limit`.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(db: &Db, limit: u32) -> Result<Vec<EnrollmentToken>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, name, created_by, created_at, expires_at, max_uses, uses, labels, recovers, revoked_at \
         FROM enrollment_tokens ORDER BY created_at DESC LIMIT ?",
    )
    .bind(i64::from(limit))
    .fetch_all(db.read())
    .await?;
    rows.into_iter().map(token).collect()
}

/// The token with this hash, if it may be used now.
///
/// # Errors
/// When the database cannot be read.
pub async fn usable(db: &Db, hash: Digest, now: UnixMs) -> Result<Option<EnrollmentToken>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name, created_by, created_at, expires_at, max_uses, uses, labels, recovers, revoked_at \
         FROM enrollment_tokens WHERE hash = ? AND expires_at > ? AND uses < max_uses AND revoked_at IS NULL",
    )
    .bind(&hash.0[..])
    .bind(now.0)
    .fetch_optional(db.read())
    .await?;
    row.map(token).transpose()
}

/// Withdraws a token.
///
/// # Errors
/// When there is no such token.
pub async fn revoke(conn: &mut Conn, id: &str, now: UnixMs) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE enrollment_tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL")
        .bind(now.0)
        .bind(id)
        .execute(conn)
        .await?;
    if done.rows_affected() == 0 { Err(StoreError::NotFound("enrolment token")) } else { Ok(()) }
}

/// A host that comes in by a token.
#[derive(Debug, Clone)]
pub struct Newcomer<'a> {
    /// Its id: new, or the one that the token brings back.
    pub host: HostId,
    /// Its name, for display.
    pub name: &'a str,
    /// Version of its agent.
    pub agent_version: &'a str,
    /// Its certificate.
    pub fingerprint: Digest,
    /// End of the certificate's life.
    pub not_after: UnixMs,
}

/// Claims one use of a token and takes the host in, in one transaction. Returns whether the token could
/// still be claimed: two requests at once with a token for one use get in once.
///
/// # Errors
/// When the database refuses.
pub async fn claim(
    db: &Db,
    token: &EnrollmentToken,
    newcomer: &Newcomer<'_>,
    now: UnixMs,
) -> Result<bool, StoreError> {
    let mut tx = db.write().begin().await?;
    let claimed = sqlx::query(
        "UPDATE enrollment_tokens SET uses = uses + 1 \
         WHERE id = ? AND uses < max_uses AND expires_at > ? AND revoked_at IS NULL",
    )
    .bind(&token.id)
    .bind(now.0)
    .execute(&mut *tx)
    .await?;
    if claimed.rows_affected() != 1 {
        return Ok(false);
    }
    if token.recovers.is_some() {
        let known: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM hosts WHERE id = ? AND removed_at IS NULL")
                .bind(newcomer.host.to_string())
                .fetch_optional(&mut *tx)
                .await?;
        if known.is_none() {
            return Ok(false);
        }
        // The identity moves: whoever holds the old key is out.
        certificates::revoke_host(&mut tx, newcomer.host, "recovery", now).await?;
    } else {
        hosts::insert(&mut tx, newcomer.host, newcomer.name, newcomer.agent_version, now).await?;
        let given = token.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        labels::put_labels(&mut tx, newcomer.host, given, "admin").await?;
    }
    certificates::insert(&mut tx, newcomer.fingerprint, newcomer.host, newcomer.not_after, now).await?;
    sqlx::query("UPDATE hosts SET enrolled_by = ? WHERE id = ?")
        .bind(&token.id)
        .bind(newcomer.host.to_string())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}

/// The newest host that came, or came back, by the token with this id.
///
/// # Errors
/// When the database cannot be read.
pub async fn newest_host(db: &Db, token: &str) -> Result<Option<HostId>, StoreError> {
    let row: Option<String> =
        sqlx::query_scalar("SELECT id FROM hosts WHERE enrolled_by = ? ORDER BY id DESC LIMIT 1")
            .bind(token)
            .fetch_optional(db.read())
            .await?;
    row.map(|id| super::parse("host id", &id)).transpose()
}
