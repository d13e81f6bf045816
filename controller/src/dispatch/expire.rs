//! What is overdue: approved and never sent, or sent and without word.

use serde_json::json;
use sysop_common::action::RunState;
use sysop_common::time::{MINUTE_MS, SECOND_MS, UnixMs};

use super::Ctx;
use crate::audit::Record;
use crate::store::runs::{self, Run};
use crate::store::{StoreError, run_states};

/// After an order expired, the word of what came of it may be on its way for this long, in ms; it
/// also covers the difference of the clocks.
pub(super) const GRACE_MS: i64 = 2 * MINUTE_MS;
/// The host watches the effect for this long after its first check, in ms.
const WATCH_MS: i64 = 60 * SECOND_MS;

/// The end of a run that is overdue, and why; `None` while it is not.
fn overdue(run: &Run, now: UnixMs) -> Option<(RunState, String)> {
    let entry = run.action.entry();
    let after = |start: UnixMs, ms: i64| now > start.plus(ms);
    let expires = run.expires_at.unwrap_or(run.updated_at);
    match run.state {
        RunState::Approved => after(expires, 0)
            .then(|| (RunState::Expired, "the host was not connected in time; nothing was sent".to_owned())),
        RunState::Claimed | RunState::Sent => after(expires, GRACE_MS).then(|| {
            let why = "no word came from the host: it may have run; look at the host before doing it again";
            (RunState::Unknown, why.to_owned())
        }),
        RunState::Accepted => after(expires.max(run.updated_at), GRACE_MS)
            .then(|| (RunState::Unknown, "the host took it, and no word of its start came".to_owned())),
        RunState::Started => after(run.updated_at, i64::from(entry.timeout_s) * SECOND_MS + GRACE_MS)
            .then(|| (RunState::Unknown, "it was started, and no word of its end came in time".to_owned())),
        RunState::Succeeded => {
            let until = i64::from(entry.verify_after_s) * SECOND_MS + WATCH_MS + GRACE_MS;
            after(run.finished_at.unwrap_or(run.updated_at), until).then(|| {
                (RunState::NotVerified, "the host did not say whether its effect was seen".to_owned())
            })
        }
        _ => None,
    }
}

/// Ends what is overdue.
pub(super) async fn expire(ctx: &Ctx) -> Result<(), StoreError> {
    let now = ctx.clock.now();
    for state in [
        RunState::Approved,
        RunState::Claimed,
        RunState::Sent,
        RunState::Accepted,
        RunState::Started,
        RunState::Succeeded,
    ] {
        let runs = runs::in_state(&mut *ctx.db.reader().await?, state).await?;
        for run in runs {
            let Some((end, why)) = overdue(&run, now) else { continue };
            match finish(ctx, &run, end, &why, now).await {
                // The host's word was faster.
                Err(StoreError::Conflict(_)) => {}
                done => done?,
            }
        }
    }
    Ok(())
}

async fn finish(ctx: &Ctx, run: &Run, end: RunState, why: &str, now: UnixMs) -> Result<(), StoreError> {
    let mut next = run.clone();
    next.state = end;
    next.finished_at = run.finished_at.or(Some(now));
    next.updated_at = now;
    next.detail = why.to_owned();
    let mut tx = ctx.db.begin().await?;
    run_states::move_on(&mut tx, &next, run.state).await?;
    let detail = json!({ "was": run.state.word(), "why": why });
    run_states::record(&mut tx, run.id, end.word(), &detail, now).await?;
    let action = match end {
        RunState::Expired => "run.expire",
        RunState::Unknown => "run.unknown",
        _ => "run.not_verified",
    };
    ctx.audit.append(&mut tx, &Record::system(action, format!("run:{}", run.id), detail)).await?;
    tx.commit().await?;
    ctx.wakes.runs.wake();
    ctx.wakes.decide.wake();
    Ok(())
}
