//! Claims an approved run: one transaction from compare-and-set to signed order.

use serde_json::json;
use sysop_common::action::{Risk, RunState};
use sysop_common::ids::OrderId;
use sysop_common::order::{MAX_LIFE_MS, ORDER_VERSION, Order, Origin, SignError, SignedOrder};
use sysop_common::time::{MINUTE_MS, UnixMs};

use super::Ctx;
use crate::audit::Record;
use crate::decide::budget::{HOST_WINDOW_MS, Spent};
use crate::store::runs::{self, Run};
use crate::store::{Conn, StoreError, host_facts, maintenance, run_states, settings};

/// Life of an order from the claim on, in ms.
pub const ORDER_LIFE_MS: i64 = 5 * MINUTE_MS;
/// An order is valid from this long before the claim: a host's clock may be behind.
const CLOCK_SLACK_MS: i64 = 2 * MINUTE_MS;
const _: () = assert!(ORDER_LIFE_MS + CLOCK_SLACK_MS <= MAX_LIFE_MS);

/// A run was not claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It is not approved any more, or was held back; its row says why.
    #[error("the run is not to be sent")]
    NotNow,
    /// The order could not be made.
    #[error("the order could not be signed: {0}")]
    Sign(#[from] SignError),
    /// The store failed; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Claims run `id` for this controller and signs its order. Nothing is changed unless all of it is:
/// state, lease, audit record, order.
///
/// # Errors
/// See [`ClaimError`].
pub(super) async fn claim(ctx: &Ctx, id: OrderId) -> Result<(Run, SignedOrder), ClaimError> {
    let now = ctx.clock.now();
    let mut tx = ctx.db.begin().await?;
    let run = runs::get(&mut tx, id).await?.filter(|run| run.state == RunState::Approved);
    let run = run.ok_or(ClaimError::NotNow)?;
    if let Some(why) = held(&mut tx, &run, now).await? {
        hold(ctx, &mut tx, &run, &why, now).await?;
        tx.commit().await?;
        ctx.wakes.runs.wake();
        return Err(ClaimError::NotNow);
    }
    let controller = ctx.audit.controller();
    let lease = host_facts::hold_lease(&mut tx, run.host, controller).await?;
    let mut next = run.clone();
    next.state = RunState::Claimed;
    next.claimed_by = Some(controller);
    next.claimed_at = Some(now);
    next.lease = Some(lease);
    next.expires_at = Some(now.plus(ORDER_LIFE_MS));
    next.updated_at = now;
    let detail = json!({ "host": run.host, "action": run.action, "risk": run.risk, "origin": run.origin,
        "lease": lease, "expires": next.expires_at, "decided_by": run.decided_by });
    run_states::record(&mut tx, id, "claimed", &json!({ "lease": lease, "controller": controller }), now)
        .await?;
    let record = Record::system("run.claim", format!("run:{id}"), detail);
    let audit_head = ctx.audit.append(&mut tx, &record).await?;
    let signed = ctx.key.sign(&Order {
        version: ORDER_VERSION,
        id,
        host: run.host,
        action: run.action.clone(),
        entry: run.action.entry().digest(),
        not_before: now.plus(-CLOCK_SLACK_MS),
        expires: now.plus(ORDER_LIFE_MS),
        lease,
        audit_head,
        origin: run.origin,
        risk: run.risk,
        reason: one_line(&run.reason),
    })?;
    next.signed_order = Some(encode(&signed)?);
    run_states::move_on(&mut tx, &next, RunState::Approved).await?;
    tx.commit().await?;
    Ok((next, signed))
}

pub(super) fn encode(signed: &SignedOrder) -> Result<Vec<u8>, SignError> {
    Ok(serde_cbor::ser::to_vec_packed(signed)?)
}

/// Why the run must not be sent after all, as things stand inside the transaction.
async fn held(conn: &mut Conn, run: &Run, now: UnixMs) -> Result<Option<String>, StoreError> {
    if run.risk >= Risk::High {
        return Ok(Some("its risk is high, which needs an approver's signature".into()));
    }
    if run.origin != Origin::Automatic {
        return Ok(None);
    }
    if !settings::automation(&mut *conn).await? {
        return Ok(Some("automation was turned off".into()));
    }
    if let Some(window) = maintenance::active(&mut *conn, run.host, now).await? {
        return Ok(Some(format!("a maintenance window holds: {}", window.reason)));
    }
    let claimed = run_states::automatic_since(&mut *conn, now.plus(-HOST_WINDOW_MS)).await?;
    let own = match run.incident {
        Some(incident) => run_states::automatic_of(&mut *conn, incident).await?,
        None => 0,
    };
    let fleet = host_facts::count(conn).await?;
    let spent = Spent::count(claimed, run.host, own, fleet, now);
    Ok(spent.allows_one_more().err().map(|exhausted| exhausted.to_string()))
}

/// Gives the run to a person instead.
async fn hold(ctx: &Ctx, conn: &mut Conn, run: &Run, why: &str, now: UnixMs) -> Result<(), StoreError> {
    let mut next = run.clone();
    next.state = RunState::AwaitingApproval;
    next.origin = Origin::Person;
    next.decided_by = None;
    next.decided_at = None;
    next.expires_at = None;
    next.updated_at = now;
    next.reason = format!("Held back when it was to be sent, since {why}");
    run_states::move_on(&mut *conn, &next, run.state).await?;
    let detail = json!({ "why": why });
    run_states::record(&mut *conn, run.id, "held", &detail, now).await?;
    ctx.audit.append(conn, &Record::policy("run.hold", format!("run:{}", run.id), detail)).await?;
    Ok(())
}

/// For the host's journal: one line, at most 200 characters.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
