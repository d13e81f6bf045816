//! What nobody asks for any more is forgotten: ended sessions, old idempotency keys.

use std::time::Duration;

use sysop_common::time::DAY_MS;
use tokio::time::{MissedTickBehavior, interval};

use super::state::AppState;
use crate::store::{StoreError, idempotency, web_sessions};

/// Between two sweeps.
const PERIOD: Duration = Duration::from_secs(3600);
/// A key is remembered for this time, in ms.
const KEYS_MS: i64 = DAY_MS;

/// Sweeps until it is dropped.
pub(super) async fn run(state: AppState) {
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        if let Err(e) = once(&state).await {
            tracing::warn!("ended sessions and old keys could not be forgotten: {e}");
        }
    }
}

async fn once(state: &AppState) -> Result<(), StoreError> {
    let now = state.now();
    web_sessions::forget(&state.db, state.auth.session_idle_ms, now).await?;
    idempotency::forget(&state.db, now.plus(-KEYS_MS)).await?;
    Ok(())
}
