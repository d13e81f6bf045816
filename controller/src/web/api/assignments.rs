//! Assignments: which action may be taken where, and whether by itself; the switch for all of it.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sysop_common::ids::HostId;
use utoipa::ToSchema;

use crate::decide;
use crate::store::assignments::{self, Assignment, Selector};
use crate::store::settings;
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::extract::{Id, Json};
use crate::web::state::AppState;

/// A label that an admin set.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelBody {
    /// Name.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// Value.
    #[schema(max_length = 128)]
    pub value: String,
}

/// An assignment.
#[derive(Debug, Serialize, ToSchema)]
pub struct AssignmentBody {
    id: String,
    /// The one host; null when it is for a label.
    #[schema(value_type = Option<String>, format = "uuid")]
    host: Option<HostId>,
    /// The label; null when it is for one host.
    label: Option<LabelBody>,
    action: String,
    /// Whether it may run without a person, if the host's own policy says so too.
    automatic: bool,
    created_by: String,
    created_at: i64,
}

impl From<Assignment> for AssignmentBody {
    fn from(one: Assignment) -> Self {
        let (host, label) = match one.selector {
            Selector::Host(host) => (Some(host), None),
            Selector::Label { name, value } => (None, Some(LabelBody { name, value })),
        };
        Self {
            id: one.id,
            host,
            label,
            action: one.action,
            automatic: one.automatic,
            created_by: one.created_by,
            created_at: one.created_at.0,
        }
    }
}

/// All assignments.
#[utoipa::path(get, path = "/api/v1/assignments", tag = "automation", responses((status = 200, body = Vec<AssignmentBody>)))]
pub async fn list(State(state): State<AppState>) -> Result<axum::Json<Vec<AssignmentBody>>, Problem> {
    let found = assignments::list(&state.db).await?;
    Ok(axum::Json(found.into_iter().map(Into::into).collect()))
}

/// An assignment to be set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAssignment {
    /// One host; or
    #[schema(value_type = Option<String>, format = "uuid")]
    host: Option<HostId>,
    /// hosts on which an admin set this label.
    label: Option<LabelBody>,
    /// Name of the action.
    action: String,
    /// Whether it may run without a person.
    #[serde(default)]
    automatic: bool,
}

/// Sets an assignment: makes it, or changes its flag.
#[utoipa::path(post, path = "/api/v1/assignments", tag = "automation", request_body = NewAssignment,
    responses((status = 200, body = AssignmentBody), (status = 404, description = "No such host"), (status = 422, description = "A field does not fit")))]
pub async fn set(
    State(state): State<AppState>,
    principal: Principal,
    Json(new): Json<NewAssignment>,
) -> Result<axum::Json<AssignmentBody>, Problem> {
    let selector = match (new.host, new.label) {
        (Some(host), None) => Selector::Host(host),
        (None, Some(label)) => Selector::Label { name: label.name, value: label.value },
        _ => return Err(Problem::invalid("host", "or label must be given, and not both")),
    };
    let person = principal.person();
    let made =
        decide::set_assignment(&state.decide(), &selector, &new.action, new.automatic, &person).await?;
    Ok(axum::Json(made.into()))
}

/// Takes an assignment away.
#[utoipa::path(delete, path = "/api/v1/assignments/{id}", tag = "automation", params(("id" = String, Path)),
    responses((status = 204), (status = 404, description = "No such assignment")))]
pub async fn remove(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<String>,
) -> Result<StatusCode, Problem> {
    decide::remove_assignment(&state.decide(), &id, &principal.person()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The switch for everything that runs by itself.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Automation {
    /// Whether anything may run without a person.
    on: bool,
}

/// Whether anything may run without a person.
#[utoipa::path(get, path = "/api/v1/automation", tag = "automation", responses((status = 200, body = Automation)))]
pub async fn automation(State(state): State<AppState>) -> Result<axum::Json<Automation>, Problem> {
    let on = settings::automation(&mut *state.db.reader().await?).await?;
    Ok(axum::Json(Automation { on }))
}

/// Turns automation on or off. Operators may turn it off, administrators on.
#[utoipa::path(put, path = "/api/v1/automation", tag = "automation", request_body = Automation,
    responses((status = 200, body = Automation), (status = 403, description = "The role does not allow it")))]
pub async fn set_automation(
    State(state): State<AppState>,
    principal: Principal,
    Json(wanted): Json<Automation>,
) -> Result<axum::Json<Automation>, Problem> {
    decide::set_automation(&state.decide(), wanted.on, &principal.person()).await?;
    Ok(axum::Json(wanted))
}

/// Hours of the day in which an action that interrupts a service counts as riskier.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BusyHours {
    /// Two hours of the day, UTC, such as `8-18`; empty for none.
    #[schema(max_length = 5)]
    hours: String,
}

/// The busy hours.
#[utoipa::path(get, path = "/api/v1/busy-hours", tag = "automation", responses((status = 200, body = BusyHours)))]
pub async fn busy_hours(State(state): State<AppState>) -> Result<axum::Json<BusyHours>, Problem> {
    let hours = settings::get(&mut *state.db.reader().await?, settings::BUSY_HOURS).await?;
    Ok(axum::Json(BusyHours { hours: hours.unwrap_or_default() }))
}

/// Sets the busy hours.
#[utoipa::path(put, path = "/api/v1/busy-hours", tag = "automation", request_body = BusyHours,
    responses((status = 200, body = BusyHours), (status = 422, description = "A field does not fit")))]
pub async fn set_busy_hours(
    State(state): State<AppState>,
    principal: Principal,
    Json(wanted): Json<BusyHours>,
) -> Result<axum::Json<BusyHours>, Problem> {
    let set = decide::set_busy_hours(&state.decide(), &wanted.hours, &principal.person()).await;
    set.map_err(|error| match Problem::from(error) {
        problem if problem.field.is_some() => problem.about("hours"),
        problem => problem,
    })?;
    Ok(axum::Json(wanted))
}
