//! How probes stand, and what came of them: the last result, five-minute counts, the last few one by one.

use std::collections::HashMap;

use sqlx::FromRow;
use sysop_common::ids::HostId;
use sysop_common::probe::{Outcome, ProbeId, ProbeState, Reason};
use sysop_common::time::{DAY_MS, MINUTE_MS, UnixMs};

use super::{parse, probe_id};
use crate::store::{Conn, Db, StoreError};

/// Length of a count, in ms.
pub const BUCKET_MS: i64 = 5 * MINUTE_MS;
/// Counts are kept so long.
const KEEP_MS: i64 = 30 * DAY_MS;
/// Single results that are kept of each probe and runner.
const KEEP_RESULTS: i64 = 50;

/// How a probe stands, by one runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub probe: ProbeId,
    /// Who runs it; `None` is this controller.
    pub runner: Option<HostId>,
    /// Time of the last result.
    pub at: UnixMs,
    /// The last result.
    pub outcome: Outcome,
    /// Since when its state is what it is.
    pub since: UnixMs,
    /// Failures in a row.
    pub fails: u32,
    /// Answers in a row.
    pub passes: u32,
    /// Since when it is told of.
    pub failing_since: Option<UnixMs>,
    /// The reason that it is told of with, and what that counts.
    pub told: Option<(Reason, i64)>,
    /// The time that the last try was due at; of a host its count of tries.
    pub slot: i64,
    /// Of a host, the agent's start that the count is of.
    pub epoch: i64,
}

/// Results of five minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Bucket {
    /// When it begins.
    pub at: i64,
    /// Answers.
    pub up: i64,
    /// Failures.
    pub down: i64,
    /// Results that say nothing of the target.
    pub other: i64,
    /// Results with a time.
    pub timed: i64,
    /// Their times together, in µs.
    pub micros_sum: i64,
}

#[derive(FromRow)]
struct Row {
    probe: i64,
    runner: String,
    at: i64,
    reason: i64,
    number: i64,
    micros: Option<i64>,
    days: Option<i64>,
    since: i64,
    fails: i64,
    passes: i64,
    failing_since: Option<i64>,
    told_reason: Option<i64>,
    told_number: Option<i64>,
    slot: i64,
    epoch: i64,
}

fn outcome(reason: i64, number: i64, micros: Option<i64>, days: Option<i64>) -> Result<Outcome, StoreError> {
    let reason =
        Reason::from_number(reason).ok_or_else(|| StoreError::corrupt("reason of a probe", reason))?;
    Ok(Outcome { reason, number, micros: micros.and_then(|micros| u64::try_from(micros).ok()), days })
}

impl TryFrom<Row> for Standing {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let few = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Self {
            probe: probe_id(row.probe)?,
            runner: runner(&row.runner)?,
            at: UnixMs(row.at),
            outcome: outcome(row.reason, row.number, row.micros, row.days)?,
            since: UnixMs(row.since),
            fails: few(row.fails),
            passes: few(row.passes),
            failing_since: row.failing_since.map(UnixMs),
            told: row
                .told_reason
                .and_then(Reason::from_number)
                .map(|reason| (reason, row.told_number.unwrap_or(0))),
            slot: row.slot,
            epoch: row.epoch,
        })
    }
}

fn runner(text: &str) -> Result<Option<HostId>, StoreError> {
    if text.is_empty() { Ok(None) } else { parse("host id", text).map(Some) }
}

fn key(runner: Option<HostId>) -> String {
    runner.map_or_else(String::new, |host| host.to_string())
}

/// How all probes stand, by probe and runner.
///
/// # Errors
/// Only the store's.
pub async fn all(db: &Db) -> Result<Vec<Standing>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM probe_states ORDER BY probe, runner").fetch_all(db.read()).await?;
    rows.into_iter().map(Standing::try_from).collect()
}

/// Stores how a probe stands after a result, and the result; false when the probe is gone.
///
/// # Errors
/// Only the store's.
pub async fn record(conn: &mut Conn, now: &Standing) -> Result<bool, StoreError> {
    let (probe, runner) = (i64::from(now.probe.0), key(now.runner));
    let known: Option<i64> = sqlx::query_scalar("SELECT id FROM probes WHERE id = ?")
        .bind(probe)
        .fetch_optional(&mut *conn)
        .await?;
    if known.is_none() {
        return Ok(false);
    }
    let Outcome { reason, number, micros, days } = now.outcome;
    let micros = micros.map(|micros| i64::try_from(micros).unwrap_or(i64::MAX));
    sqlx::query(
        "INSERT INTO probe_states (probe, runner, at, reason, number, micros, days, since, fails, passes,
             failing_since, told_reason, told_number, slot, epoch)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (probe, runner) DO UPDATE SET at = excluded.at, reason = excluded.reason,
             number = excluded.number, micros = excluded.micros, days = excluded.days,
             since = excluded.since, fails = excluded.fails, passes = excluded.passes,
             failing_since = excluded.failing_since, told_reason = excluded.told_reason,
             told_number = excluded.told_number, slot = excluded.slot, epoch = excluded.epoch",
    )
    .bind(probe)
    .bind(&runner)
    .bind(now.at.0)
    .bind(i64::from(reason.number()))
    .bind(number)
    .bind(micros)
    .bind(days)
    .bind(now.since.0)
    .bind(i64::from(now.fails))
    .bind(i64::from(now.passes))
    .bind(now.failing_since.map(|at| at.0))
    .bind(now.told.map(|(reason, _)| i64::from(reason.number())))
    .bind(now.told.map(|(_, number)| number))
    .bind(now.slot)
    .bind(now.epoch)
    .execute(&mut *conn)
    .await?;
    let state = now.outcome.state();
    let counted = |these: &[ProbeState]| i64::from(these.contains(&state));
    sqlx::query(
        "INSERT INTO probe_buckets (probe, runner, at, up, down, other, timed, micros_sum)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (probe, runner, at) DO UPDATE SET up = up + excluded.up, down = down + excluded.down,
             other = other + excluded.other, timed = timed + excluded.timed,
             micros_sum = micros_sum + excluded.micros_sum",
    )
    .bind(probe)
    .bind(&runner)
    .bind(now.at.0 - now.at.0.rem_euclid(BUCKET_MS))
    .bind(counted(&[ProbeState::Up, ProbeState::Warning]))
    .bind(counted(&[ProbeState::Down]))
    .bind(counted(&[ProbeState::Unknown, ProbeState::Refused]))
    .bind(i64::from(micros.is_some()))
    .bind(micros.unwrap_or(0))
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO probe_results (probe, runner, at, reason, number, micros, days) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(probe)
    .bind(&runner)
    .bind(now.at.0)
    .bind(i64::from(reason.number()))
    .bind(number)
    .bind(micros)
    .bind(days)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "DELETE FROM probe_results WHERE probe = ?1 AND runner = ?2 AND id <= (
             SELECT id FROM probe_results WHERE probe = ?1 AND runner = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
    )
    .bind(probe)
    .bind(&runner)
    .bind(KEEP_RESULTS)
    .execute(conn)
    .await?;
    Ok(true)
}

/// Counts of a probe by one runner since a time, oldest first.
///
/// # Errors
/// Only the store's.
pub async fn buckets(
    db: &Db,
    probe: ProbeId,
    runner: Option<HostId>,
    since: UnixMs,
) -> Result<Vec<Bucket>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT at, up, down, other, timed, micros_sum FROM probe_buckets
         WHERE probe = ? AND runner = ? AND at >= ? ORDER BY at LIMIT 10000",
    )
    .bind(i64::from(probe.0))
    .bind(key(runner))
    .bind(since.0)
    .fetch_all(db.read())
    .await?)
}

/// Counts of all probes since a time by quarters of an hour, oldest first.
///
/// # Errors
/// Only the store's.
pub async fn quarters(
    db: &Db,
    since: UnixMs,
) -> Result<HashMap<(ProbeId, Option<HostId>), Vec<Bucket>>, StoreError> {
    let rows: Vec<(i64, String, i64, i64, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT probe, runner, min(at), sum(up), sum(down), sum(other), sum(timed), sum(micros_sum)
         FROM probe_buckets WHERE at >= ? GROUP BY probe, runner, at / 900000 ORDER BY 1, 2, 3",
    )
    .bind(since.0)
    .fetch_all(db.read())
    .await?;
    let mut quarters: HashMap<_, Vec<Bucket>> = HashMap::new();
    for (probe, by, at, up, down, other, timed, micros_sum) in rows {
        let key = (probe_id(probe)?, runner(&by)?);
        quarters.entry(key).or_default().push(Bucket { at, up, down, other, timed, micros_sum });
    }
    Ok(quarters)
}

/// The last results of a probe by one runner, newest first.
///
/// # Errors
/// Only the store's.
pub async fn results(
    db: &Db,
    probe: ProbeId,
    runner: Option<HostId>,
    limit: u32,
) -> Result<Vec<(UnixMs, Outcome)>, StoreError> {
    let rows: Vec<(i64, i64, i64, Option<i64>, Option<i64>)> = sqlx::query_as(
        "SELECT at, reason, number, micros, days FROM probe_results
         WHERE probe = ? AND runner = ? ORDER BY id DESC LIMIT ?",
    )
    .bind(i64::from(probe.0))
    .bind(key(runner))
    .bind(limit)
    .fetch_all(db.read())
    .await?;
    rows.into_iter()
        .map(|(at, reason, number, micros, days)| Ok((UnixMs(at), outcome(reason, number, micros, days)?)))
        .collect()
}

/// Deletes counts that are too old, and how a probe stood by runners that run it no more.
///
/// # Errors
/// Only the store's.
pub async fn sweep(conn: &mut Conn, now: UnixMs) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM probe_buckets WHERE at < ?").bind(now.plus(-KEEP_MS).0).execute(conn).await?;
    Ok(())
}

/// Forgets how a probe stood and stands by a runner that runs it no more.
///
/// # Errors
/// Only the store's.
pub async fn forget(conn: &mut Conn, probe: ProbeId, runner: Option<HostId>) -> Result<(), StoreError> {
    for table in [
        "DELETE FROM probe_states WHERE probe = ? AND runner = ?",
        "DELETE FROM probe_results WHERE probe = ? AND runner = ?",
        "DELETE FROM probe_buckets WHERE probe = ? AND runner = ?",
    ] {
        sqlx::query(table).bind(i64::from(probe.0)).bind(key(runner)).execute(&mut *conn).await?;
    }
    Ok(())
}
