//! How long things are kept, and whether deleting waits since the clock jumped.

use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use sysop_common::time::UnixMs;
use utoipa::ToSchema;

use crate::audit::Record;
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::state::AppState;

/// How long things are kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct RetentionBody {
    /// Samples at full resolution, in ms.
    samples_ms: i64,
    /// Outputs of runs, in ms.
    run_outputs_ms: i64,
    /// Runs, closed incidents and connections of hosts, in ms.
    records_ms: i64,
    /// Since when deleting waits until somebody confirms the clock; null while it does not.
    held_since: Option<i64>,
}

async fn look(state: &AppState) -> Result<RetentionBody, Problem> {
    let held = state.samples.retention_held().await?;
    Ok(RetentionBody {
        samples_ms: state.retention.samples_ms,
        run_outputs_ms: state.retention.run_outputs_ms,
        records_ms: state.retention.records_ms,
        held_since: held.map(|at| at.0),
    })
}

/// Says that the clock is right; tells since when deleting had waited.
///
/// # Errors
/// Only the store's.
pub async fn confirm_clock(state: &AppState, principal: &Principal) -> Result<Option<UnixMs>, Problem> {
    let Some(since) = state.samples.retention_held().await? else { return Ok(None) };
    let record = Record::new(principal.actor(), "retention.confirm", "clock", json!({ "held_since": since }));
    state.audit.record(&state.db, &record).await?;
    state.samples.confirm_clock(state.now()).await?;
    Ok(Some(since))
}

/// How long things are kept, and whether deleting waits.
#[utoipa::path(get, path = "/api/v1/retention", tag = "retention", responses((status = 200, body = RetentionBody)))]
pub async fn get(State(state): State<AppState>) -> Result<axum::Json<RetentionBody>, Problem> {
    Ok(axum::Json(look(&state).await?))
}

/// Says that the controller's clock is right: deleting goes on after a jump of more than a day.
#[utoipa::path(post, path = "/api/v1/retention/confirm", tag = "retention", responses((status = 200, body = RetentionBody)))]
pub async fn confirm(
    State(state): State<AppState>,
    principal: Principal,
) -> Result<axum::Json<RetentionBody>, Problem> {
    confirm_clock(&state, &principal).await?;
    Ok(axum::Json(look(&state).await?))
}
