//! Why a rule fires on a host, or does not.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use sysop_common::ids::HostId;
use utoipa::{IntoParams, ToSchema};

use crate::rules::board::{self, Board};
use crate::rules::explain::{self, Explanation, Mute, Part};
use crate::rules::standing::{Compiled, Truth};
use crate::rules::state::Phase;
use crate::store::{hosts, rules};
use crate::web::api::Text;
use crate::web::error::Problem;
use crate::web::extract::Params;
use crate::web::state::AppState;

/// A part of a condition.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartBody {
    /// As it is written.
    text: String,
    /// What it comes to, in words.
    value: String,
    /// How deep it stands.
    depth: usize,
    /// For a condition: whether it holds; null for numbers and for what is unknown.
    holds: Option<bool>,
}

impl From<Part> for PartBody {
    fn from(part: Part) -> Self {
        Self { text: part.text, value: part.value, depth: part.depth, holds: part.holds }
    }
}

/// One label of a rule on a host.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceBody {
    /// The label; empty where the rule leaves none open.
    label: String,
    /// `yes`, `no` or `unknown`: whether its condition holds.
    truth: &'static str,
    /// Why it is unknown.
    reason: Option<String>,
    /// `quiet`, `pending` or `firing`.
    phase: &'static str,
    /// Since when its condition holds, where it is pending or firing.
    since: Option<i64>,
    /// When its condition was last seen to hold.
    last_true: Option<i64>,
}

/// A sample: its time and the values of the columns, in words.
#[derive(Debug, Serialize, ToSchema)]
pub struct SampleBody {
    /// When.
    at: i64,
    /// Values, in the order of `columns`.
    values: Vec<String>,
}

/// Why a rule fires on a host, or does not.
#[derive(Debug, Serialize, ToSchema)]
pub struct WhyBody {
    /// The rule.
    rule: i64,
    /// The host.
    #[schema(value_type = String, format = "uuid")]
    host: HostId,
    /// `fires`, `pending`, `unknown`, `muted`, `fine`, `off` or `out_of_scope`.
    state: &'static str,
    /// Why, in a sentence.
    sentence: String,
    /// Time of the sample that this rests on.
    evaluated_at: Option<i64>,
    /// How long its condition must hold, in ms.
    for_ms: i64,
    /// End of a maintenance window that holds.
    maintenance_until: Option<i64>,
    /// By label.
    instances: Vec<InstanceBody>,
    /// The label that parts and samples are about.
    label: String,
    /// Parts of the condition with their values.
    parts: Vec<PartBody>,
    /// Parts of what ends it.
    clear: Vec<PartBody>,
    /// Names of the series.
    columns: Vec<String>,
    /// Samples in its window, newest first.
    samples: Vec<SampleBody>,
}

/// Which label.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// The label whose parts are shown, such as a mount point; else the worst.
    #[serde(default)]
    #[param(value_type = Option<String>, max_length = 160)]
    pub label: Text<160>,
}

/// A rule on a host, looked at now.
pub(in crate::web) struct Looked {
    pub(in crate::web) compiled: Compiled,
    pub(in crate::web) placed: board::Placed,
    pub(in crate::web) cell: board::Cell,
    pub(in crate::web) sentence: String,
    pub(in crate::web) explanation: Explanation,
    pub(in crate::web) host: hosts::Host,
}

/// Looks at one rule on one host.
pub(in crate::web) async fn looked(
    state: &AppState,
    id: i64,
    host: HostId,
    label: &str,
) -> Result<Looked, Problem> {
    let found = rules::get(&mut *state.db.reader().await?, id).await?;
    let rule = found.ok_or_else(|| Problem::not_found("rule"))?;
    let host = hosts::get(&state.db, host).await?;
    let now = state.now();
    let board = Board::of(vec![rule], &state.db, now).await?;
    let of_host = board.host(&state.db, &state.samples, host.id).await?;
    let placed = of_host.placed.into_iter().next().ok_or_else(|| Problem::not_found("rule"))?;
    let compiled = board.rules()[0].clone();
    let label = Some(label).filter(|label| !label.is_empty());
    let focus = explain::focus(&placed.standing, label).map(|cell| cell.label.clone()).unwrap_or_default();
    let explanation = explain::explain(&compiled, &of_host.ticks, &focus);
    let sentence = explain::sentence(&compiled, &placed.standing, &placed.mute, now);
    Ok(Looked { cell: board::cell(&placed, now), compiled, placed, sentence, explanation, host })
}

/// A rule and a host, out of an address.
pub(in crate::web) fn both(
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<(i64, HostId), Problem> {
    let Path((id, host)) = path.map_err(|_| Problem::malformed("the address is not readable"))?;
    let id = id.parse().map_err(|e| Problem::invalid("id", format!("is not one: {e}")))?;
    let host = host.parse().map_err(|e| Problem::invalid("host", format!("is not an id: {e}")))?;
    Ok((id, host))
}

/// Why a rule fires on a host, or does not: samples, the value of each part, how long it has held, what
/// mutes it.
#[utoipa::path(get, path = "/api/v1/rules/{id}/hosts/{host}", tag = "rules",
    params(("id" = i64, Path), ("host" = String, Path, format = "uuid"), Which),
    responses((status = 200, body = WhyBody), (status = 404, description = "No such rule or host")))]
pub async fn why(
    State(state): State<AppState>,
    path: Result<Path<(String, String)>, PathRejection>,
    Params(which): Params<Which>,
) -> Result<axum::Json<WhyBody>, Problem> {
    let (id, host) = both(path)?;
    let found = looked(&state, id, host, &which.label.0).await?;
    let instance = |cell: &crate::rules::Cell| {
        let (truth, reason) = match &cell.truth {
            Truth::Yes => ("yes", None),
            Truth::No => ("no", None),
            Truth::Unknown(reason) => ("unknown", Some(reason.to_string())),
        };
        let (phase, since, last_true) = match cell.phase {
            None => ("quiet", None, None),
            Some(Phase::Pending { since }) => ("pending", Some(since.0), None),
            Some(Phase::Firing { onset, last_true, .. }) => ("firing", Some(onset.0), Some(last_true.0)),
        };
        InstanceBody { label: cell.label.clone(), truth, reason, phase, since, last_true }
    };
    let until = match found.placed.mute {
        Mute::Maintenance(until) => Some(until.0),
        _ => None,
    };
    let told = found.explanation;
    Ok(axum::Json(WhyBody {
        rule: id,
        host: found.host.id,
        state: found.cell.state.word(),
        sentence: found.sentence,
        evaluated_at: found.placed.standing.at.map(|at| at.0),
        for_ms: found.compiled.rule.definition.for_ms,
        maintenance_until: until,
        instances: found.placed.standing.cells.iter().map(instance).collect(),
        label: told.label,
        parts: told.parts.into_iter().map(PartBody::from).collect(),
        clear: told.clear.into_iter().map(PartBody::from).collect(),
        columns: told.columns,
        samples: told.rows.into_iter().map(|(at, values)| SampleBody { at: at.0, values }).collect(),
    }))
}
