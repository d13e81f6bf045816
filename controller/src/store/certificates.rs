//! Certificates of hosts. A certificate that has no row here is not accepted, whoever signed it.

use std::str::FromStr;

use sysop_common::bytes::{Digest, from_hex};
use sysop_common::ids::{ControllerId, HostId};
use sysop_common::time::UnixMs;

use super::{Conn, Db, StoreError};

/// A certificate as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its DER.
    pub fingerprint: Digest,
    /// Whose it is.
    pub host: HostId,
    /// End of its life.
    pub not_after: UnixMs,
    /// When it was issued.
    pub issued_at: UnixMs,
    /// When it was revoked.
    pub revoked_at: Option<UnixMs>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
}

/// Whether a certificate may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may, until then.
    Good {
        /// End of its life.
        not_after: UnixMs,
        /// The controller that holds the host's lease.
        owner: Option<ControllerId>,
    },
    /// It was never issued, or to another host.
    Unknown,
    /// It was revoked, or its host removed.
    Revoked,
    /// Its life is over.
    Expired,
}

/// How a certificate that names `host` stands at `now`.
///
/// # Errors
/// When the database cannot be read.
pub async fn standing(
    db: &Db,
    fingerprint: Digest,
    host: HostId,
    now: UnixMs,
) -> Result<Standing, StoreError> {
    let row: Option<(i64, Option<i64>, Option<i64>, String)> = sqlx::query_as(
        "SELECT c.not_after, c.revoked_at, h.removed_at, iif(h.lease > 0, h.lease_owner, '') FROM certificates c JOIN hosts h ON h.id = c.host \
         WHERE c.fingerprint = ? AND c.host = ?",
    )
    .bind(fingerprint.to_string())
    .bind(host.to_string())
    .fetch_optional(db.read())
    .await?;
    Ok(match row {
        None => Standing::Unknown,
        Some((_, revoked, removed, _)) if revoked.is_some() || removed.is_some() => Standing::Revoked,
        Some((not_after, ..)) if not_after <= now.0 => Standing::Expired,
        // Nobody's is empty and parses as no one's.
        Some((not_after, _, _, owner)) => {
            Standing::Good { not_after: UnixMs(not_after), owner: owner.parse().ok() }
        }
    })
}

/// Fingerprints that were revoked and would otherwise still be good.
///
/// # Errors
/// When the database cannot be read.
pub async fn revoked(db: &Db, now: UnixMs) -> Result<Vec<Digest>, StoreError> {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT fingerprint FROM certificates WHERE revoked_at IS NOT NULL AND not_after > ?",
    )
    .bind(now.0)
    .fetch_all(db.read())
    .await?;
    rows.iter().map(|text| digest(text)).collect()
}

fn digest(text: &str) -> Result<Digest, StoreError> {
    let bytes = from_hex(text).and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(Digest)
        .ok_or_else(|| StoreError::corrupt("certificate's fingerprint", "it is not 64 hexadecimal digits"))
}

/// The certificates of a host, newest first.
///
/// # Errors
/// When the database cannot be read.
pub async fn of_host(db: &Db, host: HostId) -> Result<Vec<Certificate>, StoreError> {
    let rows: Vec<(String, String, i64, i64, Option<i64>, Option<String>)> = sqlx::query_as(
        "SELECT fingerprint, host, not_after, issued_at, revoked_at, revoked_by FROM certificates WHERE host = ? \
         ORDER BY issued_at DESC",
    )
    .bind(host.to_string())
    .fetch_all(db.read())
    .await?;
    rows.into_iter()
        .map(|(fingerprint, host, not_after, issued_at, revoked_at, revoked_by)| {
            Ok(Certificate {
                fingerprint: digest(&fingerprint)?,
                host: HostId::from_str(&host).map_err(|e| StoreError::corrupt("certificate's host", e))?,
                not_after: UnixMs(not_after),
                issued_at: UnixMs(issued_at),
                revoked_at: revoked_at.map(UnixMs),
                revoked_by,
            })
        })
        .collect()
}

/// Writes a new certificate.
pub(super) async fn insert(
    conn: &mut Conn,
    fingerprint: Digest,
    host: HostId,
    not_after: UnixMs,
    now: UnixMs,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO certificates (fingerprint, host, not_after, issued_at) VALUES (?, ?, ?, ?)")
        .bind(fingerprint.to_string())
        .bind(host.to_string())
        .bind(not_after.0)
        .bind(now.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// A certificate may be renewed in the second half of its life.
const RENEWED_AFTER: i64 = 2;
/// Two certificates of one host lie at least this part of a life apart: 30 hours of 30 days.
const RENEWALS_PER_LIFE: i64 = 24;

/// Writes the certificate that follows `old`, if `old` still stands and its renewal is due: checked in the
/// same transaction, so that a revocation in between wins.
///
/// # Errors
/// [`StoreError::Conflict`] when `old` does not stand any more; [`StoreError::TooSoon`].
pub async fn renew(
    db: &Db,
    old: Digest,
    host: HostId,
    fingerprint: Digest,
    not_after: UnixMs,
    now: UnixMs,
) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let stands: Option<(i64, i64)> = sqlx::query_as(
        "SELECT c.issued_at, c.not_after FROM certificates c JOIN hosts h ON h.id = c.host WHERE c.fingerprint = ? AND c.host = ? \
         AND c.revoked_at IS NULL AND c.not_after > ? AND h.removed_at IS NULL",
    )
    .bind(old.to_string())
    .bind(host.to_string())
    .bind(now.0)
    .fetch_optional(&mut *tx)
    .await?;
    let (issued, ends) =
        stands.ok_or(StoreError::Conflict("the certificate to be renewed is revoked, expired or unknown"))?;
    let newest: i64 = sqlx::query_scalar("SELECT max(issued_at) FROM certificates WHERE host = ?")
        .bind(host.to_string())
        .fetch_one(&mut *tx)
        .await?;
    let life = ends - issued;
    if now.0 < issued + life / RENEWED_AFTER || now.0 < newest + life / RENEWALS_PER_LIFE {
        return Err(StoreError::TooSoon("the certificate is not to be renewed yet"));
    }
    insert(&mut tx, fingerprint, host, not_after, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes certificates that ended before `before`; tells how many.
///
/// # Errors
/// When the database refuses.
pub async fn forget(conn: &mut Conn, before: UnixMs, limit: u32) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM certificates WHERE fingerprint IN (
             SELECT fingerprint FROM certificates WHERE not_after < ? LIMIT ?)",
    )
    .bind(before.0)
    .bind(limit)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Revokes all certificates of a host. Returns how many there were to revoke.
///
/// # Errors
/// When the database refuses.
pub async fn revoke_host(conn: &mut Conn, host: HostId, by: &str, now: UnixMs) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE certificates SET revoked_at = ?, revoked_by = ? WHERE host = ? AND revoked_at IS NULL",
    )
    .bind(now.0)
    .bind(by)
    .bind(host.to_string())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
