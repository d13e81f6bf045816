//! Enrolment tokens: what a new host needs to come in, and the line that uses it.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sysop_common::action::CATALOGUE;
use sysop_common::ids::HostId;
use utoipa::ToSchema;

use super::hosts::check_labels;
use crate::audit::Record;
use crate::identity::{IdentityError, NewToken, TOKEN_LIFE_MS};
use crate::store::enrollment_tokens::{self, EnrollmentToken};
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::extract::{Id, Json};
use crate::web::idempotency::ShownOnce;
use crate::web::peer::Client;
use crate::web::state::AppState;

/// Group of actions that the enrolment line knows besides those of the catalogue.
const SERVICES: &str = "services";

/// A token to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEnrolment {
    /// Name, for people.
    #[serde(default)]
    #[schema(max_length = 128)]
    pub name: String,
    /// Labels for the hosts that use it. They are an admin's and may select for rights.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What the host's first policy allows: `services`, `restart_service=nginx.service`, … Nothing without it.
    #[serde(default)]
    #[schema(max_items = 32)]
    pub allow: Vec<String>,
    /// How long it lives, in seconds: 60 to 2592000, else 900.
    #[schema(minimum = 60, maximum = 2592000)]
    pub expires_in_s: Option<i64>,
    /// How many hosts may use it: 1 to 10000, else 1.
    #[schema(minimum = 1, maximum = 10000)]
    pub uses: Option<u32>,
    /// The one host that it brings back, with its identity.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub recovers: Option<HostId>,
}

/// A new token. `token` and `command` are shown this once.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MadeEnrolment {
    /// Id of the token; not the token.
    pub id: String,
    /// The token. Only its hash is stored.
    pub token: String,
    /// When it ends.
    pub expires_at: i64,
    /// Where the host must be able to reach us.
    pub controller: String,
    /// What the host pins: SHA-256 of the CA's certificate.
    pub ca_fingerprint: String,
    /// The line to run on the host, as root or with sudo.
    pub command: String,
}

/// Makes a token and its line.
///
/// # Errors
/// Names the field.
pub async fn make(
    state: &AppState,
    principal: &Principal,
    client: &Client,
    new: NewEnrolment,
) -> Result<MadeEnrolment, Problem> {
    check_labels(Some(&new.labels))?;
    if new.name.len() > 128 || new.name.chars().any(char::is_control) {
        return Err(Problem::invalid("name", "must have at most 128 bytes, without control characters"));
    }
    if new.expires_in_s.is_some_and(|s| !(60..=2_592_000).contains(&s)) {
        return Err(Problem::invalid("expires_in_s", "must be 60 to 2592000"));
    }
    if new.uses.is_some_and(|uses| !(1..=10_000).contains(&uses)) {
        return Err(Problem::invalid("uses", "must be 1 to 10000"));
    }
    if new.allow.len() > 32 {
        return Err(Problem::invalid("allow", "must have at most 32 entries"));
    }
    let allow = new.allow.iter().map(|class| quoted_class(class)).collect::<Result<Vec<_>, _>>()?;
    let token = NewToken {
        life_ms: new.expires_in_s.map_or(TOKEN_LIFE_MS, |s| s * 1000),
        max_uses: new.uses.unwrap_or(1),
        labels: new.labels.clone(),
        recovers: new.recovers,
        ..NewToken::single(new.name.clone(), principal.actor())
    };
    let mut tx = state.db.begin().await?;
    let made = state.identity.create_token_in(&mut tx, token, state.now()).await.map_err(|e| match e {
        IdentityError::Store(e) => Problem::from(e),
        e => Problem::internal(e),
    })?;
    let detail = json!({ "name": new.name, "labels": new.labels, "allow": new.allow, "uses": new.uses.unwrap_or(1),
        "recovers": new.recovers, "expires_at": made.expires_at });
    let record = Record::new(
        principal.actor(),
        "enrollment_token.create",
        format!("enrollment_token:{}", made.id),
        detail,
    );
    state.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    let controller = controller_address(state, client);
    let ca_fingerprint = format!("sha256:{}", state.identity.ca_fingerprint());
    let allow: String = allow.iter().map(|class| format!(" --allow {class}")).collect();
    // The executor's door opens only where something is allowed.
    let door = if new.allow.is_empty() { "" } else { " sysop-executor.socket" };
    let command = format!(
        "printf %s {} | sudo sysop-agent enroll --controller {controller} --token-stdin --ca-fingerprint {ca_fingerprint}{allow} \
         && sudo systemctl enable --now sysop-agent{door}",
        made.text
    );
    Ok(MadeEnrolment {
        id: made.id,
        token: made.text,
        expires_at: made.expires_at.0,
        controller,
        ca_fingerprint,
        command,
    })
}

/// A class in the form of the line: known, and nothing in it that a shell would read.
fn quoted_class(class: &str) -> Result<String, Problem> {
    let must = || {
        let names: Vec<_> = CATALOGUE.iter().map(|entry| entry.name).collect();
        Problem::invalid(
            "allow",
            format!("entries must be {SERVICES} or one of {}, perhaps with =TARGET,…", names.join(", ")),
        )
    };
    let (name, targets) = class.split_once('=').unwrap_or((class, "*"));
    let known = name == SERVICES || CATALOGUE.iter().any(|entry| entry.name == name);
    let safe = |b: u8| b.is_ascii_alphanumeric() || b":_.@*?/,-".contains(&b);
    if !known || targets.is_empty() || class.len() > 512 || !targets.bytes().all(safe) {
        return Err(must());
    }
    Ok(if class.contains(['*', '?']) { format!("'{class}'") } else { class.to_owned() })
}

/// Where hosts reach us: as set, else the address of the listener, else the name that the browser used.
#[must_use]
pub fn controller_address(state: &AppState, client: &Client) -> String {
    if let Some(address) = &state.agents.address {
        return address.clone();
    }
    let listen = state.agents.listen;
    if !listen.ip().is_unspecified() {
        return listen.to_string();
    }
    let host = client.host();
    if host.contains(':') {
        format!("[{host}]:{}", listen.port())
    } else {
        format!("{host}:{}", listen.port())
    }
}

/// Makes an enrolment token, and the exact line to run on the host.
#[utoipa::path(post, path = "/api/v1/enrollment-tokens", tag = "hosts", request_body = NewEnrolment,
    responses((status = 201, body = MadeEnrolment), (status = 404, description = "No such host to recover"), (status = 422, description = "A field does not fit")))]
pub async fn create(
    State(state): State<AppState>,
    principal: Principal,
    client: Client,
    Json(new): Json<NewEnrolment>,
) -> Result<Response, Problem> {
    let made = make(&state, &principal, &client, new).await?;
    let kept = json!({ "id": made.id, "token": null, "expires_at": made.expires_at, "controller": made.controller,
        "ca_fingerprint": made.ca_fingerprint, "command": null });
    let mut response = (StatusCode::CREATED, axum::Json(made)).into_response();
    response.extensions_mut().insert(ShownOnce(kept.to_string()));
    Ok(response)
}

/// A token as it is stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct EnrolmentBody {
    id: String,
    name: String,
    created_by: String,
    created_at: i64,
    expires_at: i64,
    max_uses: u32,
    uses: u32,
    labels: BTreeMap<String, String>,
    #[schema(value_type = Option<String>, format = "uuid")]
    recovers: Option<HostId>,
    revoked_at: Option<i64>,
}

impl From<EnrollmentToken> for EnrolmentBody {
    fn from(token: EnrollmentToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            created_by: token.created_by,
            created_at: token.created_at.0,
            expires_at: token.expires_at.0,
            max_uses: token.max_uses,
            uses: token.uses,
            labels: token.labels,
            recovers: token.recovers,
            revoked_at: token.revoked_at.map(|at| at.0),
        }
    }
}

/// The newest 200 enrolment tokens.
#[utoipa::path(get, path = "/api/v1/enrollment-tokens", tag = "hosts", responses((status = 200, body = Vec<EnrolmentBody>)))]
pub async fn list(State(state): State<AppState>) -> Result<axum::Json<Vec<EnrolmentBody>>, Problem> {
    let found = enrollment_tokens::list(&state.db, 200).await?;
    Ok(axum::Json(found.into_iter().map(Into::into).collect()))
}

/// Withdraws an enrolment token: no host comes in by it any more.
///
/// # Errors
/// When there is no such token that stands.
pub async fn withdraw(state: &AppState, principal: &Principal, id: &str) -> Result<(), Problem> {
    let mut tx = state.db.begin().await?;
    enrollment_tokens::revoke(&mut tx, id, state.now()).await?;
    let object = format!("enrollment_token:{id}");
    let record = Record::new(principal.actor(), "enrollment_token.revoke", object, json!({}));
    state.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    Ok(())
}

/// Withdraws an enrolment token.
#[utoipa::path(delete, path = "/api/v1/enrollment-tokens/{id}", tag = "hosts", params(("id" = String, Path)),
    responses((status = 204), (status = 404, description = "No such token that stands")))]
pub async fn revoke(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<String>,
) -> Result<StatusCode, Problem> {
    withdraw(&state, &principal, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::quoted_class;

    #[test]
    fn install_script_is_static_token_via_stdin_and_a_class_cannot_reach_the_shell() {
        assert_eq!(quoted_class("services").unwrap(), "services");
        assert_eq!(
            quoted_class("restart_service=nginx.service,php*-fpm.service").unwrap(),
            "'restart_service=nginx.service,php*-fpm.service'"
        );
        for bad in [
            "",
            "reboot",
            "services=",
            "services=$(id)",
            "services=a b",
            "restart_service='x'",
            "services=a;b",
            "services\n",
        ] {
            assert!(quoted_class(bad).is_err(), "{bad:?}");
        }
    }
}
