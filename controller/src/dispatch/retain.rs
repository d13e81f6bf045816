//! Deletes what is older than it shall be kept.

use sysop_common::time::{DAY_MS, UnixMs};

use super::{Ctx, Keep};
use crate::store::{StoreError, certificates, host_events, incidents, outputs};

/// Rows per transaction, so that nobody waits long for the writer.
const PAGE: u32 = 200;
/// Days for which a host's certificate is remembered after its end.
const CERTIFICATES_DAYS: i64 = 30;

/// Deletes outputs, then runs, then incidents, and certificates that ended. Audit records stay for ever. Nothing is deleted, and
/// false returned, while the clock is in doubt: a wrong one must not empty the store.
pub(super) async fn retain(ctx: &Ctx, now: UnixMs) -> Result<bool, StoreError> {
    if ctx.samples.clock_doubted(now).await?.is_some() {
        return Ok(false);
    }
    let Keep { outputs_ms, records_ms } = ctx.keep;
    let mut tx = ctx.db.begin().await?;
    host_events::forget(&mut tx, now.plus(-records_ms)).await?;
    tx.commit().await?;
    loop {
        let mut tx = ctx.db.begin().await?;
        let before = now.plus(-records_ms);
        let gone = outputs::forget_outputs(&mut tx, now.plus(-outputs_ms), PAGE).await?
            + outputs::forget_runs(&mut tx, before, PAGE).await?
            + incidents::forget(&mut tx, before, PAGE).await?
            + certificates::forget(&mut tx, now.plus(-CERTIFICATES_DAYS * DAY_MS), PAGE).await?;
        tx.commit().await?;
        if gone == 0 {
            return Ok(true);
        }
        tokio::task::yield_now().await;
    }
}
