//! What a rule would have done.

use axum::extract::State;
use serde::Serialize;
use sysop_common::ids::HostId;
use sysop_common::time::{DAY_MS, MINUTE_MS, UnixMs};
use utoipa::ToSchema;

use super::NewRule;
use crate::rules::board;
use crate::rules::preview::{self, Preview};
use crate::rules::standing::{Compiled, Subject};
use crate::store::assignments::Selector;
use crate::store::hosts::{self, HostFilter};
use crate::store::rules::{Definition, Rule};
use crate::store::samples::{Resolution, SeriesRequest};
use crate::web::error::Problem;
use crate::web::extract::Json;
use crate::web::state::AppState;

/// How far back a rule is tried over stored series, in ms, and how finely.
const HISTORY_MS: i64 = DAY_MS;
const STEP_MS: i64 = MINUTE_MS;
/// Hosts on which a rule is tried at once.
const TRIED_HOSTS: usize = 5;

/// What a rule would have done on one host.
pub(in crate::web) struct Tried {
    pub(in crate::web) host: HostId,
    pub(in crate::web) name: String,
    pub(in crate::web) preview: Preview,
}

/// Tries a rule over the past of the first hosts that it is about: a day of stored series, or for what must
/// run the samples in memory.
pub(in crate::web) async fn history(
    state: &AppState,
    definition: &Definition,
) -> Result<Vec<Tried>, Problem> {
    let now = state.now();
    let mut rule = Rule {
        id: 0,
        builtin: String::new(),
        definition: definition.clone(),
        version: 0,
        carriers: Vec::new(),
        created_by: String::new(),
        created_at: now,
        updated_by: String::new(),
        updated_at: now,
    };
    let all = hosts::list(&state.db, &HostFilter { limit: 500, ..HostFilter::default() }).await?;
    if let Some(Selector::Label { name, value }) = &definition.scope {
        let carries = |host: &&hosts::Host| {
            host.labels.get(name).is_some_and(|label| label.admin && label.value == *value)
        };
        rule.carriers = all.iter().filter(carries).map(|host| host.id).collect();
        rule.carriers.sort();
    }
    let compiled = Compiled::new(rule);
    let mut tried = Vec::new();
    for host in all.into_iter().filter(|host| compiled.rule.covers(host.id)).take(TRIED_HOSTS) {
        let preview = match &compiled.subject {
            Subject::Expression { .. } => {
                let request = SeriesRequest {
                    host: host.id,
                    metrics: preview::wanted(&compiled),
                    from: now.plus(-HISTORY_MS),
                    to: now,
                    resolution: Resolution::Step(STEP_MS),
                };
                let set = state.samples.series(&request).await?;
                let compiled = compiled.clone();
                let over = tokio::task::spawn_blocking(move || preview::over_series(&compiled, &set));
                over.await.map_err(Problem::internal)?
            }
            _ => preview::over_ticks(&compiled, &board::ticks(&state.samples, host.id, now)),
        };
        tried.push(Tried { host: host.id, name: host.name, preview });
    }
    Ok(tried)
}

/// A time in which it would have fired.
#[derive(Debug, Serialize, ToSchema)]
pub struct FiringBody {
    /// For which label.
    label: String,
    /// From when.
    from: i64,
    /// Until when; null: it would fire now.
    until: Option<i64>,
}

/// What a rule would have done on a host.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriedBody {
    /// The host.
    #[schema(value_type = String, format = "uuid")]
    host: HostId,
    /// Its name.
    name: String,
    /// From when on there is something to look at; null when nothing is stored.
    from: Option<i64>,
    /// How often it would have fired.
    fired: usize,
    /// The first hundred of these times.
    firings: Vec<FiringBody>,
    /// Share of the time in which it would have been unknown, 0 to 1.
    unknown: f64,
}

impl From<Tried> for TriedBody {
    fn from(tried: Tried) -> Self {
        let firing = |firing: &preview::Firing| FiringBody {
            label: firing.label.clone(),
            from: firing.from.0,
            until: firing.until.map(|at: UnixMs| at.0),
        };
        Self {
            host: tried.host,
            name: tried.name,
            from: tried.preview.from.map(|at| at.0),
            fired: tried.preview.firings.len(),
            firings: tried.preview.firings.iter().take(100).map(firing).collect(),
            unknown: tried.preview.unknown,
        }
    }
}

/// What a rule would have done, on the first five hosts that it is about: over a day of stored series, or
/// for what must run over the last 15 minutes. Nothing is stored.
#[utoipa::path(post, path = "/api/v1/rules/preview", tag = "rules", request_body = NewRule,
    responses((status = 200, body = Vec<TriedBody>), (status = 422, description = "A field does not fit")))]
pub async fn preview(
    State(state): State<AppState>,
    Json(new): Json<NewRule>,
) -> Result<axum::Json<Vec<TriedBody>>, Problem> {
    let tried = history(&state, &new.definition()?).await?;
    Ok(axum::Json(tried.into_iter().map(TriedBody::from).collect()))
}
