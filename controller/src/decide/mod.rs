//! Decides what is done about incidents: computed risk, the policy for what may run by itself, one
//! planned run at a time, and what people approve, reject, start and cancel.
//!
//! `risk`, `policy`, `budget`, `plan` and `approval` are pure; `load` gathers what they need, `save`
//! writes what they say, with its inputs, in one transaction with the audit record. The step is woken,
//! not fed: whatever it needs is in the store, so a crash between two lines costs the time until the
//! next look.

pub mod approval;
pub mod budget;
mod error;
mod load;
mod person;
pub mod plan;
pub mod policy;
pub mod risk;
pub mod rules;
mod save;
mod setting;
mod trust;

use std::time::Duration;

use tokio::sync::watch;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::store::samples::SampleStore;
use crate::store::{Db, StoreError, incidents};
use crate::wake::Wakes;

pub use approval::Denied;
pub use error::DecideError;
pub use person::{
    Person, Start, ack_incident, approve, cancel_run, preview, reject, settle_unknown, start_run,
};
pub use policy::{granted, policy_line};
pub use setting::{
    end_maintenance, remove_assignment, set_assignment, set_automation, set_busy_hours, set_maintenance,
};

pub use trust::{NOTE_CHARS, give_feedback, lift_demotion, set_model_note};

/// Looks this often without being woken.
const PERIOD: Duration = Duration::from_secs(30);
/// An approved run that is not claimed within this time expires, in ms.
pub const APPROVED_LIFE_MS: i64 = 15 * sysop_common::time::MINUTE_MS;
/// A finding that was last seen longer ago than this is not confirmed, in ms: two looks of the
/// slowest agent.
const FRESH_MS: i64 = 130_000;

/// What the step works with.
#[derive(Debug, Clone)]
pub struct Ctx {
    /// Control data.
    pub db: Db,
    /// Samples, for the state of targets.
    pub samples: SampleStore,
    /// The audit chain.
    pub audit: Audit,
    /// Signals.
    pub wakes: Wakes,
    /// The time.
    pub clock: Clock,
}

/// Decides until `shutdown` turns true.
pub async fn run(ctx: Ctx, mut shutdown: watch::Receiver<bool>) {
    let (mut incidents, mut decide) = (ctx.wakes.incidents.listen(), ctx.wakes.decide.listen());
    let mut hosts = ctx.wakes.hosts.listen();
    while !*shutdown.borrow() {
        if let Err(error) = look(&ctx).await {
            tracing::error!(%error, "incidents could not be decided on; trying again");
        }
        tokio::select! {
            () = incidents.wait(PERIOD) => {}
            () = decide.wait(PERIOD) => {}
            () = hosts.wait(PERIOD) => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }
}

/// One look at every open incident and at every proposal whose incident is over.
///
/// # Errors
/// When the store fails; what was decided before stays.
pub async fn look(ctx: &Ctx) -> Result<(), StoreError> {
    let open = incidents::open(&mut *ctx.db.reader().await?).await?;
    trust::look(ctx, &open).await?;
    let mut result = Ok(());
    for incident in open.iter().filter(|incident| incident.host.is_some() && !incident.offers.is_empty()) {
        match save::decide(ctx, incident.id).await {
            Ok(()) => {}
            // A person was faster; their signal brings the next look.
            Err(StoreError::Conflict(why)) => tracing::debug!(incident = incident.id, why, "not decided"),
            // One that cannot be decided does not keep the others waiting.
            Err(error) => {
                tracing::error!(incident = incident.id, %error, "an incident could not be decided");
                result = Err(error);
            }
        }
    }
    save::withdraw(ctx).await.and(result)
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
