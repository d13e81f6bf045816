//! Rows of the tail: the frames of one commit, of all hosts together.
//!
//! A row is a version and, per frame: the chain's number, the tick's number, the time of receipt less
//! the row's time, the tick's time less that of its receipt, length, frame. Frames are deltas to the
//! frame of the same host before them, full first in a chain, after ten minutes, and after each start.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::{Sqlite, SqliteConnection, Transaction};
use sysop_common::ids::{Epoch, HostId, SchemaId};
use sysop_common::sample::Schema;
use sysop_common::time::UnixMs;
use sysop_common::wire::limits;

use super::ints::{Cursor, Damaged, put, put_signed};
use super::memory::{ChainInfo, Entry};
use super::types::{Boot, NamedSchema};
use crate::store::StoreError;

const VERSION: u8 = 1;

/// Starts the body of a row.
pub(super) fn begin() -> Vec<u8> {
    vec![VERSION]
}

/// Appends one frame to the body of a row written at `row_at`.
pub(super) fn put_entry(body: &mut Vec<u8>, row_at: UnixMs, entry: &Entry) {
    put(body, entry.chain.id as u64);
    put(body, entry.seq);
    put_signed(body, entry.received_at.since(row_at));
    put_signed(body, entry.at.since(entry.received_at));
    put(body, entry.frame.len() as u64);
    body.extend_from_slice(&entry.frame);
}

/// Reads the frames of a row. Frames of unknown chains are an error: chains are committed before.
pub(super) fn read_row(
    row: i64,
    row_at: UnixMs,
    body: &[u8],
    chains: &HashMap<i64, (HostId, Arc<ChainInfo>)>,
) -> Result<Vec<(HostId, Entry)>, Damaged> {
    let mut cursor = Cursor(body);
    if cursor.byte()? != VERSION {
        return Err(Damaged("row has an unknown version"));
    }
    let mut entries = Vec::new();
    while !cursor.is_empty() {
        let id = cursor.unsigned()? as i64;
        let seq = cursor.unsigned()?;
        let received_at = row_at.plus(cursor.signed()?);
        let at = received_at.plus(cursor.signed()?);
        let len = cursor.len()?;
        let frame = cursor.bytes(len)?.into();
        let (host, chain) = chains.get(&id).ok_or(Damaged("row names an unknown chain"))?;
        entries.push((*host, Entry { row, seq, at, received_at, chain: chain.clone(), frame }));
    }
    Ok(entries)
}

/// Appends a row and returns its number.
pub(super) async fn insert(
    db: &mut SqliteConnection,
    at: UnixMs,
    frames: usize,
    body: &[u8],
) -> Result<i64, StoreError> {
    let done = sqlx::query("INSERT INTO tail (at, frames, body) VALUES (?, ?, ?)")
        .bind(at.0)
        .bind(frames as i64)
        .bind(body)
        .execute(db)
        .await?;
    Ok(done.last_insert_rowid())
}

/// Rows after `after`, in order, at most `limit`: number, time, body.
pub(super) async fn rows(
    db: &mut SqliteConnection,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, i64, Vec<u8>)>, StoreError> {
    Ok(sqlx::query_as("SELECT id, at, body FROM tail WHERE id > ? ORDER BY id LIMIT ?")
        .bind(after)
        .bind(limit)
        .fetch_all(db)
        .await?)
}

/// The number of the last row ever written; 0 when there was none.
pub(super) async fn last_row(db: &mut SqliteConnection) -> Result<i64, StoreError> {
    let last: Option<i64> =
        sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'tail'").fetch_optional(db).await?;
    Ok(last.unwrap_or(0))
}

/// Removes rows up to `row`, and chains that no row names any more.
pub(super) async fn truncate(
    tx: &mut Transaction<'_, Sqlite>,
    row: i64,
    chains: &[i64],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM tail WHERE id <= ?").bind(row).execute(&mut **tx).await?;
    for chain in chains {
        sqlx::query("DELETE FROM chains WHERE id = ?").bind(chain).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Writes new chains: in one statement, since many come at once when a fleet comes back.
pub(super) async fn insert_chains(
    tx: &mut Transaction<'_, Sqlite>,
    chains: &[(HostId, Arc<ChainInfo>)],
) -> Result<(), StoreError> {
    if chains.is_empty() {
        return Ok(());
    }
    let row = |(host, chain): &(HostId, Arc<ChainInfo>)| {
        let (epoch, boot) = (chain.epoch.0 as i64, chain.boot.0 as i64);
        let schema = format!("{:032x}", u128::from_be_bytes(chain.schema.id.0));
        (chain.id, host.0.simple().to_string(), epoch, boot, schema)
    };
    let rows: Vec<_> = chains.iter().map(row).collect();
    let rows = serde_json::to_string(&rows).map_err(|e| StoreError::corrupt("chain", e))?;
    sqlx::query(
        "INSERT INTO chains (id, host, epoch, boot, schema) SELECT value ->> 0, unhex(value ->> 1), \
         value ->> 2, value ->> 3, unhex(value ->> 4) FROM json_each(?)",
    )
    .bind(rows)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// All chains that rows of the tail may name: number, host, epoch, boot, schema.
pub(super) async fn chains(
    db: &mut SqliteConnection,
) -> Result<Vec<(i64, HostId, Epoch, Boot, SchemaId)>, StoreError> {
    let rows: Vec<(i64, Vec<u8>, i64, i64, Vec<u8>)> =
        sqlx::query_as("SELECT id, host, epoch, boot, schema FROM chains").fetch_all(db).await?;
    rows.into_iter()
        .map(|(id, host, epoch, boot, schema)| {
            Ok((id, host_id(&host)?, Epoch(epoch as u64), Boot(boot as u64), schema_id(&schema)?))
        })
        .collect()
}

/// Writes a schema that may be there already.
pub(super) async fn insert_schema(
    tx: &mut Transaction<'_, Sqlite>,
    schema: &NamedSchema,
) -> Result<(), StoreError> {
    let body =
        serde_cbor::ser::to_vec_packed(&schema.schema).map_err(|e| StoreError::corrupt("schema", e))?;
    sqlx::query("INSERT OR IGNORE INTO schemas (id, body) VALUES (?, ?)")
        .bind(&schema.id.0[..])
        .bind(body)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The schema called `id`.
pub(super) async fn schema(
    db: &mut SqliteConnection,
    id: SchemaId,
) -> Result<Option<Arc<NamedSchema>>, StoreError> {
    let body: Option<Vec<u8>> = sqlx::query_scalar("SELECT body FROM schemas WHERE id = ?")
        .bind(&id.0[..])
        .fetch_optional(db)
        .await?;
    let Some(body) = body else { return Ok(None) };
    let schema: Schema = limits::decode(&body).map_err(|e| StoreError::corrupt("schema", e))?;
    Ok(Some(Arc::new(NamedSchema { id, schema })))
}

/// A schema's id from its column.
pub(super) fn schema_id(bytes: &[u8]) -> Result<SchemaId, StoreError> {
    bytes.try_into().map(SchemaId).map_err(|_| StoreError::corrupt("schema id", "it has not 16 bytes"))
}

/// A host's id from its column.
pub(super) fn host_id(bytes: &[u8]) -> Result<HostId, StoreError> {
    bytes
        .try_into()
        .map(|bytes| HostId(uuid::Uuid::from_bytes(bytes)))
        .map_err(|_| StoreError::corrupt("host id", "it has not 16 bytes"))
}
