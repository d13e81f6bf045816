//! What decisions need to know of hosts: a narrow look at `hosts`, and the lease.

use sqlx::FromRow;
use sysop_common::grant::Grants;
use sysop_common::ids::{ControllerId, HostId};
use sysop_common::time::UnixMs;
use sysop_common::wire::Inventory;

use super::{Conn, StoreError, parse};

/// A host as decisions see it.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// Which.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// Whether an admin called it critical.
    pub critical: bool,
    /// What its owner allows, as announced.
    pub grants: Grants,
    /// What it is, as announced; empty before its first session.
    pub inventory: Inventory,
    /// When it was last heard of; 0 before its first session.
    pub last_seen: UnixMs,
    /// Its lease number.
    pub lease: u64,
    /// Which controller holds it; empty for none.
    pub lease_owner: String,
}

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    criticality: i64,
    grants: String,
    inventory: String,
    last_seen: i64,
    lease: i64,
    lease_owner: String,
}

impl TryFrom<Row> for HostFacts {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        // Before the first session both are empty objects. What an agent of another version announced
        // and cannot be read allows nothing.
        let inventory: Inventory = serde_json::from_str(&row.inventory).unwrap_or_default();
        let grants: Option<Grants> = serde_json::from_str(&row.grants).ok();
        Ok(Self {
            id: parse("host id", &row.id)?,
            name: row.name,
            critical: row.criticality > 0,
            grants: grants.unwrap_or_else(|| inventory.grants.clone()),
            inventory,
            last_seen: UnixMs(row.last_seen),
            lease: u64::try_from(row.lease).unwrap_or_default(),
            lease_owner: row.lease_owner,
        })
    }
}

/// A host that was not removed.
///
/// # Errors
/// Only the store's.
pub async fn get(conn: &mut Conn, id: HostId) -> Result<Option<HostFacts>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name, criticality, grants, inventory, last_seen, lease, lease_owner FROM hosts
         WHERE id = ? AND removed_at IS NULL",
    )
    .bind(id.to_string())
    .fetch_optional(conn)
    .await?;
    row.map(HostFacts::try_from).transpose()
}

/// Id, name and time of last word of every host that was not removed, by id.
///
/// # Errors
/// Only the store's.
pub async fn beats(conn: &mut Conn) -> Result<Vec<(HostId, String, UnixMs)>, StoreError> {
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT id, name, last_seen FROM hosts WHERE removed_at IS NULL ORDER BY id")
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(|(id, name, seen)| Ok((parse("host id", &id)?, name, UnixMs(seen)))).collect()
}

/// How many hosts there are.
///
/// # Errors
/// Only the store's.
pub async fn count(conn: &mut Conn) -> Result<u32, StoreError> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM hosts WHERE removed_at IS NULL").fetch_one(conn).await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The lease number under which `controller` may send to the host: the one that it holds, or one
/// more when another held it. Call inside the transaction that claims a run.
///
/// # Errors
/// [`StoreError::NotFound`] when the host was removed.
pub async fn hold_lease(conn: &mut Conn, host: HostId, controller: ControllerId) -> Result<u64, StoreError> {
    let owner = controller.to_string();
    let (lease,): (i64,) = sqlx::query_as(
        "UPDATE hosts SET lease = lease + (lease_owner <> ?1), lease_owner = ?1
         WHERE id = ?2 AND removed_at IS NULL RETURNING lease",
    )
    .bind(owner)
    .bind(host.to_string())
    .fetch_optional(conn)
    .await?
    .ok_or(StoreError::NotFound("host"))?;
    u64::try_from(lease).map_err(|e| StoreError::corrupt("lease", e))
}
