//! Deletes what is older than it shall be kept.

use sysop_common::time::{DAY_MS, UnixMs};

use crate::store::{Db, StoreError, host_events, incidents, outputs, settings};

/// Rows per transaction, so that nobody waits long for the writer.
const PAGE: u32 = 200;
/// Days for which outputs are kept by default.
const OUTPUTS_DAYS: i64 = 90;
/// Days for which runs, incidents and what the link saw are kept by default.
const RECORDS_DAYS: i64 = 365;

/// Deletes outputs, then runs, then incidents. Audit records stay for ever.
pub(super) async fn retain(db: &Db, now: UnixMs) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let outputs = settings::days(&mut tx, settings::KEEP_OUTPUTS_DAYS, OUTPUTS_DAYS).await?;
    let records = settings::days(&mut tx, settings::KEEP_RECORDS_DAYS, RECORDS_DAYS).await?;
    host_events::forget(&mut tx, now.plus(-records * DAY_MS)).await?;
    tx.commit().await?;
    loop {
        let mut tx = db.begin().await?;
        let before = now.plus(-records * DAY_MS);
        let gone = outputs::forget_outputs(&mut tx, now.plus(-outputs * DAY_MS), PAGE).await?
            + outputs::forget_runs(&mut tx, before, PAGE).await?
            + incidents::forget(&mut tx, before, PAGE).await?;
        tx.commit().await?;
        if gone == 0 {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}
