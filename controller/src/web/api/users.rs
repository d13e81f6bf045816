//! Users of the dashboard.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{List, Paging, RoleWord};
use crate::audit::Record;
use crate::store::users::{self, NAME_RULE, NewUser, valid_name};
use crate::web::auth::Principal;
use crate::web::auth::sign_in::check_new;
use crate::web::error::Problem;
use crate::web::extract::{Id, Json, Params};
use crate::web::state::AppState;

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    id: String,
    name: String,
    role: RoleWord,
    /// Whether the password must be changed at the next sign-in.
    must_change: bool,
    created_at: i64,
    /// Since when the user may not sign in; null while it may.
    disabled_at: Option<i64>,
}

impl From<users::User> for User {
    fn from(user: users::User) -> Self {
        Self {
            id: user.id,
            name: user.name,
            role: user.role.into(),
            must_change: user.must_change,
            created_at: user.created_at.0,
            disabled_at: user.disabled_at.map(|at| at.0),
        }
    }
}

/// Users by name.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", params(Paging), responses((status = 200, body = List<User>)))]
pub async fn list(
    State(state): State<AppState>,
    Params(paging): Params<Paging>,
) -> Result<axum::Json<List<User>>, Problem> {
    let found = users::list(&state.db, &paging.after.0, paging.limit.0 + 1).await?;
    Ok(axum::Json(List::cut(found, paging.limit, |user| user.name.clone())))
}

/// A user to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUserBody {
    /// Sign-in name: small letters, digits, `.`, `_`, `-`.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// First password, to be changed at the first sign-in; at least 12 characters.
    #[schema(min_length = 12, max_length = 256)]
    pub password: String,
    /// What the user may do.
    pub role: RoleWord,
}

/// Makes a user, who must change the password at the first sign-in.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = NewUserBody,
    responses((status = 201, body = User), (status = 409, description = "The name is taken"), (status = 422, description = "A field does not fit")))]
pub async fn create(
    State(state): State<AppState>,
    principal: Principal,
    Json(new): Json<NewUserBody>,
) -> Result<(StatusCode, axum::Json<User>), Problem> {
    let made = make(&state, &principal, new).await?;
    Ok((StatusCode::CREATED, axum::Json(made.into())))
}

/// Makes a user, on the record.
///
/// # Errors
/// Names the field.
pub async fn make(state: &AppState, principal: &Principal, new: NewUserBody) -> Result<users::User, Problem> {
    if !valid_name(&new.name) {
        return Err(Problem::invalid("name", NAME_RULE));
    }
    check_new(&new.name, &new.password).map_err(|must| Problem::invalid("password", must))?;
    let hash = state.hasher.hash(&new.password).await?;
    let user = NewUser { name: &new.name, password_hash: &hash, role: new.role.into(), must_change: true };
    let mut tx = state.db.begin().await?;
    let made = users::create(&mut tx, user, state.now()).await?;
    let detail = json!({ "role": made.role });
    let record = Record::new(principal.actor(), "user.create", format!("user:{}", made.name), detail);
    state.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    Ok(made)
}

/// A change of a user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Another role.
    pub role: Option<RoleWord>,
    /// Whether the user may not sign in.
    pub disabled: Option<bool>,
}

/// Changes a user's role, or whether it may sign in; its sessions end.
#[utoipa::path(patch, path = "/api/v1/users/{id}", tag = "users", params(("id" = String, Path, description = "The user's id")),
    request_body = Change,
    responses((status = 200, body = User), (status = 404, description = "No such user"), (status = 409, description = "It is the last administrator")))]
pub async fn change(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<String>,
    Json(change): Json<Change>,
) -> Result<axum::Json<User>, Problem> {
    alter(&state, &principal, &id, &change).await.map(|user| axum::Json(user.into()))
}

/// Changes a user, on the record; its sessions end.
///
/// # Errors
/// When there is no such user, or it is the last administrator.
pub async fn alter(
    state: &AppState,
    principal: &Principal,
    id: &str,
    change: &Change,
) -> Result<users::User, Problem> {
    if change.role.is_none() && change.disabled.is_none() {
        return Err(Problem::invalid("role", "or disabled must be given"));
    }
    // Read inside: what another changes meanwhile is not put back.
    let mut tx = state.db.begin().await?;
    let user = users::get(&mut tx, id).await?.ok_or_else(|| Problem::not_found("user"))?;
    let role = change.role.map_or(user.role, Into::into);
    let disabled = change.disabled.unwrap_or(user.disabled_at.is_some());
    let changed = users::change(&mut tx, id, role, disabled, state.now()).await?;
    let detail = json!({ "role": role, "disabled": disabled, "was": { "role": user.role, "disabled": user.disabled_at.is_some() } });
    let record = Record::new(principal.actor(), "user.change", format!("user:{}", user.name), detail);
    state.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    state.ended.wake();
    Ok(changed)
}

/// A password that is set for a user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// It must be changed at the next sign-in; at least 12 characters.
    #[schema(min_length = 12, max_length = 256)]
    password: String,
}

/// Sets another password for a user, who must change it at the next sign-in; its sessions end.
#[utoipa::path(post, path = "/api/v1/users/{id}/password", tag = "users", params(("id" = String, Path, description = "The user's id")),
    request_body = NewPassword,
    responses((status = 200, body = User), (status = 404, description = "No such user"), (status = 422, description = "A field does not fit")))]
pub async fn set_password(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<String>,
    Json(new): Json<NewPassword>,
) -> Result<axum::Json<User>, Problem> {
    reset(&state, &principal, &id, &new.password).await.map(|user| axum::Json(user.into()))
}

/// Sets another password for somebody else, on the record.
///
/// # Errors
/// When there is no such user, it is the one who asks, or the password does not fit.
pub async fn reset(
    state: &AppState,
    principal: &Principal,
    id: &str,
    password: &str,
) -> Result<users::User, Problem> {
    let mut conn = state.db.reader().await?;
    let user = users::get(&mut conn, id).await?.ok_or_else(|| Problem::not_found("user"))?;
    drop(conn);
    if principal.behind == user.name {
        return Err(Problem::conflict("your own password is changed with the present one, under /password"));
    }
    check_new(&user.name, password).map_err(|must| Problem::invalid("password", must))?;
    let hash = state.hasher.hash(password).await?;
    let mut tx = state.db.begin().await?;
    users::set_password(&mut tx, id, &hash, true).await?;
    let object = format!("user:{}", user.name);
    let record = Record::new(principal.actor(), "user.password", object, json!({ "must_change": true }));
    state.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    state.ended.wake();
    Ok(users::User { must_change: true, ..user })
}
