//! The audit chain's records.

use std::str::FromStr;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sysop_common::ids::ControllerId;
use sysop_common::time::UnixMs;
use utoipa::{IntoParams, ToSchema};

use super::{Limit, List, Text};
use crate::store::audit::{self, AuditCursor, AuditFilter, AuditRow};
use crate::web::error::Problem;
use crate::web::extract::Params;
use crate::web::state::AppState;

/// A record.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordBody {
    /// Whose chain.
    #[schema(value_type = String, format = "uuid")]
    controller: ControllerId,
    /// Number within it.
    seq: u64,
    at: i64,
    /// `user:…`, `token:…`, `policy`, `system`, …
    actor: String,
    /// `run.approve`, `session.open`, …
    action: String,
    /// `run:…`, `host:…`, `user:…`, …
    object: String,
    #[schema(value_type = Object)]
    detail: Value,
    /// Hash of the record before.
    previous: String,
    /// Hash of this record.
    hash: String,
}

impl From<AuditRow> for RecordBody {
    fn from(row: AuditRow) -> Self {
        Self {
            controller: row.controller,
            seq: row.seq,
            at: row.at.0,
            actor: row.actor,
            action: row.action,
            object: row.object,
            detail: serde_json::from_str(&row.detail).unwrap_or(Value::String(row.detail)),
            previous: row.previous.to_string(),
            hash: row.hash.to_string(),
        }
    }
}

/// A place in the list, as text.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Place(pub AuditCursor);

impl TryFrom<String> for Place {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let must = "must be the next of the part before";
        let mut parts = text.splitn(3, '.');
        let (at, seq, controller) =
            (parts.next().unwrap_or_default(), parts.next().ok_or(must)?, parts.next().ok_or(must)?);
        Ok(Self(AuditCursor {
            at: UnixMs(at.parse().map_err(|_| must)?),
            seq: seq.parse().map_err(|_| must)?,
            controller: ControllerId::from_str(controller).map_err(|_| must)?,
        }))
    }
}

/// The place after `row`.
#[must_use]
pub fn place_of(row: &AuditRow) -> String {
    format!("{}.{}.{}", row.at.0, row.seq, row.controller)
}

/// Which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Of one object only: `run:…`.
    #[param(max_length = 256)]
    #[param(value_type = Option<String>)]
    object: Option<Text<256>>,
    /// By one actor only: `user:ann`.
    #[param(max_length = 256)]
    #[param(value_type = Option<String>)]
    actor: Option<Text<256>>,
    /// With one action only: `run.approve`.
    #[param(max_length = 64)]
    #[param(value_type = Option<String>)]
    action: Option<Text<64>>,
    /// How many: 1 to 200, else 50.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// `next` of the part before.
    #[param(value_type = Option<String>)]
    after: Option<Place>,
}

/// Records of all chains, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(AuditQuery), responses((status = 200, body = List<RecordBody>)))]
pub async fn list(
    State(state): State<AppState>,
    Params(query): Params<AuditQuery>,
) -> Result<axum::Json<List<RecordBody>>, Problem> {
    let filter = AuditFilter {
        object: query.object.map(|text| text.0),
        actor: query.actor.map(|text| text.0),
        action: query.action.map(|text| text.0),
        after: query.after.map(|place| place.0),
        limit: query.limit.0 + 1,
    };
    let found = audit::list(&state.db, &filter).await?;
    Ok(axum::Json(List::cut(found, query.limit, place_of)))
}
