//! Typed readings, asked of a host while one waits.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sysop_common::ids::HostId;
use sysop_common::query::{QUERY_NAMES, Query};
use utoipa::ToSchema;

use crate::audit::Record;
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::extract::{Id, Json};
use crate::web::readings::ReadingError;
use crate::web::state::AppState;
use crate::web::summary;

/// A reading to be taken.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// `get_cpu_usage`, `get_memory_usage`, `get_disk_usage`, `get_system_load`, `get_top_processes`,
    /// `get_service_status`, `get_failed_services`.
    query: String,
    /// Its parameters: `{"limit": 10}`, `{"unit": "nginx.service"}`; none for the others.
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
}

/// What was read.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadingBody {
    /// Lines for people, as the host wrote them.
    text: String,
    /// The same as JSON.
    #[schema(value_type = Object)]
    value: Value,
}

/// Asks a host for a reading, if its owner's policy allows that.
#[utoipa::path(post, path = "/api/v1/hosts/{id}/queries", tag = "hosts", params(("id" = String, Path, format = "uuid")), request_body = Ask,
    responses((status = 200, body = ReadingBody), (status = 403, description = "The host's policy does not allow it"), (status = 404, description = "No such host"),
        (status = 409, description = "The host is not connected"), (status = 422, description = "A field does not fit"), (status = 504, description = "The host did not answer in time")))]
pub async fn ask(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<HostId>,
    Json(ask): Json<Ask>,
) -> Result<axum::Json<ReadingBody>, Problem> {
    let query = query_of(ask)?;
    summary::one(&state, id).await?;
    let detail = json!({ "query": query });
    let record = Record::new(principal.actor(), "host.query", format!("host:{id}"), detail);
    state.audit.record(&state.db, &record).await?;
    let reading = state.readings.ask(id, query).await.map_err(|e| match e {
        ReadingError::NotConnected => Problem::conflict("the host is not connected")
            .remedy("look at it on its page; ask again when it is back"),
        ReadingError::TimedOut => {
            Problem::unavailable("the host did not answer in time").status(StatusCode::GATEWAY_TIMEOUT)
        }
        ReadingError::Refused(why) => Problem::forbidden(format!("the host refused: {why}")),
    })?;
    let value = serde_json::from_str(&reading.json).unwrap_or(Value::Null);
    Ok(axum::Json(ReadingBody { text: reading.text, value }))
}

fn query_of(ask: Ask) -> Result<Query, Problem> {
    if !QUERY_NAMES.contains(&ask.query.as_str()) {
        return Err(Problem::invalid("query", format!("must be one of {}", QUERY_NAMES.join(", "))));
    }
    let whole = match ask.params.filter(|params| *params != json!({})) {
        Some(params) => json!({ "query": ask.query, "params": params }),
        None => json!({ "query": ask.query }),
    };
    let query: Query = serde_json::from_value(whole)
        .map_err(|e| Problem::invalid("params", format!("do not fit {}: {e}", ask.query)))?;
    match query {
        Query::GetTopProcesses { limit } if !(1..=50).contains(&limit) => {
            Err(Problem::invalid("params.limit", "must be 1 to 50"))
        }
        query => Ok(query),
    }
}
