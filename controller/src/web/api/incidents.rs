//! Incidents: what was found, and who knows of it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use sysop_common::finding::{Category, Finding, Offer, Severity};
use sysop_common::ids::HostId;
use utoipa::{IntoParams, ToSchema};

use super::{Limit, List};
use crate::decide;
use crate::store::incidents::{self, Incident, IncidentFilter};
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::extract::{Id, Params};
use crate::web::state::AppState;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SeverityWord {
    /// Worth knowing.
    Info,
    /// Will become trouble, or is trouble for a part.
    Warning,
    /// Is trouble now.
    Critical,
}

impl From<Severity> for SeverityWord {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Critical => Self::Critical,
        }
    }
}

impl From<SeverityWord> for Severity {
    fn from(severity: SeverityWord) -> Self {
        match severity {
            SeverityWord::Info => Self::Info,
            SeverityWord::Warning => Self::Warning,
            SeverityWord::Critical => Self::Critical,
        }
    }
}

/// Open or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IncidentState {
    /// The trouble holds.
    Open,
    /// It is over.
    Closed,
}

/// An incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentBody {
    id: i64,
    /// Null for trouble of the fleet.
    #[schema(value_type = Option<String>, format = "uuid")]
    host: Option<HostId>,
    state: IncidentState,
    /// `unit_failed`, `disk_fill`, …
    #[schema(value_type = String)]
    category: Category,
    /// Of what: unit, mount point, `host`, `fleet`.
    entity: String,
    severity: SeverityWord,
    title: String,
    /// Why; empty when it is not known.
    cause: String,
    /// How sure, in percent.
    confidence: u8,
    opened_at: i64,
    updated_at: i64,
    /// When any of it was last seen to hold.
    last_true: i64,
    closed_at: Option<i64>,
    close_why: Option<String>,
    acked_by: Option<String>,
    acked_at: Option<i64>,
    /// 1, and one more each time that it came back within an hour.
    opens: u32,
    /// Findings with their evidence, the root first.
    #[schema(value_type = Vec<Object>)]
    findings: Vec<Finding>,
    /// What may be done about it, best first.
    #[schema(value_type = Vec<Object>)]
    offers: Vec<Offer>,
}

impl From<Incident> for IncidentBody {
    fn from(one: Incident) -> Self {
        Self {
            id: one.id,
            host: one.host,
            state: if one.closed_at.is_some() { IncidentState::Closed } else { IncidentState::Open },
            category: one.category,
            entity: one.entity,
            severity: one.severity.into(),
            title: one.title,
            cause: one.cause,
            confidence: one.confidence,
            opened_at: one.opened_at.0,
            updated_at: one.updated_at.0,
            last_true: one.last_true.0,
            closed_at: one.closed_at.map(|at| at.0),
            close_why: one.close_why,
            acked_by: one.acked_by,
            acked_at: one.acked_at.map(|at| at.0),
            opens: one.opens,
            findings: one.findings,
            offers: one.offers,
        }
    }
}

/// Which incidents.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct IncidentsQuery {
    /// Of one host only.
    #[param(value_type = Option<String>, format = "uuid")]
    host: Option<HostId>,
    /// Open or closed ones only.
    #[param(inline)]
    state: Option<IncidentState>,
    /// Of at least this severity.
    #[param(inline)]
    severity: Option<SeverityWord>,
    /// How many: 1 to 200, else 50.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// `next` of the part before.
    after: Option<i64>,
}

/// Incidents, newest first.
#[utoipa::path(get, path = "/api/v1/incidents", tag = "incidents", params(IncidentsQuery), responses((status = 200, body = List<IncidentBody>)))]
pub async fn list(
    State(state): State<AppState>,
    Params(query): Params<IncidentsQuery>,
) -> Result<axum::Json<List<IncidentBody>>, Problem> {
    let filter = IncidentFilter {
        host: query.host,
        open: query.state.map(|state| state == IncidentState::Open),
        severity: query.severity.map(Into::into),
        before: query.after,
        limit: query.limit.0 + 1,
    };
    let found = incidents::list(&state.db, filter).await?;
    Ok(axum::Json(List::cut(found, query.limit, |one| one.id.to_string())))
}

async fn body(state: &AppState, id: i64) -> Result<IncidentBody, Problem> {
    let found = incidents::find(&state.db, id).await?.ok_or_else(|| Problem::not_found("incident"))?;
    Ok(found.into())
}

/// One incident.
#[utoipa::path(get, path = "/api/v1/incidents/{id}", tag = "incidents", params(("id" = i64, Path)),
    responses((status = 200, body = IncidentBody), (status = 404, description = "No such incident")))]
pub async fn get(
    State(state): State<AppState>,
    Id(id): Id<i64>,
) -> Result<axum::Json<IncidentBody>, Problem> {
    body(&state, id).await.map(axum::Json)
}

/// Notes that the one who asks knows of an incident. The first who says so stays.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/ack", tag = "incidents", params(("id" = i64, Path)),
    responses((status = 200, body = IncidentBody), (status = 404, description = "No such incident")))]
pub async fn ack(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<i64>,
) -> Result<axum::Json<IncidentBody>, Problem> {
    decide::ack_incident(&state.decide(), id, &principal.person()).await?;
    body(&state, id).await.map(axum::Json)
}
