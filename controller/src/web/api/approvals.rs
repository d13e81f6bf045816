//! Decisions of people about what waits for them.

use axum::extract::State;
use serde::Deserialize;
use sysop_common::ids::OrderId;
use utoipa::ToSchema;

use super::runs::RunBody;
use crate::decide;
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::extract::{Id, Json};
use crate::web::state::AppState;

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// It may run.
    Approve,
    /// It may not.
    Reject,
}

/// A decision.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Yes or no.
    decision: Choice,
    /// Why, for the record.
    #[serde(default)]
    #[schema(max_length = 500)]
    comment: String,
}

/// Approves or rejects a run that waits.
#[utoipa::path(post, path = "/api/v1/approvals/{run}", tag = "runs", params(("run" = String, Path, format = "uuid")), request_body = Decision,
    responses((status = 200, body = RunBody), (status = 403, description = "Nobody approves their own proposal of high risk"),
        (status = 404, description = "No such run"), (status = 409, description = "It does not wait")))]
pub async fn decide(
    State(state): State<AppState>,
    principal: Principal,
    Id(run): Id<OrderId>,
    Json(decision): Json<Decision>,
) -> Result<axum::Json<RunBody>, Problem> {
    if decision.comment.chars().count() > 500 {
        return Err(Problem::invalid("comment", "must have at most 500 characters"));
    }
    let (ctx, person) = (state.decide(), principal.person());
    let run = match decision.decision {
        Choice::Approve => decide::approve(&ctx, run, &person).await?,
        Choice::Reject => decide::reject(&ctx, run, &person, &decision.comment).await?,
    };
    Ok(axum::Json(run.into()))
}
