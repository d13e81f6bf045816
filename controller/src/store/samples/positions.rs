//! How far each epoch of a host is stored, and which samples will never come.

use sqlx::{Sqlite, SqliteConnection, Transaction};
use sysop_common::ids::{Epoch, HostId, Seq};
use sysop_common::time::UnixMs;
use sysop_common::wire::GapReason;

use super::types::{Boot, GapRow, HostGap};
use crate::store::StoreError;

fn key(host: &HostId) -> &[u8] {
    &host.0.as_bytes()[..]
}

/// Notes that frames of an epoch are in parts up to `seq`.
pub(super) async fn raise(
    tx: &mut Transaction<'_, Sqlite>,
    host: HostId,
    epoch: Epoch,
    boot: Boot,
    seq: u64,
    at: UnixMs,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO positions (host, epoch, boot, seq, at) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT (host, epoch) DO UPDATE SET seq = max(seq, excluded.seq), at = max(at, excluded.at)",
    )
    .bind(key(&host))
    .bind(epoch.0 as i64)
    .bind(boot.0 as i64)
    .bind(seq as i64)
    .bind(at.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// An epoch of a host as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// The last number that is stored or covered by a stored gap.
    pub seq: Seq,
    /// Time of the last stored tick; 0 where only gaps are stored.
    pub at: UnixMs,
    /// The boot in which it was.
    pub boot: Boot,
}

/// What parts and gaps hold of a host's epochs, newest last.
pub(super) async fn of_host(db: &mut SqliteConnection, host: HostId) -> Result<Vec<StoredEpoch>, StoreError> {
    let parts: Vec<(i64, i64, i64, i64)> =
        sqlx::query_as("SELECT epoch, boot, seq, at FROM positions WHERE host = ? ORDER BY at")
            .bind(key(&host))
            .fetch_all(&mut *db)
            .await?;
    let gaps: Vec<(i64, i64)> =
        sqlx::query_as("SELECT epoch, MAX(last_seq) FROM gaps WHERE host = ? GROUP BY epoch")
            .bind(key(&host))
            .fetch_all(db)
            .await?;
    let mut epochs: Vec<StoredEpoch> = parts
        .into_iter()
        .map(|(epoch, boot, seq, at)| StoredEpoch {
            epoch: Epoch(epoch as u64),
            seq: Seq(seq as u64),
            at: UnixMs(at),
            boot: Boot(boot as u64),
        })
        .collect();
    for (epoch, seq) in gaps {
        let (epoch, seq) = (Epoch(epoch as u64), Seq(seq as u64));
        match epochs.iter_mut().find(|stored| stored.epoch == epoch) {
            Some(stored) => stored.seq = stored.seq.max(seq),
            None => epochs.insert(0, StoredEpoch { epoch, seq, at: UnixMs(0), boot: Boot::unknown(epoch) }),
        }
    }
    Ok(epochs)
}

/// Every epoch's number up to which its frames are in parts.
pub(super) async fn all(db: &mut SqliteConnection) -> Result<Vec<(Vec<u8>, i64, i64)>, StoreError> {
    Ok(sqlx::query_as("SELECT host, epoch, seq FROM positions").fetch_all(db).await?)
}

/// The word for a reason, as it is stored and shown.
#[must_use]
pub const fn reason_word(reason: GapReason) -> &'static str {
    match reason {
        GapReason::SpoolFull => "spool_full",
        GapReason::SpoolAge => "spool_age",
        GapReason::SpoolCorrupt => "spool_corrupt",
        GapReason::SpoolWrite => "spool_write",
        GapReason::AgentDown => "agent_down",
        GapReason::StateLost => "state_lost",
        GapReason::Stalled => "stalled",
        GapReason::Refused => "refused",
    }
}

fn reason_from(word: &str) -> Result<GapReason, StoreError> {
    Ok(match word {
        "spool_full" => GapReason::SpoolFull,
        "spool_age" => GapReason::SpoolAge,
        "spool_corrupt" => GapReason::SpoolCorrupt,
        "spool_write" => GapReason::SpoolWrite,
        "agent_down" => GapReason::AgentDown,
        "state_lost" => GapReason::StateLost,
        "stalled" => GapReason::Stalled,
        "refused" => GapReason::Refused,
        other => return Err(StoreError::corrupt("reason of a gap", other)),
    })
}

/// Records a gap; one that is recorded already stays as it is.
pub(super) async fn insert_gap(
    tx: &mut Transaction<'_, Sqlite>,
    gap: &HostGap,
    now: UnixMs,
) -> Result<(), StoreError> {
    let (first, last) = gap.seqs.unwrap_or_default();
    sqlx::query(
        "INSERT OR IGNORE INTO gaps (host, epoch, first_seq, last_seq, from_at, to_at, reason, recorded_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(key(&gap.host))
    .bind(gap.epoch.0 as i64)
    .bind(first.0 as i64)
    .bind(last.0 as i64)
    .bind(gap.from.0)
    .bind(gap.to.0)
    .bind(reason_word(gap.reason))
    .bind(now.0)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The gaps of a host that overlap a window, by time; the first 2,000 of them.
pub(super) async fn gaps(
    db: &mut SqliteConnection,
    host: HostId,
    from: UnixMs,
    to: UnixMs,
) -> Result<Vec<GapRow>, StoreError> {
    let rows: Vec<(i64, i64, String)> = sqlx::query_as(
        "SELECT from_at, to_at, reason FROM gaps WHERE host = ? AND to_at >= ? AND from_at <= ? ORDER BY from_at LIMIT 2000",
    )
    .bind(key(&host))
    .bind(from.0)
    .bind(to.0)
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|(from, to, reason)| Ok(GapRow { from, to, reason: reason_from(&reason)? }))
        .collect()
}

/// The gaps of a host with their numbers, in the order of epoch and number.
pub(super) async fn numbered_gaps(
    db: &mut SqliteConnection,
    host: HostId,
) -> Result<Vec<HostGap>, StoreError> {
    let rows: Vec<(i64, i64, i64, i64, i64, String)> = sqlx::query_as(
        "SELECT epoch, first_seq, last_seq, from_at, to_at, reason FROM gaps WHERE host = ? ORDER BY epoch, first_seq",
    )
    .bind(key(&host))
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|(epoch, first, last, from, to, reason)| {
            Ok(HostGap {
                host,
                epoch: Epoch(epoch as u64),
                seqs: (first > 0).then_some((Seq(first as u64), Seq(last as u64))),
                from: UnixMs(from),
                to: UnixMs(to),
                reason: reason_from(&reason)?,
            })
        })
        .collect()
}
