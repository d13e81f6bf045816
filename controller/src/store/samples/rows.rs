//! Processes and units as they were at a time.

use std::sync::Arc;

use sysop_common::ids::HostId;
use sysop_common::sample::{Process, Unit};
use sysop_common::time::{MINUTE_MS, UnixMs};

use super::part::Part;
use super::types::Stored;
use super::{SampleStore, memory, parts};
use crate::store::StoreError;

/// No tick is taken for a time that is further from it than this.
const NEAR_MS: i64 = 5 * MINUTE_MS;

/// Rows of one tick, with those of the tick before it, from which rates come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsAt<T> {
    /// Time of the tick.
    pub at: UnixMs,
    /// Its rows.
    pub rows: Vec<T>,
    /// The tick before in the same stretch, if there is one.
    pub before: Option<(UnixMs, Vec<T>)>,
}

impl SampleStore {
    /// The top processes of the last tick at or before `at`, if one is near.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn processes_at(
        &self,
        host: HostId,
        at: UnixMs,
    ) -> Result<Option<RowsAt<Process>>, StoreError> {
        self.rows_at(host, at, |processes, _| processes.to_vec()).await
    }

    /// The units of the last tick at or before `at`, if one is near.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn units_at(&self, host: HostId, at: UnixMs) -> Result<Option<RowsAt<Unit>>, StoreError> {
        self.rows_at(host, at, |_, units| units.to_vec()).await
    }

    async fn rows_at<T>(
        &self,
        host: HostId,
        at: UnixMs,
        pick: impl Fn(&[Process], &[Unit]) -> Vec<T>,
    ) -> Result<Option<RowsAt<T>>, StoreError> {
        if let Some(found) = self.rows_in_memory(host, at, &pick) {
            return Ok(Some(found));
        }
        let rows = {
            let mut db = self.inner.db.read().acquire().await?;
            parts::overlapping(&mut db, host, at.plus(-NEAR_MS), at, 1).await?
        };
        let mut best: Option<RowsAt<T>> = None;
        for row in rows {
            let found = rows_in_part(&row.body, at, &pick).map_err(|e| StoreError::corrupt("part", e))?;
            best = match (best, found) {
                (Some(best), Some(found)) if found.at <= best.at => Some(best),
                (best, None) => best,
                (_, found) => found,
            };
        }
        Ok(best.filter(|rows| at.since(rows.at) <= NEAR_MS))
    }

    fn rows_in_memory<T>(
        &self,
        host: HostId,
        at: UnixMs,
        pick: &impl Fn(&[Process], &[Unit]) -> Vec<T>,
    ) -> Option<RowsAt<T>> {
        let memory = self.inner.memory.get(host)?;
        let entries = memory::lock(&memory).since(at.plus(-NEAR_MS));
        let mut newest: (Option<Arc<Stored>>, Option<Arc<Stored>>) = (None, None);
        memory::unfold(&entries, |stored| {
            if stored.at <= at {
                newest = (newest.1.take(), Some(stored));
            }
            true
        });
        let (before, stored) = (newest.0, newest.1?);
        let rows = |stored: &Stored| pick(&stored.tick.processes, &stored.tick.units);
        let before = before.filter(|before| before.epoch == stored.epoch);
        (at.since(stored.at) <= NEAR_MS).then(|| RowsAt {
            at: stored.at,
            rows: rows(&stored),
            before: before.map(|before| (before.at, rows(&before))),
        })
    }
}

fn rows_in_part<T>(
    body: &[u8],
    at: UnixMs,
    pick: &impl Fn(&[Process], &[Unit]) -> Vec<T>,
) -> Result<Option<RowsAt<T>>, super::ints::Damaged> {
    let part = Part::open(body)?;
    let times = part.times()?;
    let Some(last) = times.iter().rposition(|time| *time <= at.0) else { return Ok(None) };
    let (mut rows, mut before) = (Vec::new(), None);
    part.each_rows(|position, processes, units| {
        if position + 1 == last {
            before = Some((UnixMs(times[position]), pick(processes, units)));
        }
        if position == last {
            rows = pick(processes, units);
        }
        position < last
    })?;
    Ok(Some(RowsAt { at: UnixMs(times[last]), rows, before }))
}
