//! Sends approved runs to their hosts and settles what comes back.
//!
//! The way of a run: `approved` -> `claimed` (one transaction: compare-and-set, lease, budgets, audit,
//! signed order) -> handed to the link -> `sent`. From `claimed` on only the host knows what happens,
//! so after a crash the very same bytes are sent again: the executor runs an order's id at most once.
//! What has no word long after its order expired is `unknown`, and a late word still settles it.
//!
//! The step is woken, not fed: all of it is in the store.

mod claim;
mod expire;
mod retain;
mod route;
mod send;
mod settle;
pub mod states;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sysop_common::ids::OrderId;
use sysop_common::order::DispatchKey;
use sysop_common::time::UnixMs;
use tokio::sync::watch;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::store::samples::SampleStore;
use crate::store::{Db, StoreError};
use crate::wake::Wakes;

pub use claim::{ClaimError, ORDER_LIFE_MS};
pub use route::{Route, Unreachable};
pub use settle::Results;

/// Looks this often without being woken: the pace of resends and of expiry.
const PERIOD: Duration = Duration::from_secs(5);

/// What the step works with.
#[derive(Clone)]
pub struct Ctx {
    /// Control data.
    pub db: Db,
    /// Samples: their store notices when the clock jumped.
    pub samples: SampleStore,
    /// The audit chain.
    pub audit: Audit,
    /// Signals.
    pub wakes: Wakes,
    /// The time.
    pub clock: Clock,
    /// The way to hosts: [`crate::link::Registry`].
    pub route: Arc<dyn Route>,
    /// Signs orders.
    pub key: Arc<DispatchKey>,
    /// How long things are kept.
    pub keep: Keep,
}

/// How long what runs leave behind is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Their outputs, in ms.
    pub outputs_ms: i64,
    /// Runs, closed incidents and what the link saw of hosts, in ms.
    pub records_ms: i64,
}

/// What a running dispatcher remembers between two looks. Losing it costs one resend.
#[derive(Debug, Default)]
pub struct Memory {
    /// When an order or a cancellation was last handed to the link.
    handed: HashMap<(OrderId, Handed), UnixMs>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Handed {
    Order,
    Cancel,
}

/// Dispatches until `shutdown` turns true.
pub async fn run(ctx: Ctx, mut shutdown: watch::Receiver<bool>) {
    let (mut dispatch, mut hosts) = (ctx.wakes.dispatch.listen(), ctx.wakes.hosts.listen());
    let mut memory = Memory::default();
    let mut retained = UnixMs(0);
    while !*shutdown.borrow() {
        if let Err(error) = look(&ctx, &mut memory).await {
            tracing::error!(%error, "runs could not be dispatched; trying again");
        }
        let now = ctx.clock.now();
        if now.since(retained) >= sysop_common::time::HOUR_MS {
            match retain::retain(&ctx, now).await {
                Ok(true) => retained = now,
                // The store of samples says why, and goes on when the clock is confirmed.
                Ok(false) => {}
                Err(error) => {
                    retained = now;
                    tracing::error!(%error, "old runs and incidents could not be deleted");
                }
            }
        }
        tokio::select! {
            () = dispatch.wait(PERIOD) => {}
            () = hosts.wait(PERIOD) => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }
}

/// One look: what is overdue, what can be sent, what should be sent again, what is to be cancelled.
///
/// # Errors
/// When the store fails; what was done before stays.
pub async fn look(ctx: &Ctx, memory: &mut Memory) -> Result<(), StoreError> {
    expire::expire(ctx).await?;
    send::again(ctx, memory).await?;
    send::new(ctx, memory).await?;
    send::cancels(ctx, memory).await
}

#[cfg(test)]
mod tests;
