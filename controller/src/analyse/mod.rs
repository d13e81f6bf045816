//! Finds trouble in samples, and makes incidents of it.
//!
//! `rules` are pure and read a [`window::Window`] of the last quarter of an hour; `correlate` puts
//! causes over symptoms; `offers` binds the actions that are acceptable; `incident` decides, also
//! purely, what is opened, updated, joined and closed; `save` writes it. A host is looked at when its
//! newest sample shows anything odd, when one of its incidents is open, and once a minute; so a quiet
//! host costs a comparison of two ticks per sample.

pub mod attribute;
pub mod baseline;
pub mod budget;
pub mod correlate;
pub mod engine;
pub mod entities;
pub mod forecast;
mod gate;
mod housekeeping;
pub mod incident;
pub mod input;
pub mod messages;
pub mod model;
pub mod offers;
pub mod operator;
mod quiet;
pub mod recording;
mod report;
pub mod rules;
mod save;
pub mod seam;
pub mod state;
pub mod statistics;
mod watch;
pub mod window;

use std::sync::Arc;
use std::time::Duration;

use sysop_common::time::UnixMs;
use tokio::sync::watch as shutdown_signal;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::store::presence::Presence;
use crate::store::samples::SampleStore;
use crate::store::{Db, StoreError};
use crate::wake::Wakes;

pub use report::{is_of_probe, report_probes};
pub use watch::Analyser;

/// Looks this often without being woken: the pace at which silence is noticed.
const PERIOD: Duration = Duration::from_secs(2);
/// Looks are at least this far apart: many commits in a row are one look.
const PAUSE: Duration = Duration::from_millis(100);

/// What the step works with.
#[derive(Clone)]
pub struct Ctx {
    /// Control data.
    pub db: Db,
    /// Samples.
    pub samples: SampleStore,
    /// Who is connected.
    pub presence: Presence,
    /// The audit chain.
    pub audit: Audit,
    /// Signals.
    pub wakes: Wakes,
    /// The time.
    pub clock: Clock,
    /// The language of what is found.
    pub language: messages::Language,
    /// Second opinion on offers, if there is one.
    pub adviser: Option<Arc<dyn seam::Adviser>>,
}

/// Analyses until `shutdown` turns true.
pub async fn run(ctx: Ctx, mut shutdown: shutdown_signal::Receiver<bool>) {
    let (mut samples, mut runs) = (ctx.wakes.samples.listen(), ctx.wakes.runs.listen());
    let mut analyser = match start(&ctx, &mut shutdown).await {
        Some(analyser) => analyser,
        None => return,
    };
    while !*shutdown.borrow() {
        if let Err(error) = analyser.look().await {
            tracing::error!(%error, "samples could not be analysed; trying again");
        }
        tokio::select! {
            () = samples.wait(PERIOD) => {}
            () = runs.wait(PERIOD) => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }
}

/// Reads what is remembered; tries again while the store does not answer.
async fn start(ctx: &Ctx, shutdown: &mut shutdown_signal::Receiver<bool>) -> Option<Analyser> {
    let started: UnixMs = ctx.clock.now();
    while !*shutdown.borrow() {
        match Analyser::load(ctx.clone(), started).await {
            Ok(analyser) => return Some(analyser),
            Err(error) => tracing::error!(%error, "what is remembered of hosts cannot be read; trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }
    None
}

/// The result of a look that needs the store.
pub(crate) type Outcome = Result<(), StoreError>;

#[cfg(test)]
mod tests;
