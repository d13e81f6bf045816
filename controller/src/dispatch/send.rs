//! Hands orders and cancellations to the link.

use std::time::Duration;

use serde_json::json;
use sysop_common::action::RunState;
use sysop_common::order::SignedOrder;
use sysop_common::time::{SECOND_MS, UnixMs};
use sysop_common::wire::limits;
use tokio::task::JoinSet;

use super::claim::{ClaimError, claim};
use super::{Ctx, Handed, Memory};
use crate::decide::APPROVED_LIFE_MS;
use crate::store::runs::{self, Run};
use crate::store::{Conn, StoreError, run_states};

/// An order without word, or a cancellation without effect, is sent again after this long.
const AGAIN_MS: i64 = 10 * SECOND_MS;

/// What the link does not take within this time may or may not be on its way: it is sent again later.
const TAKE: Duration = Duration::from_secs(5);
/// The same for a cancellation.
const TAKE_CANCEL: Duration = Duration::from_millis(500);

/// An order on its way to the link.
struct Parcel {
    run: Run,
    signed: SignedOrder,
    /// Claimed in this look: if it cannot be handed over, the host never had it.
    fresh: bool,
}

/// Claims and sends what is approved, for hosts that can be reached.
pub(super) async fn new(ctx: &Ctx, memory: &mut Memory) -> Result<(), StoreError> {
    let reached = runs::hosts_in_state(&mut *ctx.db.reader().await?, RunState::Approved).await?;
    let mut approved = Vec::new();
    // By host: what waits for one that is away holds up nobody else's.
    for host in reached.into_iter().filter(|host| ctx.route.reaches(*host)) {
        approved.extend(runs::in_state_of(&mut *ctx.db.reader().await?, RunState::Approved, host).await?);
    }
    let mut parcels = Vec::new();
    for run in &approved {
        match claim(ctx, run.id).await {
            Ok((run, signed)) => parcels.push(Parcel { run, signed, fresh: true }),
            Err(ClaimError::NotNow | ClaimError::Store(StoreError::Conflict(_))) => {}
            Err(ClaimError::Store(StoreError::NotFound(_))) => {
                tracing::warn!(run = %run.id, host = %run.host, "the host was removed; its run expires");
            }
            // What was claimed before is sent all the same.
            Err(error) => tracing::error!(run = %run.id, %error, "order not sent"),
        }
    }
    hand_over(ctx, memory, parcels).await
}

/// Sends again what was claimed before a crash, and what was sent without any word since.
pub(super) async fn again(ctx: &Ctx, memory: &mut Memory) -> Result<(), StoreError> {
    let now = ctx.clock.now();
    memory.handed.retain(|_, at| now.since(*at) < APPROVED_LIFE_MS);
    let mut parcels = Vec::new();
    for state in [RunState::Claimed, RunState::Sent] {
        let runs = runs::in_state(&mut *ctx.db.reader().await?, state).await?;
        for run in runs {
            let ours = run.claimed_by == Some(ctx.audit.controller());
            let recent =
                memory.handed.get(&(run.id, Handed::Order)).is_some_and(|at| now.since(*at) < AGAIN_MS);
            let alive = run.expires_at.is_some_and(|expires| now <= expires);
            if !ours || recent || !alive || !ctx.route.reaches(run.host) {
                continue;
            }
            match run.signed_order.as_deref().map(limits::decode::<SignedOrder>) {
                Some(Ok(signed)) => parcels.push(Parcel { run, signed, fresh: false }),
                _ => tracing::error!(run = %run.id, "the stored order cannot be read; it is not sent again"),
            }
        }
    }
    hand_over(ctx, memory, parcels).await
}

/// Hands all over side by side: a session that does not move delays nobody else's order.
async fn hand_over(ctx: &Ctx, memory: &mut Memory, parcels: Vec<Parcel>) -> Result<(), StoreError> {
    let mut under_way = JoinSet::new();
    for parcel in parcels {
        memory.handed.insert((parcel.run.id, Handed::Order), ctx.clock.now());
        let ctx = ctx.clone();
        under_way.spawn(async move { hand_one(&ctx, parcel).await });
    }
    let mut result = Ok(());
    while let Some(done) = under_way.join_next().await {
        match done {
            // The host's word was faster than ours.
            Ok(Ok(()) | Err(StoreError::Conflict(_))) => {}
            Ok(Err(error)) => result = Err(error),
            Err(error) => tracing::error!(%error, "an order's task ended early"),
        }
    }
    result
}

async fn hand_one(ctx: &Ctx, parcel: Parcel) -> Result<(), StoreError> {
    let Parcel { run, signed, fresh } = parcel;
    let taken = tokio::time::timeout(TAKE, ctx.route.send(run.host, signed)).await;
    let now = ctx.clock.now();
    match (run.state, taken) {
        (RunState::Claimed, Ok(Ok(()))) => mark_sent(ctx, &run, now).await,
        (RunState::Claimed, Ok(Err(_))) if fresh => release(ctx, &run, now).await,
        _ => Ok(()),
    }
}

/// The claimed run as it is now: a person may have asked to cancel it since its order was made.
async fn still_claimed(tx: &mut Conn, run: &Run) -> Result<Run, StoreError> {
    let now = runs::get(tx, run.id).await?.filter(|now| now.state == RunState::Claimed);
    now.ok_or(StoreError::Conflict("the run moved on while its order was on its way"))
}

async fn mark_sent(ctx: &Ctx, run: &Run, now: UnixMs) -> Result<(), StoreError> {
    let mut tx = ctx.db.begin().await?;
    let mut next = still_claimed(&mut tx, run).await?;
    next.state = RunState::Sent;
    next.sent_at = Some(now);
    next.updated_at = now;
    run_states::move_on(&mut tx, &next, RunState::Claimed).await?;
    run_states::record(&mut tx, run.id, "sent", &json!({}), now).await?;
    tx.commit().await?;
    ctx.wakes.runs.wake();
    Ok(())
}

/// The host never had it: it waits for a session again, unless somebody cancelled it meanwhile.
async fn release(ctx: &Ctx, run: &Run, now: UnixMs) -> Result<(), StoreError> {
    let mut tx = ctx.db.begin().await?;
    let mut next = still_claimed(&mut tx, run).await?;
    next.updated_at = now;
    let (word, why) = if next.cancel_at.is_some() {
        next.state = RunState::Cancelled;
        next.finished_at = Some(now);
        next.detail = "cancelled before the host had it".to_owned();
        ("cancelled", "it was cancelled before the host had it")
    } else {
        next.state = RunState::Approved;
        next.claimed_by = None;
        next.claimed_at = None;
        next.lease = None;
        next.signed_order = None;
        next.expires_at = Some(next.decided_at.unwrap_or(now).plus(APPROVED_LIFE_MS));
        ("released", "the host is not connected")
    };
    run_states::move_on(&mut tx, &next, RunState::Claimed).await?;
    run_states::record(&mut tx, run.id, word, &json!({ "why": why }), now).await?;
    tx.commit().await?;
    ctx.wakes.runs.wake();
    Ok(())
}

/// Asks hosts to withdraw what people cancelled and what has not started.
pub(super) async fn cancels(ctx: &Ctx, memory: &mut Memory) -> Result<(), StoreError> {
    let now = ctx.clock.now();
    for state in [RunState::Claimed, RunState::Sent, RunState::Accepted] {
        let runs = runs::in_state(&mut *ctx.db.reader().await?, state).await?;
        for run in runs.iter().filter(|run| run.cancel_at.is_some()) {
            let key = (run.id, Handed::Cancel);
            let recent = memory.handed.get(&key).is_some_and(|at| now.since(*at) < AGAIN_MS);
            if recent {
                continue;
            }
            memory.handed.insert(key, now);
            // Nobody connected, or a session that does not move: another try follows.
            let _ = tokio::time::timeout(TAKE_CANCEL, ctx.route.cancel(run.host, run.id)).await;
        }
    }
    Ok(())
}
