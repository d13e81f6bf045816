//! Rules of operators: what must hold, where they stand, and why.

pub mod coverage;
pub mod read;
pub mod tried;
mod words;

use axum::extract::State;
use axum::http::StatusCode;
use utoipa::ToSchema;

pub use coverage::coverage;
pub(in crate::web) use coverage::{Row, board, rows};
pub use read::why;
pub(in crate::web) use read::{Looked, looked};
pub use tried::preview;
pub(in crate::web) use tried::{Tried, history};
pub use words::{NewRule, RuleBody, RuleKind, SeverityWord};

use crate::decide::rules as decide_rules;
use crate::store::rules;
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::extract::{Id, Json};
use crate::web::state::AppState;

/// All rules.
#[derive(Debug, serde::Serialize, ToSchema)]
pub struct RuleList {
    /// The rules, by id; at most 200.
    pub items: Vec<RuleBody>,
}

/// All rules, by id: those that came with the product first.
#[utoipa::path(get, path = "/api/v1/rules", tag = "rules", responses((status = 200, body = RuleList)))]
pub async fn list(State(state): State<AppState>) -> Result<axum::Json<RuleList>, Problem> {
    let found = rules::list(&mut *state.db.reader().await?).await?;
    Ok(axum::Json(RuleList { items: found.into_iter().map(RuleBody::from).collect() }))
}

/// One rule.
#[utoipa::path(get, path = "/api/v1/rules/{id}", tag = "rules", params(("id" = i64, Path)),
    responses((status = 200, body = RuleBody), (status = 404, description = "No such rule")))]
pub async fn get(State(state): State<AppState>, Id(id): Id<i64>) -> Result<axum::Json<RuleBody>, Problem> {
    let found = rules::get(&mut *state.db.reader().await?, id).await?;
    found.map(|rule| axum::Json(rule.into())).ok_or_else(|| Problem::not_found("rule"))
}

/// Makes a rule. With an `Idempotency-Key` the same request again is answered as the first was.
#[utoipa::path(post, path = "/api/v1/rules", tag = "rules", request_body = NewRule,
    responses((status = 201, body = RuleBody), (status = 409, description = "There are 200 already"),
        (status = 422, description = "A field does not fit: it is named, with what it must be")))]
pub async fn create(
    State(state): State<AppState>,
    principal: Principal,
    Json(new): Json<NewRule>,
) -> Result<(StatusCode, axum::Json<RuleBody>), Problem> {
    let written = new.definition()?;
    let made = decide_rules::create_rule(&state.decide(), &written, &principal.person()).await;
    Ok((StatusCode::CREATED, axum::Json(made.map_err(named)?.into())))
}

/// Replaces a rule. One that came with the product can only be switched off or on.
#[utoipa::path(put, path = "/api/v1/rules/{id}", tag = "rules", params(("id" = i64, Path)), request_body = NewRule,
    responses((status = 200, body = RuleBody), (status = 404, description = "No such rule"),
        (status = 409, description = "It came with the product"), (status = 422, description = "A field does not fit")))]
pub async fn change(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<i64>,
    Json(new): Json<NewRule>,
) -> Result<axum::Json<RuleBody>, Problem> {
    let written = new.definition()?;
    let changed = decide_rules::change_rule(&state.decide(), id, &written, &principal.person()).await;
    Ok(axum::Json(changed.map_err(named)?.into()))
}

/// Deletes a rule; its incidents close. One that came with the product stays.
#[utoipa::path(delete, path = "/api/v1/rules/{id}", tag = "rules", params(("id" = i64, Path)),
    responses((status = 204), (status = 404, description = "No such rule"), (status = 409, description = "It came with the product")))]
pub async fn remove(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<i64>,
) -> Result<StatusCode, Problem> {
    decide_rules::remove_rule(&state.decide(), id, &principal.person()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A problem at the field as this API names it: where a scope does not fit, the host or label.
fn named(error: crate::decide::DecideError) -> Problem {
    match Problem::from(error) {
        problem if problem.field.as_deref() == Some("scope") => problem.about("host"),
        problem => problem,
    }
}
