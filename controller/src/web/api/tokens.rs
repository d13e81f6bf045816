//! Tokens for programs.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sysop_common::time::UnixMs;
use utoipa::ToSchema;

use super::{List, Paging, RoleWord};
use crate::audit::Record;
use crate::store::api_tokens::{self, ApiToken, NewApiToken};
use crate::store::users::{NAME_RULE, valid_name};
use crate::web::auth::{Principal, secret};
use crate::web::error::Problem;
use crate::web::extract::{Id, Json, Params};
use crate::web::idempotency::ShownOnce;
use crate::web::state::AppState;

/// A token, without what opens the door.
#[derive(Debug, Serialize, ToSchema)]
pub struct Token {
    id: String,
    name: String,
    role: RoleWord,
    created_by: String,
    created_at: i64,
    /// End of its life; null for none.
    expires_at: Option<i64>,
    /// Last use, to the minute.
    last_used: Option<i64>,
    revoked_at: Option<i64>,
}

impl From<ApiToken> for Token {
    fn from(token: ApiToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            role: token.role.into(),
            created_by: token.created_by,
            created_at: token.created_at.0,
            expires_at: token.expires_at.map(|at| at.0),
            last_used: token.last_used.map(|at| at.0),
            revoked_at: token.revoked_at.map(|at| at.0),
        }
    }
}

/// Tokens, oldest first.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", params(Paging), responses((status = 200, body = List<Token>)))]
pub async fn list(
    State(state): State<AppState>,
    Params(paging): Params<Paging>,
) -> Result<axum::Json<List<Token>>, Problem> {
    let found = api_tokens::list(&state.db, &paging.after.0, paging.limit.0 + 1).await?;
    Ok(axum::Json(List::cut(found, paging.limit, |token| token.id.clone())))
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Name, for people: small letters, digits, `.`, `_`, `-`.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// What its holder may do.
    pub role: RoleWord,
    /// End of its life, ms since 1970; without it the token lives until it is revoked.
    pub expires_at: Option<i64>,
}

/// A new token. `token` is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeToken {
    #[serde(flatten)]
    about: Token,
    /// What the program sends as `Authorization: Bearer …`. Only its hash is stored.
    token: String,
}

/// Makes a token in the name of the one who asks.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = NewToken,
    responses((status = 201, body = MadeToken), (status = 422, description = "A field does not fit")))]
pub async fn create(
    State(state): State<AppState>,
    principal: Principal,
    Json(new): Json<NewToken>,
) -> Result<Response, Problem> {
    let (made, token) = make(&state, &principal, &new).await?;
    let about = Token::from(made);
    let mut kept = serde_json::to_value(&about).map_err(Problem::internal)?;
    kept["token"] = serde_json::Value::Null;
    let mut response = (StatusCode::CREATED, axum::Json(MadeToken { about, token })).into_response();
    response.extensions_mut().insert(ShownOnce(kept.to_string()));
    Ok(response)
}

/// Makes a token, on the record: what is stored of it, and its text, which is not.
///
/// # Errors
/// Names the field.
pub async fn make(
    state: &AppState,
    principal: &Principal,
    new: &NewToken,
) -> Result<(ApiToken, String), Problem> {
    let now = state.now();
    if !valid_name(&new.name) {
        return Err(Problem::invalid("name", NAME_RULE));
    }
    if new.expires_at.is_some_and(|at| at <= now.0) {
        return Err(Problem::invalid("expires_at", "must lie in the future, in ms since 1970"));
    }
    let (token, hash) = secret::api_token()?;
    let about = NewApiToken {
        hash: &hash,
        name: &new.name,
        role: new.role.into(),
        created_by: &principal.maker(),
        expires_at: new.expires_at.map(UnixMs),
    };
    let mut tx = state.db.begin().await?;
    let made = api_tokens::create(&mut tx, about, now).await?;
    let detail = json!({ "name": made.name, "role": made.role, "expires_at": made.expires_at });
    let record = Record::new(principal.actor(), "token.create", format!("token:{}", made.id), detail);
    state.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    Ok((made, token))
}

/// Revokes a token; its streams end within a second.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path, description = "The token's id")),
    responses((status = 204), (status = 404, description = "No such token")))]
pub async fn revoke(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<String>,
) -> Result<StatusCode, Problem> {
    end(&state, &principal, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revokes a token, on the record; gives its name.
///
/// # Errors
/// When there is none.
pub async fn end(state: &AppState, principal: &Principal, id: &str) -> Result<String, Problem> {
    let mut tx = state.db.begin().await?;
    let name = api_tokens::revoke(&mut tx, id, state.now()).await?;
    let record =
        Record::new(principal.actor(), "token.revoke", format!("token:{id}"), json!({ "name": name }));
    state.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    state.ended.wake();
    Ok(name)
}
