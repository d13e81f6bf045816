//! Probes: what is asked again and again, how it stands, and tries by hand.

mod fields;

use std::collections::HashMap;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use sysop_common::ids::HostId;
use sysop_common::probe::{Check, Outcome, ProbeId, Reason};
use sysop_common::time::DAY_MS;
use utoipa::ToSchema;

use crate::probe::{self, DeskError};
use crate::store::probes::standing::{self, Standing};
use crate::store::probes::{self, Probe, RunBy, Settings};
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::extract::{Id, Json};
use crate::web::state::AppState;

pub use fields::{KindWord, MethodWord, ProbeFields, RecordWord, SeverityWord};

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Invalid { field, problem } => {
                // The API and the form have one field for what the kinds call differently.
                let field = match field {
                    "address" | "host" if problem.contains("name such as") => "target",
                    "url" => "target",
                    "name" if problem.contains("name such as") => "target",
                    "interval" => "interval_s",
                    "timeout" => "timeout_ms",
                    "run_by" => "run_on_host",
                    other => other,
                };
                Self::invalid(field, problem)
            }
            DeskError::Conflict(why) => Self::conflict(why),
            DeskError::TooMany(seconds) => Self::too_many(DeskError::TooMany(seconds).to_string(), seconds),
            DeskError::Store(error) => error.into(),
        }
    }
}

/// A result.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResultBody {
    /// The host that ran it; null for the controller.
    #[schema(value_type = Option<String>, format = "uuid")]
    host: Option<HostId>,
    at: Option<i64>,
    /// `up`, `warning`, `down`, `unknown`, `refused`
    state: String,
    /// One word of a closed list: `answered`, `timed_out`, `connection_refused`, …
    reason: String,
    /// The reason in a sentence.
    says: String,
    /// What the reason counts: a status, days, packets lost; 0 otherwise.
    number: i64,
    /// Time to the answer, in µs.
    time_us: Option<u64>,
    /// Days until the certificate ends.
    certificate_days: Option<i64>,
    /// What the host's owner adds to the policy when it is refused there.
    policy_line: Option<String>,
}

/// How a probe stands, by one runner.
#[derive(Debug, Serialize, ToSchema)]
pub struct StandingBody {
    #[serde(flatten)]
    last: ResultBody,
    /// Since when its state is what it is.
    since: i64,
    failures_in_a_row: u32,
    answers_in_a_row: u32,
    /// Since when it is told of; null while it is not.
    failing_since: Option<i64>,
    /// Share of answers in the last 24 h; null without a result that tells.
    uptime_24h: Option<f64>,
}

/// A probe and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProbeBody {
    id: u32,
    #[serde(flatten)]
    probe: ProbeFields,
    /// By who runs it.
    standing: Vec<StandingBody>,
    created_by: String,
    created_at: i64,
    updated_at: i64,
}

/// A probe with its last results.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProbeDetail {
    #[serde(flatten)]
    probe: ProbeBody,
    /// The last results of each runner, newest first, at most 50 each.
    results: Vec<ResultBody>,
}

/// The lines that an owner adds to allow a check.
#[must_use]
pub fn policy_line(check: &Check) -> String {
    let patterns: Vec<String> = check.patterns().iter().map(|pattern| format!("\"{pattern}\"")).collect();
    format!("[probes]\nallow = [{}]", patterns.join(", "))
}

fn result(check: Option<&Check>, host: Option<HostId>, at: Option<i64>, outcome: &Outcome) -> ResultBody {
    let refused = outcome.reason == Reason::PolicyRefused;
    ResultBody {
        host,
        at,
        state: outcome.state().word().to_owned(),
        reason: outcome.reason.word().to_owned(),
        says: probe::says(outcome),
        number: outcome.number,
        time_us: outcome.micros,
        certificate_days: outcome.days,
        policy_line: check.filter(|_| refused).map(policy_line),
    }
}

/// Share of answers in a day, by probe and runner.
pub type Shares = HashMap<(ProbeId, Option<HostId>), f64>;

/// The shares of all probes in the last 24 h.
///
/// # Errors
/// Only the store's.
pub async fn shares(state: &AppState) -> Result<Shares, Problem> {
    let day = standing::quarters(&state.db, state.now().plus(-DAY_MS)).await?;
    let share = |(key, quarters): (_, Vec<standing::Bucket>)| {
        let sum = |part: fn(&standing::Bucket) -> i64| quarters.iter().map(part).sum::<i64>() as f64;
        let (up, down) = (sum(|quarter| quarter.up), sum(|quarter| quarter.down));
        (up + down > 0.0).then(|| (key, up / (up + down)))
    };
    Ok(day.into_iter().filter_map(share).collect())
}

fn body(probe: &Probe, standings: &[Standing], shares: &Shares) -> ProbeBody {
    let own = standings.iter().filter(|standing| standing.probe == probe.id);
    let standing = own.map(|standing| StandingBody {
        last: result(Some(&probe.settings.check), standing.runner, Some(standing.at.0), &standing.outcome),
        since: standing.since.0,
        failures_in_a_row: standing.fails,
        answers_in_a_row: standing.passes,
        failing_since: standing.failing_since.map(|at| at.0),
        uptime_24h: shares.get(&(probe.id, standing.runner)).copied(),
    });
    ProbeBody {
        id: probe.id.0,
        probe: ProbeFields::from(&probe.settings),
        standing: standing.collect(),
        created_by: probe.created_by.clone(),
        created_at: probe.created_at.0,
        updated_at: probe.updated_at.0,
    }
}

/// All probes by name.
#[utoipa::path(get, path = "/api/v1/probes", tag = "probes", responses((status = 200, body = Vec<ProbeBody>)))]
pub async fn list(State(state): State<AppState>) -> Result<axum::Json<Vec<ProbeBody>>, Problem> {
    let all = probes::list(&state.db).await?;
    let (standings, shares) = (standing::all(&state.db).await?, shares(&state).await?);
    Ok(axum::Json(all.iter().map(|probe| body(probe, &standings, &shares)).collect()))
}

/// One probe with its last results.
#[utoipa::path(get, path = "/api/v1/probes/{id}", tag = "probes", params(("id" = u32, Path)),
    responses((status = 200, body = ProbeDetail), (status = 404, description = "No such probe")))]
pub async fn get(
    State(state): State<AppState>,
    Id(id): Id<ProbeId>,
) -> Result<axum::Json<ProbeDetail>, Problem> {
    let probe = probes::get(&mut *state.db.reader().await?, id).await?;
    let standings = standing::all(&state.db).await?;
    let mut results = Vec::new();
    for own in standings.iter().filter(|standing| standing.probe == id) {
        let found = standing::results(&state.db, id, own.runner, 50).await?;
        results.extend(found.iter().map(|(at, outcome)| result(None, own.runner, Some(at.0), outcome)));
    }
    Ok(axum::Json(ProbeDetail { probe: body(&probe, &standings, &shares(&state).await?), results }))
}

/// Adds a probe.
#[utoipa::path(post, path = "/api/v1/probes", tag = "probes", request_body = ProbeFields,
    responses((status = 201, body = ProbeBody), (status = 409, description = "One of this name exists, or there are too many"),
        (status = 422, description = "A field does not fit")))]
pub async fn add(
    State(state): State<AppState>,
    principal: Principal,
    Json(new): Json<ProbeFields>,
) -> Result<(StatusCode, axum::Json<ProbeBody>), Problem> {
    let made = state.probes.add(&new.settings()?, &principal.actor()).await?;
    Ok((StatusCode::CREATED, axum::Json(body(&made, &[], &Shares::new()))))
}

/// Changes a probe: what is given takes the place of what was.
#[utoipa::path(put, path = "/api/v1/probes/{id}", tag = "probes", params(("id" = u32, Path)), request_body = ProbeFields,
    responses((status = 200, body = ProbeBody), (status = 404, description = "No such probe"), (status = 422, description = "A field does not fit")))]
pub async fn change(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<ProbeId>,
    Json(new): Json<ProbeFields>,
) -> Result<axum::Json<ProbeBody>, Problem> {
    let made = state.probes.change(id, &new.settings()?, &principal.actor()).await?;
    let standings = standing::all(&state.db).await?;
    Ok(axum::Json(body(&made, &standings, &shares(&state).await?)))
}

/// Removes a probe with all that came of it.
#[utoipa::path(delete, path = "/api/v1/probes/{id}", tag = "probes", params(("id" = u32, Path)),
    responses((status = 204), (status = 404, description = "No such probe")))]
pub async fn remove(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<ProbeId>,
) -> Result<StatusCode, Problem> {
    state.probes.remove(id, &principal.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks once, now, from the controller; nothing is counted. At most 10 times a minute.
#[utoipa::path(post, path = "/api/v1/probes/{id}/try", tag = "probes", params(("id" = u32, Path)),
    responses((status = 200, body = ResultBody), (status = 404, description = "No such probe"),
        (status = 409, description = "A host runs it"), (status = 429, description = "Too often")))]
pub async fn try_now(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<ProbeId>,
) -> Result<axum::Json<ResultBody>, Problem> {
    let probe = probes::get(&mut *state.db.reader().await?, id).await?;
    let outcome = try_once(&state, &probe.settings, &principal.actor()).await?;
    Ok(axum::Json(result(Some(&probe.settings.check), None, Some(state.now().0), &outcome)))
}

/// A try of what the controller runs.
///
/// # Errors
/// When a host runs it, or after too many tries.
pub async fn try_once(state: &AppState, settings: &Settings, who: &str) -> Result<Outcome, Problem> {
    if settings.run_by != RunBy::Controller {
        return Err(Problem::conflict(
            "a host runs this probe, in its own time: its result is shown when it comes",
        ));
    }
    Ok(state.probes.try_now(&settings.check, settings.timeout_ms, who).await?)
}
