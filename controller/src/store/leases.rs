//! Which controller a host belongs to: a number per host, raised by compare-and-set.

use sysop_common::ids::{ControllerId, HostId};

use super::{Db, StoreError};

/// A host's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The number that orders carry.
    pub number: u64,
    /// Whose it is; empty for nobody's.
    pub owner: String,
}

/// The lease of a host.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such host.
pub async fn get(db: &Db, host: HostId) -> Result<Lease, StoreError> {
    let row: Option<(i64, String)> = sqlx::query_as("SELECT lease, lease_owner FROM hosts WHERE id = ?")
        .bind(host.to_string())
        .fetch_optional(db.read())
        .await?;
    let (number, owner) = row.ok_or(StoreError::NotFound("host"))?;
    Ok(Lease { number: number as u64, owner })
}

/// Takes a host over, unless it is this controller's already: then the number stays. The number rises by
/// compare-and-set, so of two controllers that try at once one fails.
///
/// # Errors
/// [`StoreError::Conflict`] when another controller was faster; [`StoreError::NotFound`] when there is no
/// such host.
pub async fn claim(db: &Db, host: HostId, controller: ControllerId) -> Result<u64, StoreError> {
    let lease = get(db, host).await?;
    let me = controller.to_string();
    if lease.owner == me && lease.number > 0 {
        return Ok(lease.number);
    }
    raise(db, host, &lease, &me).await
}

/// Raises the number of a host that is this controller's, so that orders under the old one are void.
///
/// # Errors
/// As [`claim`].
pub async fn renew(db: &Db, host: HostId, controller: ControllerId) -> Result<u64, StoreError> {
    let lease = get(db, host).await?;
    raise(db, host, &lease, &controller.to_string()).await
}

async fn raise(db: &Db, host: HostId, seen: &Lease, owner: &str) -> Result<u64, StoreError> {
    let number = seen.number.saturating_add(1);
    let done = sqlx::query(
        "UPDATE hosts SET lease = ?, lease_owner = ? WHERE id = ? AND lease = ? AND lease_owner = ?",
    )
    .bind(number as i64)
    .bind(owner)
    .bind(host.to_string())
    .bind(seen.number as i64)
    .bind(&seen.owner)
    .execute(db.write())
    .await?;
    if done.rows_affected() == 1 {
        Ok(number)
    } else {
        Err(StoreError::Conflict("another controller took the host over at the same moment"))
    }
}
