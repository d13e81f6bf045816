//! Maintenance windows: times in which nothing runs by itself.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sysop_common::ids::HostId;
use sysop_common::time::{SECOND_MS, UnixMs};
use utoipa::ToSchema;

use super::assignments::LabelBody;
use crate::decide;
use crate::store::assignments::Selector;
use crate::store::maintenance::{self, Window};
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::extract::{Id, Json};
use crate::web::state::AppState;

/// A window.
#[derive(Debug, Serialize, ToSchema)]
pub struct MaintenanceBody {
    id: String,
    /// The one host; null when it is for a label or for all.
    #[schema(value_type = Option<String>, format = "uuid")]
    host: Option<HostId>,
    /// The label; null when it is for one host or for all.
    label: Option<LabelBody>,
    starts_at: i64,
    ends_at: i64,
    reason: String,
    created_by: String,
    created_at: i64,
}

impl From<Window> for MaintenanceBody {
    fn from(window: Window) -> Self {
        let (host, label) = match window.on {
            None => (None, None),
            Some(Selector::Host(host)) => (Some(host), None),
            Some(Selector::Label { name, value }) => (None, Some(LabelBody { name, value })),
        };
        Self {
            id: window.id,
            host,
            label,
            starts_at: window.starts_at.0,
            ends_at: window.ends_at.0,
            reason: window.reason,
            created_by: window.created_by,
            created_at: window.created_at.0,
        }
    }
}

/// A window to be set: on one host, on hosts with a label, or on all when neither is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMaintenance {
    /// One host; or
    #[schema(value_type = Option<String>, format = "uuid")]
    host: Option<HostId>,
    /// hosts on which an admin set this label.
    label: Option<LabelBody>,
    /// From when, ms since 1970; from now on without it.
    starts_at: Option<i64>,
    /// Until when, ms since 1970, at most 31 days after the start; or
    ends_at: Option<i64>,
    /// for how long, in seconds.
    #[schema(minimum = 60, maximum = 2678400)]
    duration_s: Option<i64>,
    /// Why, for the others.
    #[serde(default)]
    #[schema(max_length = 200)]
    reason: String,
}

/// Windows that have not ended, soonest first.
#[utoipa::path(get, path = "/api/v1/maintenance", tag = "automation", responses((status = 200, body = Vec<MaintenanceBody>)))]
pub async fn list(State(state): State<AppState>) -> Result<axum::Json<Vec<MaintenanceBody>>, Problem> {
    let found = maintenance::list(&state.db, state.now()).await?;
    Ok(axum::Json(found.into_iter().map(Into::into).collect()))
}

/// Sets a window: nothing runs by itself there meanwhile. What a person approves still runs.
#[utoipa::path(post, path = "/api/v1/maintenance", tag = "automation", request_body = NewMaintenance,
    responses((status = 201, body = MaintenanceBody), (status = 404, description = "No such host"), (status = 422, description = "A field does not fit")))]
pub async fn set(
    State(state): State<AppState>,
    principal: Principal,
    Json(new): Json<NewMaintenance>,
) -> Result<(StatusCode, axum::Json<MaintenanceBody>), Problem> {
    let on = match (new.host, new.label) {
        (None, None) => None,
        (Some(host), None) => Some(Selector::Host(host)),
        (None, Some(label)) => Some(Selector::Label { name: label.name, value: label.value }),
        _ => return Err(Problem::invalid("host", "or label may be given, and not both")),
    };
    if new.duration_s.is_some_and(|s| !(60..=2_678_400).contains(&s)) {
        return Err(Problem::invalid("duration_s", "must be 60 to 2678400"));
    }
    let from = new.starts_at.map_or(state.now(), UnixMs);
    let until = match (new.ends_at, new.duration_s) {
        (Some(at), None) => UnixMs(at),
        (None, Some(s)) => UnixMs(from.0.saturating_add(s * SECOND_MS)),
        _ => return Err(Problem::invalid("ends_at", "or duration_s must be given, and not both")),
    };
    let made =
        decide::set_maintenance(&state.decide(), on, (from, until), &new.reason, &principal.person()).await;
    let made = made.map_err(|e| match Problem::from(e) {
        problem if problem.field.as_deref() == Some("until") => problem.about("ends_at"),
        problem => problem,
    })?;
    Ok((StatusCode::CREATED, axum::Json(made.into())))
}

/// Ends a window now.
#[utoipa::path(delete, path = "/api/v1/maintenance/{id}", tag = "automation", params(("id" = String, Path)),
    responses((status = 204), (status = 404, description = "No such window that holds or is to come")))]
pub async fn end(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<String>,
) -> Result<StatusCode, Problem> {
    decide::end_maintenance(&state.decide(), &id, &principal.person()).await?;
    Ok(StatusCode::NO_CONTENT)
}
