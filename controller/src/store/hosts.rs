//! Hosts and their labels.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Serialize;
use sqlx::{Sqlite, Transaction};
use sysop_common::grant::Grants;
use sysop_common::ids::HostId;
use sysop_common::time::{SECOND_MS, UnixMs};
use sysop_common::wire::Inventory;

use super::labels::{AGENT_LABEL_PREFIX, Label, MAX_LABELS, put_labels};
use super::{Conn, Db, StoreError};

/// A host without samples for this long is offline, whatever its interval.
pub const OFFLINE_AFTER_MS: i64 = 90 * SECOND_MS;
/// Most bytes of a host's name, a label's name or its value.
pub const MAX_NAME: usize = 128;

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its id.
    pub id: HostId,
    /// Its name, for display.
    pub name: String,
    /// When it enrolled.
    pub created_at: UnixMs,
    /// When it was removed.
    pub removed_at: Option<UnixMs>,
    /// Version of its agent; empty before the first session.
    pub agent_version: String,
    /// What it said it is.
    pub inventory: Inventory,
    /// What its owner allows, as its agent said.
    pub grants: Grants,
    /// When it last had a session, to the minute; 0 for never.
    pub last_seen: UnixMs,
    /// Its lease number (see [`super::leases`]).
    pub lease: u64,
    /// 0 ordinary, 1 critical.
    pub criticality: u8,
    /// Its labels by name.
    pub labels: BTreeMap<String, Label>,
}

/// How a host is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HostStatus {
    /// A session is live, or a sample came within 2.5 intervals.
    Online,
    /// Neither, but not for long.
    Stale,
    /// Nothing for [`OFFLINE_AFTER_MS`].
    Offline,
    /// Reached without an agent.
    Agentless,
}

impl HostStatus {
    /// From whether a session is live, when the newest sample came, and the host's interval.
    #[must_use]
    pub fn derive(live: bool, last_sample: Option<UnixMs>, interval_ms: i64, now: UnixMs) -> Self {
        let silent = last_sample.map_or(i64::MAX, |at| now.since(at));
        if live || silent as f64 <= 2.5 * interval_ms as f64 {
            Self::Online
        } else if silent <= OFFLINE_AFTER_MS {
            Self::Stale
        } else {
            Self::Offline
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Stale => "stale",
            Self::Offline => "offline",
            Self::Agentless => "agentless",
        }
    }
}

/// Which hosts to list.
#[derive(Debug, Clone, Default)]
pub struct HostFilter {
    /// Only those after this one, in the order of ids.
    pub after: Option<HostId>,
    /// Only those with this label, and with this value where one is given.
    pub label: Option<(String, Option<String>)>,
    /// Only those whose name contains this text.
    pub name: Option<String>,
    /// Removed ones too.
    pub removed: bool,
    /// At most so many.
    pub limit: u32,
}

type Row = (String, String, i64, Option<i64>, String, String, String, i64, i64, i64);

const COLUMNS_NOTE: &str = "row of hosts";

fn host(row: Row) -> Result<Host, StoreError> {
    let (id, name, created_at, removed_at, agent_version, inventory, grants, last_seen, lease, criticality) =
        row;
    Ok(Host {
        id: HostId::from_str(&id).map_err(|e| StoreError::corrupt(COLUMNS_NOTE, e))?,
        name,
        created_at: UnixMs(created_at),
        removed_at: removed_at.map(UnixMs),
        agent_version,
        inventory: parse(&id, "inventory", &inventory),
        grants: parse(&id, "grants", &grants),
        last_seen: UnixMs(last_seen),
        lease: lease as u64,
        criticality: criticality as u8,
        labels: BTreeMap::new(),
    })
}

/// Reads JSON that this or another version wrote; `{}` is what there is before the first session. What
/// cannot be read counts as not told, which allows nothing: one damaged row must not hide all hosts, and
/// the host's next session writes it anew.
fn parse<T: Default + serde::de::DeserializeOwned>(host: &str, column: &str, json: &str) -> T {
    if json == "{}" {
        return T::default();
    }
    serde_json::from_str(json).unwrap_or_else(|error| {
        tracing::error!(host, column, %error, "a column of the host's row cannot be read; taken as empty");
        T::default()
    })
}

fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::corrupt(COLUMNS_NOTE, e))
}

/// Lists hosts by id, with their labels.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(db: &Db, filter: &HostFilter) -> Result<Vec<Host>, StoreError> {
    let (label, value) = match &filter.label {
        Some((label, value)) => (Some(label), value.as_ref()),
        None => (None, None),
    };
    let pattern = filter.name.as_ref().map(|name| like(name));
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, name, created_at, removed_at, agent_version, inventory, grants, last_seen, lease, criticality \
         FROM hosts WHERE id > ?1 AND (?2 OR removed_at IS NULL) \
         AND (?3 IS NULL OR name LIKE ?3 ESCAPE '\\') \
         AND (?4 IS NULL OR EXISTS (SELECT 1 FROM host_labels l WHERE l.host = hosts.id AND l.name = ?4 \
              AND (?5 IS NULL OR l.value = ?5))) \
         ORDER BY id LIMIT ?6",
    )
    .bind(filter.after.map(|id| id.to_string()).unwrap_or_default())
    .bind(filter.removed)
    .bind(pattern)
    .bind(label)
    .bind(value)
    .bind(i64::from(filter.limit))
    .fetch_all(db.read())
    .await?;
    let mut hosts = rows.into_iter().map(host).collect::<Result<Vec<_>, _>>()?;
    let (Some(first), Some(last)) = (hosts.first(), hosts.last()) else { return Ok(hosts) };
    let labels: Vec<(String, String, String, String)> =
        sqlx::query_as("SELECT host, name, value, source FROM host_labels WHERE host >= ? AND host <= ?")
            .bind(first.id.to_string())
            .bind(last.id.to_string())
            .fetch_all(db.read())
            .await?;
    for (id, name, value, source) in labels {
        let Ok(id) = HostId::from_str(&id) else { continue };
        if let Ok(at) = hosts.binary_search_by_key(&id, |host| host.id) {
            hosts[at].labels.insert(name, Label { value, admin: source == "admin" });
        }
    }
    Ok(hosts)
}

/// A pattern for LIKE that matches texts which contain `text`.
fn like(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}

/// One host with its labels, removed or not.
///
/// # Errors
/// [`StoreError::NotFound`] when there is none.
pub async fn get(db: &Db, id: HostId) -> Result<Host, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name, created_at, removed_at, agent_version, inventory, grants, last_seen, lease, criticality \
         FROM hosts WHERE id = ?",
    )
    .bind(id.to_string())
    .fetch_optional(db.read())
    .await?;
    let mut host = host(row.ok_or(StoreError::NotFound("host"))?)?;
    let labels: Vec<(String, String, String)> =
        sqlx::query_as("SELECT name, value, source FROM host_labels WHERE host = ?")
            .bind(id.to_string())
            .fetch_all(db.read())
            .await?;
    host.labels = labels
        .into_iter()
        .map(|(name, value, source)| (name, Label { value, admin: source == "admin" }))
        .collect();
    Ok(host)
}

/// Number of hosts that are not removed.
///
/// # Errors
/// When the database cannot be read.
pub async fn count(db: &Db) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM hosts WHERE removed_at IS NULL")
        .fetch_one(db.read())
        .await?;
    Ok(count as u64)
}

/// Writes a new host; part of enrolment.
pub(super) async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    id: HostId,
    name: &str,
    agent_version: &str,
    now: UnixMs,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO hosts (id, name, created_at, agent_version) VALUES (?, ?, ?, ?)")
        .bind(id.to_string())
        .bind(name)
        .bind(now.0)
        .bind(agent_version)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Gives a host another name.
///
/// # Errors
/// When the name is empty or too long, or there is no such host.
pub async fn rename(conn: &mut Conn, id: HostId, name: &str) -> Result<(), StoreError> {
    if name.trim().is_empty() || name.len() > MAX_NAME {
        return Err(StoreError::Conflict("a host's name has 1 to 128 bytes"));
    }
    let done = sqlx::query("UPDATE hosts SET name = ? WHERE id = ? AND removed_at IS NULL")
        .bind(name)
        .bind(id.to_string())
        .execute(conn)
        .await?;
    found(done.rows_affected())
}

/// Sets how critical a host is: 0 ordinary, 1 critical.
///
/// # Errors
/// When there is no such host.
pub async fn set_criticality(conn: &mut Conn, id: HostId, criticality: u8) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE hosts SET criticality = ? WHERE id = ? AND removed_at IS NULL")
        .bind(i64::from(criticality.min(1)))
        .bind(id.to_string())
        .execute(conn)
        .await?;
    found(done.rows_affected())
}

const fn found(rows: u64) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::NotFound("host")) } else { Ok(()) }
}

/// Removes a host and revokes its certificates; its history stays.
///
/// # Errors
/// When there is no such host.
pub async fn remove(conn: &mut Conn, id: HostId, by: &str, now: UnixMs) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE hosts SET removed_at = ? WHERE id = ? AND removed_at IS NULL")
        .bind(now.0)
        .bind(id.to_string())
        .execute(&mut *conn)
        .await?;
    found(done.rows_affected())?;
    super::certificates::revoke_host(conn, id, by, now).await?;
    Ok(())
}

/// Hosts that were removed since `since`.
///
/// # Errors
/// When the database cannot be read.
pub async fn removed_since(db: &Db, since: UnixMs) -> Result<Vec<HostId>, StoreError> {
    let rows: Vec<String> = sqlx::query_scalar("SELECT id FROM hosts WHERE removed_at >= ?")
        .bind(since.0)
        .fetch_all(db.read())
        .await?;
    rows.iter().map(|id| super::parse("host id", id)).collect()
}

/// Notes that hosts were seen. Called at most once a minute per host.
///
/// # Errors
/// When the database refuses.
pub async fn touch(db: &Db, seen: &[(HostId, UnixMs)]) -> Result<(), StoreError> {
    for page in seen.chunks(500) {
        let mut tx = db.write().begin().await?;
        for (id, at) in page {
            sqlx::query("UPDATE hosts SET last_seen = max(last_seen, ?) WHERE id = ?")
                .bind(at.0)
                .bind(id.to_string())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Stores what a host said it is, with its own labels, if it differs from what is stored. Returns
/// whether it did.
///
/// # Errors
/// When the database refuses.
pub async fn set_inventory(db: &Db, id: HostId, inventory: &Inventory) -> Result<bool, StoreError> {
    let (text, grants) = (json(inventory)?, json(&inventory.grants)?);
    let known: Option<(String, String)> =
        sqlx::query_as("SELECT inventory, agent_version FROM hosts WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(db.read())
            .await?;
    if known.is_some_and(|(inventory_before, version)| {
        inventory_before == text && version == inventory.agent_version
    }) {
        return Ok(false);
    }
    let mut tx = db.write().begin().await?;
    sqlx::query("UPDATE hosts SET inventory = ?, grants = ?, agent_version = ? WHERE id = ?")
        .bind(&text)
        .bind(&grants)
        .bind(&inventory.agent_version)
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?;
    let own = inventory.labels.iter().filter(|(name, value)| {
        name.starts_with(AGENT_LABEL_PREFIX) && name.len() <= MAX_NAME && value.len() <= MAX_NAME
    });
    put_labels(
        &mut tx,
        id,
        own.take(MAX_LABELS).map(|(name, value)| (name.as_str(), value.as_str())),
        "agent",
    )
    .await?;
    tx.commit().await?;
    Ok(true)
}

#[cfg(test)]
mod tests;
