//! The audit chain's rows. What they mean and how they are hashed is `crate::audit`'s.

use sqlx::FromRow;
use sysop_common::bytes::Digest;
use sysop_common::ids::ControllerId;
use sysop_common::time::UnixMs;

use super::{Conn, Db, StoreError, parse};

/// A record of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Whose chain.
    pub controller: ControllerId,
    /// Number within it, from 1, without holes.
    pub seq: u64,
    /// When.
    pub at: UnixMs,
    /// Who: `user:…`, `token:…`, `policy`, `analyser`, `host:…`, `system`.
    pub actor: String,
    /// What: `run.approve`, …
    pub action: String,
    /// On what: `run:…`, `incident:…`, `host:…`.
    pub object: String,
    /// Details as JSON.
    pub detail: String,
    /// Hash of the record before; zeros for the first.
    pub previous: Digest,
    /// Hash of this record.
    pub hash: Digest,
}

/// A signed head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    /// Whose chain.
    pub controller: ControllerId,
    /// The record that was last.
    pub seq: u64,
    /// When it was signed.
    pub at: UnixMs,
    /// Its hash.
    pub hash: Digest,
    /// Signature by the dispatch key.
    pub signature: Vec<u8>,
    /// That key's certificate, DER.
    pub certificate: Vec<u8>,
}

/// Position in the list of all chains, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditCursor {
    /// Time of the last record of the page before.
    pub at: UnixMs,
    /// Its chain.
    pub controller: ControllerId,
    /// Its number.
    pub seq: u64,
}

/// Which records to list. Newest first.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of one object only.
    pub object: Option<String>,
    /// By one actor only.
    pub actor: Option<String>,
    /// With this action only.
    pub action: Option<String>,
    /// Only after this position.
    pub after: Option<AuditCursor>,
    /// At most so many.
    pub limit: u32,
}

#[derive(FromRow)]
struct Row {
    controller: String,
    seq: i64,
    at: i64,
    actor: String,
    action: String,
    object: String,
    detail: String,
    previous: Vec<u8>,
    hash: Vec<u8>,
}

fn digest(what: &'static str, bytes: Vec<u8>) -> Result<Digest, StoreError> {
    bytes.try_into().map(Digest).map_err(|_| StoreError::corrupt(what, "not 32 bytes"))
}

fn number(seq: i64) -> Result<u64, StoreError> {
    u64::try_from(seq).map_err(|_| StoreError::corrupt("audit record", "negative number"))
}

fn bound(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

impl TryFrom<Row> for AuditRow {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            controller: parse("controller id", &row.controller)?,
            seq: number(row.seq)?,
            at: UnixMs(row.at),
            actor: row.actor,
            action: row.action,
            object: row.object,
            detail: row.detail,
            previous: digest("audit record", row.previous)?,
            hash: digest("audit record", row.hash)?,
        })
    }
}

/// Number and hash of the newest record of a chain.
///
/// # Errors
/// Only the store's.
pub async fn head(conn: &mut Conn, controller: ControllerId) -> Result<Option<(u64, Digest)>, StoreError> {
    let row: Option<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT seq, hash FROM audit WHERE controller = ? ORDER BY seq DESC LIMIT 1")
            .bind(controller.to_string())
            .fetch_optional(conn)
            .await?;
    row.map(|(seq, hash)| Ok((number(seq)?, digest("audit record", hash)?))).transpose()
}

/// Stores a record.
///
/// # Errors
/// Only the store's.
pub async fn insert(conn: &mut Conn, row: &AuditRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO audit (controller, seq, at, actor, action, object, detail, previous, hash)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(row.controller.to_string())
    .bind(bound(row.seq))
    .bind(row.at.0)
    .bind(&row.actor)
    .bind(&row.action)
    .bind(&row.object)
    .bind(&row.detail)
    .bind(row.previous.0.as_slice())
    .bind(row.hash.0.as_slice())
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores a signed head; one that is there already stays.
///
/// # Errors
/// Only the store's.
pub async fn insert_head(conn: &mut Conn, head: &AuditHead) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT OR IGNORE INTO audit_heads (controller, seq, at, hash, signature, certificate)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(head.controller.to_string())
    .bind(bound(head.seq))
    .bind(head.at.0)
    .bind(head.hash.0.as_slice())
    .bind(&head.signature)
    .bind(&head.certificate)
    .execute(conn)
    .await?;
    Ok(())
}

/// All signed heads, oldest first.
///
/// # Errors
/// Only the store's.
pub async fn heads(conn: &mut Conn) -> Result<Vec<AuditHead>, StoreError> {
    let rows: Vec<(String, i64, i64, Vec<u8>, Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT controller, seq, at, hash, signature, certificate FROM audit_heads ORDER BY controller, seq",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(controller, seq, at, hash, signature, certificate)| {
            Ok(AuditHead {
                controller: parse("controller id", &controller)?,
                seq: number(seq)?,
                at: UnixMs(at),
                hash: digest("audit head", hash)?,
                signature,
                certificate,
            })
        })
        .collect()
}

/// The chains that there are.
///
/// # Errors
/// Only the store's.
pub async fn chains(conn: &mut Conn) -> Result<Vec<ControllerId>, StoreError> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT controller FROM audit UNION SELECT controller FROM audit_heads ORDER BY controller",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|(id,)| parse("controller id", &id)).collect()
}

/// Records of one chain after number `after`, oldest first.
///
/// # Errors
/// Only the store's.
pub async fn after(
    conn: &mut Conn,
    controller: ControllerId,
    after: u64,
    limit: u32,
) -> Result<Vec<AuditRow>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM audit WHERE controller = ? AND seq > ? ORDER BY seq LIMIT ?")
            .bind(controller.to_string())
            .bind(bound(after))
            .bind(limit)
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(AuditRow::try_from).collect()
}

/// A page of records of all chains, newest first.
///
/// # Errors
/// Only the store's.
pub async fn list(db: &Db, filter: &AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
    let (at, controller, seq) = filter.after.map_or((i64::MAX, String::new(), i64::MAX), |cursor| {
        (cursor.at.0, cursor.controller.to_string(), bound(cursor.seq))
    });
    // Only the filters that are given: each has its index.
    let mut query = sqlx::QueryBuilder::<sqlx::Sqlite>::new("SELECT * FROM audit WHERE at <= ");
    query.push_bind(at);
    let filters = [
        (" AND object = ", &filter.object),
        (" AND actor = ", &filter.actor),
        (" AND action = ", &filter.action),
    ];
    for (condition, value) in filters {
        if let Some(value) = value {
            query.push(condition).push_bind(value);
        }
    }
    query.push(" AND (at < ").push_bind(at).push(" OR controller > ").push_bind(&controller);
    query.push(" OR (controller = ").push_bind(&controller).push(" AND seq < ").push_bind(seq).push("))");
    query.push(" ORDER BY at DESC, controller, seq DESC LIMIT ").push_bind(filter.limit);
    let rows: Vec<Row> = query.build_query_as().fetch_all(db.read()).await?;
    rows.into_iter().map(AuditRow::try_from).collect()
}

/// The signed orders of all runs, for the heads that they carry.
///
/// # Errors
/// Only the store's.
pub async fn signed_orders(conn: &mut Conn) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    Ok(sqlx::query_as("SELECT id, signed_order FROM runs WHERE signed_order IS NOT NULL ORDER BY id")
        .fetch_all(conn)
        .await?)
}

/// The CA's certificate, DER.
///
/// # Errors
/// Only the store's.
pub async fn authority(conn: &mut Conn) -> Result<Option<Vec<u8>>, StoreError> {
    let row: Option<(Vec<u8>,)> =
        sqlx::query_as("SELECT certificate FROM authority WHERE id = 1").fetch_optional(conn).await?;
    Ok(row.map(|(certificate,)| certificate))
}
