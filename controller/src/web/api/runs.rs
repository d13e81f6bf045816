//! Runs: actions on hosts, from the request to the verified effect.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sysop_common::action::{Action, Risk, RunState};
use sysop_common::ids::{HostId, OrderId, hex, sha256};
use sysop_common::order::Origin;
use utoipa::{IntoParams, ToSchema};

use super::{Limit, List};
use crate::decide::{self, Start};
use crate::store::outputs;
use crate::store::run_states::{self, RunEvent};
use crate::store::runs::{self, Run, RunFilter};
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::extract::{Id, Json, Params};
use crate::web::idempotency;
use crate::web::state::AppState;

/// One reason for a run's risk.
#[derive(Debug, Serialize, ToSchema)]
pub struct RiskFactorBody {
    /// `floor`, `target`, `host`, …
    factor: String,
    /// The risk after it.
    #[schema(value_type = String)]
    risk: Risk,
    why: String,
}

/// A run.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunBody {
    #[schema(value_type = String, format = "uuid")]
    id: OrderId,
    #[schema(value_type = String, format = "uuid")]
    host: HostId,
    incident: Option<i64>,
    /// Name of the action.
    #[schema(value_type = String)]
    action: &'static str,
    /// Its parameters.
    #[schema(value_type = Object)]
    params: Value,
    /// What it acts on, in one line.
    target: String,
    attempt: u32,
    /// `awaiting_approval`, `approved`, `claimed`, `sent`, `accepted`, `started`, `verified`, …
    #[schema(value_type = String)]
    state: RunState,
    #[schema(value_type = String)]
    risk: Risk,
    risk_factors: Vec<RiskFactorBody>,
    /// `automatic` or `person`.
    #[schema(value_type = String)]
    origin: Origin,
    reason: String,
    created_by: String,
    created_at: i64,
    updated_at: i64,
    decided_by: Option<String>,
    decided_at: Option<i64>,
    expires_at: Option<i64>,
    sent_at: Option<i64>,
    finished_at: Option<i64>,
    exit: Option<i32>,
    duration_ms: Option<u64>,
    /// Why the host refused, in one word.
    refusal: Option<String>,
    detail: String,
    /// SHA-256 of the signed order; null before it was signed.
    order_digest: Option<String>,
    /// Bytes of output before the cap.
    output_bytes: Option<u64>,
    /// SHA-256 of the whole output.
    output_digest: Option<String>,
}

/// The parameters of an action as JSON.
#[must_use]
pub fn params_of(action: &Action) -> Value {
    let whole = serde_json::to_value(action).unwrap_or_default();
    whole.get("params").cloned().unwrap_or_else(|| json!({}))
}

impl From<Run> for RunBody {
    fn from(run: Run) -> Self {
        Self {
            id: run.id,
            host: run.host,
            incident: run.incident,
            action: run.action.name(),
            params: params_of(&run.action),
            target: run.target,
            attempt: run.attempt,
            state: run.state,
            risk: run.risk,
            risk_factors: run
                .risk_factors
                .into_iter()
                .map(|one| RiskFactorBody { factor: one.factor, risk: one.risk, why: one.why })
                .collect(),
            origin: run.origin,
            reason: run.reason,
            created_by: run.created_by,
            created_at: run.created_at.0,
            updated_at: run.updated_at.0,
            decided_by: run.decided_by,
            decided_at: run.decided_at.map(|at| at.0),
            expires_at: run.expires_at.map(|at| at.0),
            sent_at: run.sent_at.map(|at| at.0),
            finished_at: run.finished_at.map(|at| at.0),
            exit: run.exit,
            duration_ms: run.duration_ms,
            refusal: run.refusal,
            detail: run.detail,
            order_digest: run.signed_order.map(|order| hex(&sha256(&order))),
            output_bytes: run.output_bytes,
            output_digest: run.output_hash.map(|hash| hash.to_string()),
        }
    }
}

/// A step of a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventBody {
    /// `host`, by its journal, or `controller`.
    #[schema(value_type = String)]
    source: &'static str,
    number: u64,
    /// When it happened, by the source's clock.
    at: i64,
    recorded_at: i64,
    state: String,
    #[schema(value_type = Object)]
    detail: Value,
}

impl From<RunEvent> for EventBody {
    fn from(event: RunEvent) -> Self {
        Self {
            source: event.source.word(),
            number: event.number,
            at: event.at.0,
            recorded_at: event.recorded_at.0,
            state: event.state,
            detail: serde_json::from_str(&event.detail).unwrap_or(Value::String(event.detail)),
        }
    }
}

/// A run with its steps.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunDetail {
    #[serde(flatten)]
    run: RunBody,
    /// Steps, in the order in which they were stored.
    events: Vec<EventBody>,
}

/// A state of a run, as a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct StateWord(RunState);

impl TryFrom<String> for StateWord {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let all = || RunState::ALL.map(RunState::word).join(", ");
        RunState::from_word(&text).map(Self).ok_or_else(|| format!("must be one of {}", all()))
    }
}

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// On one host only.
    #[param(value_type = Option<String>, format = "uuid")]
    host: Option<HostId>,
    /// For one incident only.
    incident: Option<i64>,
    /// In one state only.
    #[param(value_type = Option<String>)]
    state: Option<StateWord>,
    /// How many: 1 to 200, else 50.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// `next` of the part before.
    #[param(value_type = Option<String>, format = "uuid")]
    after: Option<OrderId>,
}

/// Runs, newest first.
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(RunsQuery), responses((status = 200, body = List<RunBody>)))]
pub async fn list(
    State(state): State<AppState>,
    Params(query): Params<RunsQuery>,
) -> Result<axum::Json<List<RunBody>>, Problem> {
    let filter = RunFilter {
        host: query.host,
        incident: query.incident,
        state: query.state.map(|state| state.0),
        before: query.after,
        limit: query.limit.0 + 1,
    };
    let found = runs::list(&state.db, filter).await?;
    Ok(axum::Json(List::cut(found, query.limit, |run| run.id.to_string())))
}

/// One run with its steps.
#[utoipa::path(get, path = "/api/v1/runs/{id}", tag = "runs", params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = RunDetail), (status = 404, description = "No such run")))]
pub async fn get(
    State(state): State<AppState>,
    Id(id): Id<OrderId>,
) -> Result<axum::Json<RunDetail>, Problem> {
    let run = runs::find(&state.db, id).await?.ok_or_else(|| Problem::not_found("run"))?;
    let events = run_states::events(&state.db, id).await?;
    Ok(axum::Json(RunDetail { run: run.into(), events: events.into_iter().map(Into::into).collect() }))
}

/// The output of a run, as far as it is kept, as the host sent it.
#[utoipa::path(get, path = "/api/v1/runs/{id}/output", tag = "runs", params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 404, description = "No such run")))]
pub async fn output(State(state): State<AppState>, Id(id): Id<OrderId>) -> Result<Response, Problem> {
    runs::find(&state.db, id).await?.ok_or_else(|| Problem::not_found("run"))?;
    let bytes = outputs::read(&state.db, id).await?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// A run to be started.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRunBody {
    /// On which host.
    #[schema(value_type = String, format = "uuid")]
    host: HostId,
    /// `restart_service`, `start_service`, `stop_service`, `kill_process`, `cleanup_temp_files`.
    action: String,
    /// Its parameters: `{"unit": "nginx.service"}`.
    #[schema(value_type = Object)]
    params: Value,
    /// For which incident, if for one.
    incident: Option<i64>,
    /// Why, for the record.
    #[serde(default)]
    #[schema(max_length = 500)]
    reason: String,
}

/// The action of a name and its parameters.
///
/// # Errors
/// Names the field.
pub fn action_of(name: &str, params: Value) -> Result<Action, Problem> {
    if sysop_common::action::entry_by_name(name).is_none() {
        let all: Vec<_> = sysop_common::action::CATALOGUE.iter().map(|entry| entry.name).collect();
        return Err(Problem::invalid("action", format!("must be one of {}", all.join(", "))));
    }
    let whole = json!({ "action": name, "params": params });
    let action: Action = serde_path_to_error::deserialize(whole).map_err(|e| {
        let said = e.into_inner().to_string();
        Problem::invalid("params", format!("do not fit {name}: {said}"))
    })?;
    action.validate().map_err(|e| Problem::invalid(format!("params.{}", e.field), e.problem))?;
    Ok(action)
}

/// Starts an action by hand. With an `Idempotency-Key`, the same request again finds the same run.
#[utoipa::path(post, path = "/api/v1/runs", tag = "runs", request_body = NewRunBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 200 visible ASCII characters, new for each intent")),
    responses((status = 201, body = RunBody), (status = 404, description = "No such host or incident"),
        (status = 409, description = "The same is open, or the key was used for something else"), (status = 422, description = "A field does not fit")))]
pub async fn start(
    State(state): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
    Json(new): Json<NewRunBody>,
) -> Result<(StatusCode, axum::Json<RunBody>), Problem> {
    if new.reason.chars().count() > 500 {
        return Err(Problem::invalid("reason", "must have at most 500 characters"));
    }
    let action = action_of(&new.action, new.params)?;
    let key = idempotency::key(&headers)?;
    let start = Start { host: new.host, action, incident: new.incident, reason: new.reason, key };
    let run = decide::start_run(&state.decide(), &start, &principal.person()).await?;
    Ok((StatusCode::CREATED, axum::Json(run.into())))
}

/// Cancels a run: at once while it was not sent, else by asking the host.
#[utoipa::path(post, path = "/api/v1/runs/{id}/cancel", tag = "runs", params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = RunBody), (status = 404, description = "No such run"), (status = 409, description = "It has started or ended")))]
pub async fn cancel(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<OrderId>,
) -> Result<axum::Json<RunBody>, Problem> {
    let run = decide::cancel_run(&state.decide(), id, &principal.person()).await?;
    Ok(axum::Json(run.into()))
}

/// What a person found on the host.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// What was found.
    #[schema(min_length = 1, max_length = 500)]
    found: String,
}

/// Settles a run of unknown outcome after a person looked at the host: the same may be planned again.
#[utoipa::path(post, path = "/api/v1/runs/{id}/settle", tag = "runs", params(("id" = String, Path, format = "uuid")), request_body = Found,
    responses((status = 200, body = RunBody), (status = 404, description = "No such run"), (status = 409, description = "Its outcome is known")))]
pub async fn settle(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<OrderId>,
    Json(found): Json<Found>,
) -> Result<axum::Json<RunBody>, Problem> {
    if !(1..=500).contains(&found.found.trim().chars().count()) {
        return Err(Problem::invalid("found", "must say what was found, in 1 to 500 characters"));
    }
    decide::settle_unknown(&state.decide(), id, &principal.person(), &found.found).await?;
    let run = runs::find(&state.db, id).await?.ok_or_else(|| Problem::not_found("run"))?;
    Ok(axum::Json(run.into()))
}
