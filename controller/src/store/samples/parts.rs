//! Rows of parts: SQL only.

use sqlx::{Sqlite, SqliteConnection, Transaction};
use sysop_common::ids::{Epoch, HostId, SchemaId};
use sysop_common::time::{HOUR_MS, UnixMs};

use super::tail::{host_id, schema_id};
use super::types::{Boot, Stored};
use crate::store::StoreError;

/// As compacted.
pub(super) const TIER_STRETCH: i64 = 0;
/// Merged by hour.
pub(super) const TIER_HOUR: i64 = 1;

/// What a part is of, and its bytes.
#[derive(Debug, Clone)]
pub(super) struct PartRow {
    pub(super) id: i64,
    pub(super) epoch: Epoch,
    pub(super) boot: Boot,
    pub(super) schema: SchemaId,
    pub(super) body: Vec<u8>,
}

/// A part that is not written yet.
#[derive(Debug)]
pub(super) struct NewPart {
    pub(super) host: HostId,
    pub(super) epoch: Epoch,
    pub(super) boot: Boot,
    pub(super) schema: SchemaId,
    pub(super) tier: i64,
    pub(super) hour: i64,
    pub(super) from: UnixMs,
    pub(super) to: UnixMs,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) ticks: usize,
    pub(super) body: Vec<u8>,
}

impl NewPart {
    /// Describes and encodes `ticks`, which are of one epoch, schema and hour, in order.
    pub(super) fn of(host: HostId, tier: i64, ticks: &[std::sync::Arc<Stored>]) -> Option<Self> {
        let (first, last) = (ticks.first()?, ticks.last()?);
        Some(Self {
            host,
            epoch: first.epoch,
            boot: first.boot,
            schema: first.schema.id,
            tier,
            hour: hour_of(first.at),
            from: ticks.iter().map(|t| t.at).min()?,
            to: ticks.iter().map(|t| t.at).max()?,
            first_seq: first.tick.seq.0,
            last_seq: last.tick.seq.0,
            ticks: ticks.len(),
            body: super::part::encode(ticks),
        })
    }
}

/// The hour that a time belongs to.
pub(super) const fn hour_of(at: UnixMs) -> i64 {
    at.0.div_euclid(HOUR_MS)
}

pub(super) async fn insert(tx: &mut Transaction<'_, Sqlite>, part: &NewPart) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO parts (host, epoch, boot, schema, tier, hour, from_at, to_at, first_seq, last_seq, ticks, \
         bytes, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&part.host.0.as_bytes()[..])
    .bind(part.epoch.0 as i64)
    .bind(part.boot.0 as i64)
    .bind(&part.schema.0[..])
    .bind(part.tier)
    .bind(part.hour)
    .bind(part.from.0)
    .bind(part.to.0)
    .bind(part.first_seq as i64)
    .bind(part.last_seq as i64)
    .bind(part.ticks as i64)
    .bind(part.body.len() as i64)
    .bind(&part.body)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Transaction<'_, Sqlite>, id: i64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM parts WHERE id = ?").bind(id).execute(&mut **tx).await?;
    Ok(())
}

/// Marks a part that is alone in its hour as merged.
pub(super) async fn promote(tx: &mut Transaction<'_, Sqlite>, id: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE parts SET tier = ? WHERE id = ?").bind(TIER_HOUR).bind(id).execute(&mut **tx).await?;
    Ok(())
}

type Row = (i64, i64, i64, Vec<u8>, Vec<u8>);

fn row((id, epoch, boot, schema, body): Row) -> Result<PartRow, StoreError> {
    Ok(PartRow { id, epoch: Epoch(epoch as u64), boot: Boot(boot as u64), schema: schema_id(&schema)?, body })
}

/// Most bytes of parts that one reading takes into memory.
const MOST_BYTES: i64 = 256 << 20;
/// Most values: a week of 40 metrics at a tick per second is 24 million.
const MOST_VALUES: i64 = 32_000_000;

/// The parts of a host that overlap a window, by time, for a reading of so many columns.
///
/// # Errors
/// [`StoreError::TooMuch`] for what does not fit into memory: a host decides how much it sends.
pub(super) async fn overlapping(
    db: &mut SqliteConnection,
    host: HostId,
    from: UnixMs,
    to: UnixMs,
    columns: usize,
) -> Result<Vec<PartRow>, StoreError> {
    let (bytes, ticks): (i64, i64) = sqlx::query_as(
        "SELECT coalesce(sum(bytes), 0), coalesce(sum(ticks), 0) FROM parts \
         WHERE host = ? AND to_at >= ? AND from_at <= ?",
    )
    .bind(&host.0.as_bytes()[..])
    .bind(from.0)
    .bind(to.0)
    .fetch_one(&mut *db)
    .await?;
    // Two more for time and number.
    let values = ticks.saturating_mul(i64::try_from(columns).unwrap_or(i64::MAX).saturating_add(2));
    if bytes > MOST_BYTES || values > MOST_VALUES {
        return Err(StoreError::TooMuch(
            "holds more samples than are read at once; ask for a shorter time or fewer metrics",
        ));
    }
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, epoch, boot, schema, body FROM parts WHERE host = ? AND to_at >= ? AND from_at <= ? \
         ORDER BY from_at, first_seq",
    )
    .bind(&host.0.as_bytes()[..])
    .bind(from.0)
    .bind(to.0)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(row).collect()
}

/// The newest part of a host.
pub(super) async fn newest(db: &mut SqliteConnection, host: HostId) -> Result<Option<PartRow>, StoreError> {
    let found: Option<Row> = sqlx::query_as(
        "SELECT id, epoch, boot, schema, body FROM parts WHERE host = ? ORDER BY to_at DESC LIMIT 1",
    )
    .bind(&host.0.as_bytes()[..])
    .fetch_optional(db)
    .await?;
    found.map(row).transpose()
}

/// Hosts that have parts which end after `since`.
pub(super) async fn hosts_since(db: &mut SqliteConnection, since: UnixMs) -> Result<Vec<HostId>, StoreError> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT DISTINCT host FROM parts WHERE to_at >= ?")
        .bind(since.0)
        .fetch_all(db)
        .await?;
    rows.iter().map(|host| host_id(host)).collect()
}

/// What is to be merged: host, epoch, schema and hour with a part that is not merged, in hours before
/// `hour`.
pub(super) async fn mergeable(
    db: &mut SqliteConnection,
    hour: i64,
    limit: i64,
) -> Result<Vec<(HostId, Epoch, SchemaId, i64)>, StoreError> {
    let rows: Vec<(Vec<u8>, i64, Vec<u8>, i64)> = sqlx::query_as(
        "SELECT DISTINCT host, epoch, schema, hour FROM parts WHERE tier = ? AND hour < ? LIMIT ?",
    )
    .bind(TIER_STRETCH)
    .bind(hour)
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|(host, epoch, schema, hour)| {
            Ok((host_id(&host)?, Epoch(epoch as u64), schema_id(&schema)?, hour))
        })
        .collect()
}

/// The parts of one host, epoch, schema and hour.
pub(super) async fn of_hour(
    db: &mut SqliteConnection,
    host: HostId,
    epoch: Epoch,
    schema: SchemaId,
    hour: i64,
) -> Result<Vec<PartRow>, StoreError> {
    // The times narrow it to an index; they follow from the hour but for a clock that jumped.
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, epoch, boot, schema, body FROM parts WHERE host = ? AND to_at >= ? AND epoch = ? \
         AND schema = ? AND hour = ? ORDER BY first_seq",
    )
    .bind(&host.0.as_bytes()[..])
    .bind(hour.saturating_mul(HOUR_MS))
    .bind(epoch.0 as i64)
    .bind(&schema.0[..])
    .bind(hour)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(row).collect()
}
