//! Probes: whether the process serves, and whether it has what it needs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::web::error::Problem;
use crate::web::state::AppState;

/// How a part of the controller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartState {
    /// It works.
    Ok,
    /// It works in part, or late.
    Degraded,
    /// It does not work.
    Missing,
}

/// A part of the controller.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Part {
    /// Its name: `store`, `ingest`, …
    #[schema(value_type = String)]
    pub name: &'static str,
    /// How it is.
    pub state: PartState,
    /// Whether the controller is not ready without it.
    pub needed: bool,
    /// What is the matter and what to do, where there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub detail: Option<&'static str>,
}

impl Part {
    /// A part that the controller is not ready without.
    #[must_use]
    pub const fn needed(name: &'static str, state: PartState) -> Self {
        Self { name, state, needed: true, detail: None }
    }
}

/// Why old data is kept for now.
const HELD: &str = "the clock jumped by more than a day: old data is kept until somebody confirms the clock, \
    on the overview or with sysop-controller retention confirm";

/// Tells how the parts are, at each call anew and without waiting.
pub type Parts = Arc<dyn Fn() -> Vec<Part> + Send + Sync>;

/// How the controller is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok` while every part works, else the worst of them.
    status: PartState,
    /// Version of the controller.
    #[schema(value_type = String)]
    version: &'static str,
    /// Its parts.
    parts: Vec<Part>,
}

async fn look(state: &AppState) -> Health {
    let mut parts = vec![store(state).await];
    parts.extend((state.parts)());
    parts.push(retention(state).await);
    let worst = |wanted| parts.iter().any(|part: &Part| part.state == wanted);
    let status = if worst(PartState::Missing) {
        PartState::Missing
    } else if worst(PartState::Degraded) {
        PartState::Degraded
    } else {
        PartState::Ok
    };
    Health { status, version: env!("CARGO_PKG_VERSION"), parts }
}

async fn store(state: &AppState) -> Part {
    let answers = state.db.answers().await;
    Part::needed("store", if answers { PartState::Ok } else { PartState::Missing })
}

async fn retention(state: &AppState) -> Part {
    let (how, detail) = match state.samples.retention_held().await {
        Ok(None) => (PartState::Ok, None),
        Ok(Some(_)) => (PartState::Degraded, Some(HELD)),
        Err(_) => (PartState::Missing, None),
    };
    Part { name: "retention", state: how, needed: false, detail }
}

/// Whether the process serves: 200 while it does, whatever its parts.
#[utoipa::path(get, path = "/api/health", tag = "probes", security(()), responses((status = 200, body = Health)))]
pub async fn health(State(state): State<AppState>) -> Json<Health> {
    Json(look(&state).await)
}

/// Whether the controller has all that it needs: 503 while a needed part is missing.
#[utoipa::path(get, path = "/api/ready", tag = "probes", security(()),
    responses((status = 200, body = Health), (status = 503, description = "A needed part is missing", body = Health)))]
pub async fn ready(State(state): State<AppState>) -> Result<(StatusCode, Json<Health>), Problem> {
    let health = look(&state).await;
    let missing = health.parts.iter().any(|part| part.needed && part.state == PartState::Missing);
    let status = if missing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    Ok((status, Json(health)))
}
