//! Takes in what hosts say of their orders. A resend is harmless; a word from a host that the order
//! did not address is refused and audited.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use sysop_common::action::{Event, OrderEvent, RunState};
use sysop_common::bytes::Digest;
use sysop_common::ids::{HostId, hex};
use sysop_common::order::{Order, SignedOrder};
use sysop_common::time::{MINUTE_MS, UnixMs};
use sysop_common::wire::{OutputChunk, limits};

use super::{Ctx, states};
use crate::audit::Record;
use crate::link::ports::{BoxFuture, Refused, ResultSink};
use crate::store::run_states::{self, Recorded, RunEvent, Source};
use crate::store::runs::{self, Run};
use crate::store::{Conn, StoreError, Tx, outputs};

/// A refusal of one host's words is audited at most this often: a lying agent cannot fill the chain.
const AUDIT_EVERY_MS: i64 = MINUTE_MS;
/// Most characters of a host's one-line text.
const MAX_TEXT: usize = 1_000;

/// Implements [`ResultSink`]. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Results {
    ctx: Ctx,
    audited: Arc<Mutex<HashMap<HostId, UnixMs>>>,
}

impl Results {
    /// Over the dispatcher's context.
    #[must_use]
    pub fn new(ctx: Ctx) -> Self {
        Self { ctx, audited: Arc::default() }
    }

    async fn event(&self, host: HostId, event: &OrderEvent) -> Result<(), StoreError> {
        let now = self.ctx.clock.now();
        let mut tx = self.ctx.db.begin().await?;
        let Some(run) = addressed(&mut tx, host, event.order).await? else {
            return self.refuse(tx, host, event, "no order of this id was sent to this host", now).await;
        };
        let word = states::word(&event.event);
        let stored = RunEvent {
            run: run.id,
            source: Source::Host,
            number: event.number,
            at: event.at,
            recorded_at: now,
            state: word.to_owned(),
            detail: json!({ "event": shortened(&event.event), "audit_head": event.audit_head }).to_string(),
        };
        let stands = standing(&mut tx, &run).await?;
        match run_states::record_host(&mut tx, &stored).await? {
            Recorded::New => {}
            Recorded::Same => return Ok(()),
            Recorded::Other => {
                return self.refuse(tx, host, event, "another event is known under its number", now).await;
            }
            Recorded::Full => {
                return self.refuse(tx, host, event, "its run has too many events", now).await;
            }
        }
        check_head(&self.ctx, &mut tx, &run, event.audit_head).await?;
        if let Some(state) = states::next(stands, &event.event) {
            let next = moved(&run, state, &event.event, now);
            run_states::move_on(&mut tx, &next, run.state).await?;
            if !state.is_final() && !run_states::hold_intent(&mut tx, &run).await? {
                tracing::error!(run = %run.id, "it is under way again while another run does the same");
                let record = Record::system("run.beside_another", format!("run:{}", run.id), json!({}));
                self.ctx.audit.append(&mut tx, &record).await?;
            }
            if state.is_final() || state == RunState::Succeeded {
                let detail = json!({ "was": run.state.word(), "state": state.word(), "detail": next.detail,
                    "refusal": next.refusal, "exit": next.exit,
                    "output": next.output_hash, "number": event.number });
                let record =
                    Record::new(format!("host:{host}"), "run.result", format!("run:{}", run.id), detail);
                self.ctx.audit.append(&mut tx, &record).await?;
            }
        }
        tx.commit().await?;
        self.ctx.wakes.runs.wake();
        self.ctx.wakes.decide.wake();
        Ok(())
    }

    async fn chunk(&self, host: HostId, chunk: &OutputChunk) -> Result<(), StoreError> {
        let now = self.ctx.clock.now();
        let mut tx = self.ctx.db.begin().await?;
        let Some(run) = addressed(&mut tx, host, chunk.order).await? else {
            let number = chunk.offset;
            let event = OrderEvent {
                order: chunk.order,
                number,
                at: now,
                event: Event::Duplicate,
                audit_head: None,
                signature: None,
            };
            return self
                .refuse(tx, host, &event, "output of an order that was not sent to this host", now)
                .await;
        };
        let cap = u64::from(run.action.entry().output_bytes);
        outputs::append(&mut tx, run.id, chunk.offset, &chunk.bytes.0, cap).await?;
        tx.commit().await?;
        self.ctx.wakes.runs.wake();
        Ok(())
    }

    /// Refuses a word. The host is told that it arrived, so that it does not send it for ever.
    async fn refuse(
        &self,
        mut tx: Tx,
        host: HostId,
        event: &OrderEvent,
        why: &str,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        tracing::warn!(%host, run = %event.order, why, "a host's word on an order was refused");
        if !self.may_audit(host, now) {
            return Ok(());
        }
        let detail = json!({ "run": event.order, "number": event.number, "said": states::word(&event.event),
            "why": why });
        let record =
            Record::new(format!("host:{host}"), "run.result_refused", format!("host:{host}"), detail);
        self.ctx.audit.append(&mut tx, &record).await?;
        tx.commit().await
    }

    fn may_audit(&self, host: HostId, now: UnixMs) -> bool {
        let mut audited = self.audited.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = audited.get(&host).is_some_and(|at| now.since(*at) < AUDIT_EVERY_MS);
        if !recent {
            audited.insert(host, now);
        }
        !recent
    }
}

impl ResultSink for Results {
    fn order_event(&self, host: HostId, event: OrderEvent) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            self.event(host, &event).await.map_err(|error| {
                tracing::error!(%host, run = %event.order, %error, "a host's word on an order could not be stored");
                Refused("the event could not be stored; send it again".to_owned())
            })
        })
    }

    fn output(&self, host: HostId, chunk: OutputChunk) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            self.chunk(host, &chunk).await.map_err(|error| {
                tracing::error!(%host, run = %chunk.order, %error, "a run's output could not be stored");
                Refused("the output could not be stored".to_owned())
            })
        })
    }
}

/// The run, if an order of it was made for this host.
async fn addressed(
    conn: &mut Conn,
    host: HostId,
    order: sysop_common::ids::OrderId,
) -> Result<Option<Run>, StoreError> {
    let run = runs::get(conn, order).await?;
    Ok(run.filter(|run| run.host == host && run.signed_order.is_some()))
}

/// Where the run stands for the host's next word: that no check was reported in time was our own word,
/// and the host's late one counts.
async fn standing(conn: &mut Conn, run: &Run) -> Result<RunState, StoreError> {
    let ours = run.state == RunState::NotVerified && !run_states::host_denied_effect(conn, run.id).await?;
    Ok(if ours { RunState::Succeeded } else { run.state })
}

/// The head that the host journaled must be the one that the order carried: anything else means that
/// one of the two histories was replaced.
async fn check_head(ctx: &Ctx, conn: &mut Conn, run: &Run, said: Option<Digest>) -> Result<(), StoreError> {
    let Some(said) = said else { return Ok(()) };
    let carried = run.signed_order.as_deref().and_then(|bytes| {
        let signed: SignedOrder = limits::decode(bytes).ok()?;
        limits::decode::<Order>(&signed.order.0).ok().map(|order| order.audit_head)
    });
    if carried == Some(said) {
        return Ok(());
    }
    tracing::error!(run = %run.id, "the host journaled another head of the audit chain than its order carried");
    let detail = json!({ "host_has": hex(&said.0), "order_has": carried.map(|head| hex(&head.0)) });
    ctx.audit.append(conn, &Record::system("audit.head_differs", format!("run:{}", run.id), detail)).await?;
    Ok(())
}

fn moved(run: &Run, state: RunState, event: &Event, now: UnixMs) -> Run {
    let mut next = run.clone();
    next.state = state;
    next.updated_at = now;
    match event {
        Event::Finished { exit, duration_ms, detail, output, output_bytes, .. } => {
            next.finished_at = Some(now);
            next.exit = *exit;
            next.duration_ms = Some(*duration_ms);
            next.detail = cut(detail);
            next.output_hash = Some(*output);
            next.output_bytes = Some(*output_bytes);
        }
        Event::Refused { reason, detail } => {
            next.finished_at = Some(now);
            next.refusal =
                serde_json::to_value(reason).ok().and_then(|word| word.as_str().map(str::to_owned));
            next.detail = cut(detail);
        }
        Event::Cancelled => next.finished_at = Some(now),
        Event::Unknown { detail } => {
            next.finished_at = Some(now);
            next.detail = cut(detail);
        }
        Event::Checked { detail, .. } => next.detail = cut(detail),
        Event::Accepted | Event::Started | Event::Duplicate => {}
    }
    if matches!(state, RunState::Accepted | RunState::Started) {
        // A late word after `unknown` or `expired`: it is under way again.
        next.finished_at = None;
        next.detail.clear();
    }
    next
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

/// The event with its texts cut.
fn shortened(event: &Event) -> Event {
    let mut event = event.clone();
    match &mut event {
        Event::Finished { detail, .. }
        | Event::Refused { detail, .. }
        | Event::Unknown { detail }
        | Event::Checked { detail, .. } => *detail = cut(detail),
        Event::Accepted | Event::Started | Event::Cancelled | Event::Duplicate => {}
    }
    event
}
