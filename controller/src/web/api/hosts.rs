//! Hosts: what they are, how they do, their labels.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;
use utoipa::{IntoParams, ToSchema};

use super::{Limit, List, Text};
use crate::audit::Record;
use crate::store::certificates;
use crate::store::hosts::{self, HostFilter, HostStatus};
use crate::store::presence::Carrier;
use crate::store::{Tx, labels};
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::extract::{Id, Json, Params};
use crate::web::state::AppState;
use crate::web::summary::{self, Summary};

/// Values of the newest sample that a list shows.
const VALUES: [&str; 9] = [
    "cpu.usage",
    "memory.used_ratio",
    "swap.used_ratio",
    "load.1",
    "load.5",
    "load.15",
    "psi.cpu.some",
    "psi.memory.some",
    "psi.io.some",
];

/// How a host is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A session is live, or a sample came within 2.5 intervals.
    Online,
    /// Neither, but not for long.
    Stale,
    /// Nothing for 90 s.
    Offline,
    /// Reached without an agent.
    Agentless,
}

impl From<HostStatus> for Status {
    fn from(status: HostStatus) -> Self {
        match status {
            HostStatus::Online => Self::Online,
            HostStatus::Stale => Self::Stale,
            HostStatus::Offline => Self::Offline,
            HostStatus::Agentless => Self::Agentless,
        }
    }
}

/// The newest sample in short.
#[derive(Debug, Serialize, ToSchema)]
pub struct LatestValues {
    /// When it was taken, on the controller's clock.
    at: i64,
    /// Values by metric; one that is not observed is not here.
    values: BTreeMap<&'static str, f64>,
    /// Used part of each file system, 0 to 1, fullest first.
    filesystems: Vec<FilesystemUse>,
}

/// How full a file system is.
#[derive(Debug, Serialize, ToSchema)]
pub struct FilesystemUse {
    mount: String,
    used_ratio: f64,
}

/// A host.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostBody {
    #[schema(value_type = String, format = "uuid")]
    id: HostId,
    name: String,
    status: Status,
    /// When it was last heard of; null for never.
    last_seen: Option<i64>,
    /// Its labels.
    labels: BTreeMap<String, String>,
    /// Its newest sample; null before the first.
    latest: Option<LatestValues>,
}

impl From<Summary> for HostBody {
    fn from(summary: Summary) -> Self {
        let present = |name: &&'static str| Some((*name, summary.latest.as_ref()?.value(name, "")?));
        let latest = summary.latest.as_ref().map(|latest| LatestValues {
            at: latest.now.at.0,
            values: VALUES.iter().filter_map(present).collect(),
            filesystems: summary
                .filesystems()
                .into_iter()
                .map(|(mount, used_ratio)| FilesystemUse { mount, used_ratio })
                .collect(),
        });
        Self {
            id: summary.host.id,
            status: summary.status.into(),
            last_seen: summary.seen.map(|at| at.0),
            labels: summary.host.labels.into_iter().map(|(name, label)| (name, label.value)).collect(),
            name: summary.host.name,
            latest,
        }
    }
}

/// Which hosts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HostsQuery {
    /// Only those with this label: `role`, or `role=web`.
    #[param(max_length = 257)]
    #[param(value_type = Option<String>)]
    label: Option<Text<257>>,
    /// Only those whose name contains this.
    #[param(max_length = 128)]
    #[param(value_type = Option<String>)]
    q: Option<Text<128>>,
    /// Only those that do so.
    #[param(inline)]
    status: Option<Status>,
    /// How many: 1 to 200, else 50.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// `next` of the part before.
    #[param(value_type = Option<String>, format = "uuid")]
    after: Option<HostId>,
}

/// Hosts, in the order in which they came.
#[utoipa::path(get, path = "/api/v1/hosts", tag = "hosts", params(HostsQuery), responses((status = 200, body = List<HostBody>)))]
pub async fn list(
    State(state): State<AppState>,
    Params(query): Params<HostsQuery>,
) -> Result<axum::Json<List<HostBody>>, Problem> {
    let label = query.label.map(|Text(label)| match label.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (label, None),
    });
    let mut filter = HostFilter {
        after: query.after,
        label,
        name: query.q.map(|text| text.0),
        removed: false,
        // Whoever filters by what the store does not know reads larger pages of it.
        limit: if query.status.is_some() { 200 } else { query.limit.0 + 1 },
    };
    let mut found = Vec::new();
    loop {
        let page = hosts::list(&state.db, &filter).await?;
        let last = page.len() < filter.limit as usize;
        filter.after = page.last().map(|host| host.id);
        let page = page.into_iter().map(|host| Summary::of(&state, host));
        found.extend(page.filter(|one| query.status.is_none_or(|status| status == one.status.into())));
        if last || found.len() > query.limit.0 as usize {
            return Ok(axum::Json(List::cut(found, query.limit, |one| one.host.id.to_string())));
        }
    }
}

/// A host with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostDetail {
    #[serde(flatten)]
    host: HostBody,
    enrolled_at: i64,
    agent_version: String,
    /// Labels that an admin set: only these may select for rights and automation.
    admin_labels: Vec<String>,
    /// Whether an admin called it critical: raises the risk of every action on it.
    critical: bool,
    /// How its session is carried; null while it has none.
    #[schema(value_type = Option<String>)]
    carrier: Option<Carrier>,
    /// When the certificate that it uses ends; null when it has none that stands.
    certificate_until: Option<i64>,
    /// What it said it is.
    #[schema(value_type = Object)]
    inventory: serde_json::Value,
}

async fn detail(state: &AppState, id: HostId) -> Result<HostDetail, Problem> {
    let summary = summary::one(state, id).await?;
    let now = state.now();
    let certificates = certificates::of_host(&state.db, id).await?;
    let standing = certificates.iter().filter(|one| one.revoked_at.is_none() && one.not_after > now);
    let host = &summary.host;
    Ok(HostDetail {
        enrolled_at: host.created_at.0,
        agent_version: host.agent_version.clone(),
        admin_labels: host.labels.iter().filter(|(_, l)| l.admin).map(|(name, _)| name.clone()).collect(),
        critical: host.criticality > 0,
        carrier: summary.session.map(|session| session.carrier),
        certificate_until: standing.map(|one| one.not_after.0).max(),
        inventory: serde_json::to_value(&host.inventory).map_err(Problem::internal)?,
        host: summary.into(),
    })
}

/// One host.
#[utoipa::path(get, path = "/api/v1/hosts/{id}", tag = "hosts", params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = HostDetail), (status = 404, description = "No such host")))]
pub async fn get(
    State(state): State<AppState>,
    Id(id): Id<HostId>,
) -> Result<axum::Json<HostDetail>, Problem> {
    detail(&state, id).await.map(axum::Json)
}

/// A change of a host.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HostChange {
    /// Another name, 1 to 128 bytes.
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    /// All labels that admins give it, in place of those before. Names that begin with `host.` are the agent's.
    labels: Option<BTreeMap<String, String>>,
    /// Whether it is critical.
    critical: Option<bool>,
}

/// Changes a host's name, labels, or how critical it is.
#[utoipa::path(patch, path = "/api/v1/hosts/{id}", tag = "hosts", params(("id" = String, Path, format = "uuid")), request_body = HostChange,
    responses((status = 200, body = HostDetail), (status = 404, description = "No such host"), (status = 422, description = "A field does not fit")))]
pub async fn change(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<HostId>,
    Json(change): Json<HostChange>,
) -> Result<axum::Json<HostDetail>, Problem> {
    if change.name.is_none() && change.labels.is_none() && change.critical.is_none() {
        return Err(Problem::invalid("name", "or labels or critical must be given"));
    }
    if change.name.as_ref().is_some_and(|name| !is_name(name)) {
        return Err(Problem::invalid("name", "must be 1 to 128 bytes without control characters"));
    }
    check_labels(change.labels.as_ref())?;
    let before = summary::one(&state, id).await?.host;
    let mut tx = state.db.begin().await?;
    if let Some(name) = &change.name {
        hosts::rename(&mut tx, id, name.trim()).await?;
    }
    if let Some(labels) = &change.labels {
        labels::set_labels(&mut tx, id, labels).await?;
    }
    if let Some(critical) = change.critical {
        hosts::set_criticality(&mut tx, id, u8::from(critical)).await?;
    }
    let was: BTreeMap<_, _> =
        before.labels.iter().filter(|(_, l)| l.admin).map(|(name, l)| (name, &l.value)).collect();
    let detail_of = json!({ "name": change.name, "labels": change.labels, "critical": change.critical,
        "was": { "name": before.name, "labels": was, "critical": before.criticality > 0 } });
    commit(&state, tx, &principal, "host.change", id, detail_of).await?;
    state.wakes.hosts.wake();
    state.wakes.decide.wake();
    detail(&state, id).await.map(axum::Json)
}

fn is_name(name: &str) -> bool {
    let trimmed = name.trim();
    !trimmed.is_empty() && name.len() <= hosts::MAX_NAME && !name.chars().any(char::is_control)
}

/// Checks labels that an admin gives.
///
/// # Errors
/// Names the field.
pub fn check_labels(given: Option<&BTreeMap<String, String>>) -> Result<(), Problem> {
    let Some(given) = given else { return Ok(()) };
    let texts = given.iter().flat_map(|(name, value)| [name, value]);
    if texts.into_iter().any(|text| text.chars().any(char::is_control)) {
        return Err(Problem::invalid("labels", "must not hold control characters"));
    }
    labels::check_labels(given).map_err(|e| Problem::invalid("labels", format!("do not fit: {e}")))
}

/// Removes a host: its certificates are revoked, its session ends, its history stays.
#[utoipa::path(delete, path = "/api/v1/hosts/{id}", tag = "hosts", params(("id" = String, Path, format = "uuid")),
    responses((status = 204), (status = 404, description = "No such host")))]
pub async fn remove(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<HostId>,
) -> Result<StatusCode, Problem> {
    let name = summary::one(&state, id).await?.host.name;
    let mut tx = state.db.begin().await?;
    hosts::remove(&mut tx, id, &principal.actor(), state.now()).await?;
    commit(&state, tx, &principal, "host.remove", id, json!({ "name": name })).await?;
    state.wakes.revoked.wake();
    state.wakes.hosts.wake();
    Ok(StatusCode::NO_CONTENT)
}

/// What a revocation did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Revoked {
    /// How many certificates there were to revoke.
    certificates: u64,
}

/// Revokes a host's certificates: its session ends at once. It comes back by a recovery token.
#[utoipa::path(post, path = "/api/v1/hosts/{id}/revoke", tag = "hosts", params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = Revoked), (status = 404, description = "No such host")))]
pub async fn revoke(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<HostId>,
) -> Result<axum::Json<Revoked>, Problem> {
    summary::one(&state, id).await?;
    let now: UnixMs = state.now();
    let mut tx = state.db.begin().await?;
    let certificates = certificates::revoke_host(&mut tx, id, &principal.actor(), now).await?;
    commit(&state, tx, &principal, "host.revoke", id, json!({ "certificates": certificates })).await?;
    state.wakes.revoked.wake();
    state.wakes.hosts.wake();
    Ok(axum::Json(Revoked { certificates }))
}

/// Ends a transaction with the record of what it did.
async fn commit(
    state: &AppState,
    mut tx: Tx,
    principal: &Principal,
    action: &'static str,
    host: HostId,
    detail: serde_json::Value,
) -> Result<(), Problem> {
    let record = Record::new(principal.actor(), action, format!("host:{host}"), detail);
    state.audit.append(&mut tx, &record).await?;
    Ok(tx.commit().await?)
}
