//! Time series of a host.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use sysop_common::finding::Severity;
use sysop_common::ids::HostId;
use sysop_common::time::{DAY_MS, HOUR_MS, UnixMs};
use utoipa::{IntoParams, ToSchema};

use super::Text;
use crate::store::incidents::{self, IncidentFilter};
use crate::store::runs::{self, RunFilter};
use crate::store::samples::{Resolution, SeriesRequest, SeriesSet, SeriesUnit, rates, reason_word};
use crate::web::error::Problem;
use crate::web::extract::{Id, Params};
use crate::web::state::AppState;
use crate::web::summary;

/// Most metrics in one request.
const MOST_METRICS: usize = 40;
/// Longest stretch of time in one request, in ms.
const LONGEST_MS: i64 = 400 * DAY_MS;
/// Most points of a series.
const MOST_POINTS: i64 = 11_000;
/// Most marks of one kind in one answer.
const MOST_MARKS: u32 = 200;

/// Which series.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// Names of metrics, joined by commas: `cpu.usage,memory.used_ratio`.
    #[param(min_length = 1, max_length = 2000)]
    #[param(value_type = String)]
    metric: Text<2000>,
    /// One label of them, such as a mount point; without it all labels come.
    #[param(max_length = 160)]
    #[param(value_type = Option<String>)]
    label: Option<Text<160>>,
    /// From when, ms since 1970; an hour before `to` without it.
    from: Option<i64>,
    /// Until when, ms since 1970; now without it.
    to: Option<i64>,
    /// One point per so many ms, 1000 or more.
    #[param(minimum = 1000)]
    step: Option<i64>,
    /// Instead of `step`: about so many points, 1 to 11000; 600 without either.
    #[param(minimum = 1, maximum = 11000)]
    points: Option<u32>,
}

/// Unit of a series' values.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnitWord {
    /// A part of one; of CPU time: cores.
    Ratio,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerS,
    /// Events per second.
    PerS,
    /// A plain number.
    Count,
    /// Milliseconds.
    Ms,
}

impl From<SeriesUnit> for UnitWord {
    fn from(unit: SeriesUnit) -> Self {
        match unit {
            SeriesUnit::Ratio => Self::Ratio,
            SeriesUnit::Bytes => Self::Bytes,
            SeriesUnit::BytesPerS => Self::BytesPerS,
            SeriesUnit::PerS => Self::PerS,
            SeriesUnit::Count => Self::Count,
            SeriesUnit::Ms => Self::Ms,
        }
    }
}

/// One line of a chart.
#[derive(Debug, Serialize, ToSchema)]
pub struct Line {
    /// Metric.
    pub metric: String,
    /// Label; empty for the host.
    pub label: String,
    /// Unit of the values.
    pub unit: UnitWord,
    /// Time in ms and value; null where nothing was measured.
    #[schema(value_type = Vec<Vec<Option<f64>>>)]
    pub points: Vec<(i64, Option<f64>)>,
}

/// A stretch without samples.
#[derive(Debug, Serialize, ToSchema)]
pub struct GapMark {
    from: i64,
    to: i64,
    /// Why: `agent_down`, `spool_full`, …
    #[schema(value_type = String)]
    reason: &'static str,
}

/// Something that happened: an incident, or a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mark {
    /// `incident` or `run`.
    #[schema(value_type = String)]
    kind: &'static str,
    id: String,
    /// When it began.
    t: i64,
    /// When an incident ended; null while it is open.
    to: Option<i64>,
    label: String,
}

/// Series with what explains them.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeriesBody {
    from: i64,
    to: i64,
    /// Ms between points; 0 when the points are the samples themselves.
    step_ms: i64,
    series: Vec<Line>,
    gaps: Vec<GapMark>,
    events: Vec<Mark>,
}

/// Series of a host. Counters come as rates.
#[utoipa::path(get, path = "/api/v1/hosts/{id}/series", tag = "hosts", params(("id" = String, Path, format = "uuid"), SeriesQuery),
    responses((status = 200, body = SeriesBody), (status = 404, description = "No such host"), (status = 422, description = "A parameter does not fit")))]
pub async fn series(
    State(state): State<AppState>,
    Id(id): Id<HostId>,
    Params(query): Params<SeriesQuery>,
) -> Result<axum::Json<SeriesBody>, Problem> {
    summary::one(&state, id).await?;
    let request = request(id, &query, state.now())?;
    let set = state.samples.series(&request).await?;
    let events = marks(&state, id, request.from, request.to).await?;
    Ok(axum::Json(body(set, events)))
}

/// The request of a query; also for the page that shows it as a table.
///
/// # Errors
/// Names the parameter.
pub fn request(host: HostId, query: &SeriesQuery, now: UnixMs) -> Result<SeriesRequest, Problem> {
    let names: Vec<&str> = query.metric.0.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() || names.len() > MOST_METRICS {
        return Err(Problem::invalid(
            "metric",
            format!("must name 1 to {MOST_METRICS} metrics, joined by commas"),
        ));
    }
    if let Some(unknown) = names.iter().find(|name| rates::reading(name).is_none()) {
        let shown: String = unknown.chars().take(60).collect();
        return Err(Problem::invalid("metric", format!("names {shown:?}, which there is not"))
            .remedy("GET /api/v1/metrics lists all of them"));
    }
    let to = query.to.unwrap_or(now.0);
    let from = query.from.unwrap_or(to.saturating_sub(HOUR_MS));
    if from < 0 || to > now.0.saturating_add(DAY_MS) {
        return Err(Problem::invalid("from", "and to must lie between 1970 and tomorrow, in ms since 1970"));
    }
    if from >= to || to - from > LONGEST_MS {
        return Err(Problem::invalid("from", "must lie before to, by at most 400 days"));
    }
    let resolution = match (query.step, query.points) {
        (Some(_), Some(_)) => return Err(Problem::invalid("points", "and step exclude each other")),
        (Some(step), None) if step < 1000 || (to - from) / step > MOST_POINTS => {
            return Err(Problem::invalid(
                "step",
                format!("must be 1000 or more, for at most {MOST_POINTS} points"),
            ));
        }
        (Some(step), None) => Resolution::Step(step),
        (None, Some(points)) if points == 0 || i64::from(points) > MOST_POINTS => {
            return Err(Problem::invalid("points", format!("must be 1 to {MOST_POINTS}")));
        }
        (None, points) => Resolution::Points(points.unwrap_or(600)),
    };
    let metrics = names
        .into_iter()
        .map(|name| (name.to_owned(), query.label.as_ref().map(|label| label.0.clone())))
        .collect();
    Ok(SeriesRequest { host, metrics, from: UnixMs(from), to: UnixMs(to), resolution })
}

/// A query for the page that shows series as a table.
#[must_use]
pub fn table_query(metric: String, from: i64, to: i64, points: u32) -> SeriesQuery {
    SeriesQuery {
        metric: Text(metric),
        label: None,
        from: Some(from),
        to: Some(to),
        step: None,
        points: Some(points),
    }
}

fn body(set: SeriesSet, events: Vec<Mark>) -> SeriesBody {
    SeriesBody {
        from: set.from,
        to: set.to,
        step_ms: set.step_ms,
        series: set
            .series
            .into_iter()
            .map(|one| Line {
                metric: one.metric,
                label: one.label,
                unit: one.unit.into(),
                points: one.points,
            })
            .collect(),
        gaps: set
            .gaps
            .into_iter()
            .map(|gap| GapMark { from: gap.from, to: gap.to, reason: reason_word(gap.reason) })
            .collect(),
        events,
    }
}

/// Incidents and runs of a host that touch a window, newest first.
///
/// # Errors
/// Only the store's.
pub async fn marks(state: &AppState, host: HostId, from: UnixMs, to: UnixMs) -> Result<Vec<Mark>, Problem> {
    let filter = IncidentFilter { host: Some(host), limit: MOST_MARKS, ..IncidentFilter::default() };
    let incidents = incidents::list(&state.db, filter).await?;
    let mut marks: Vec<Mark> = incidents
        .into_iter()
        .filter(|one| one.severity > Severity::Info || one.closed_at.is_none())
        .filter(|one| one.opened_at <= to && one.closed_at.is_none_or(|at| at >= from))
        .map(|one| Mark {
            kind: "incident",
            id: one.id.to_string(),
            t: one.opened_at.0,
            to: one.closed_at.map(|at| at.0),
            label: one.title,
        })
        .collect();
    let filter = RunFilter { host: Some(host), limit: MOST_MARKS, ..RunFilter::default() };
    let runs = runs::list(&state.db, filter).await?;
    marks.extend(runs.into_iter().filter_map(|run| {
        let t = run.sent_at.filter(|at| (from..=to).contains(at))?;
        let label = format!("{} {}", run.action.name(), run.target);
        Some(Mark { kind: "run", id: run.id.to_string(), t: t.0, to: None, label })
    }));
    Ok(marks)
}

/// A metric.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetricBody {
    #[schema(value_type = String)]
    name: &'static str,
    unit: UnitWord,
}

/// Names and units of all metrics.
#[utoipa::path(get, path = "/api/v1/metrics", tag = "hosts", responses((status = 200, body = Vec<MetricBody>)))]
pub async fn metrics() -> axum::Json<Vec<MetricBody>> {
    let derived = rates::DERIVED.iter().map(|reading| reading.name);
    let plain = sysop_common::metric::ALL.iter().map(|metric| metric.name);
    let mut all: Vec<_> = derived
        .chain(plain)
        .filter_map(|name| Some(MetricBody { name, unit: rates::reading(name)?.unit.into() }))
        .collect();
    all.sort_by_key(|metric| metric.name);
    axum::Json(all)
}
