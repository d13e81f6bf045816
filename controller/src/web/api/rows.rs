//! Processes and units of a host, as they are or as they were.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use sysop_common::ids::HostId;
use sysop_common::sample::{Process, Unit};
use sysop_common::time::UnixMs;
use utoipa::{IntoParams, ToSchema};

use crate::store::samples::RowsAt;
use crate::web::error::Problem;
use crate::web::extract::{Id, Params};
use crate::web::state::AppState;
use crate::web::summary;

/// By what processes are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProcessOrder {
    /// CPU in use.
    #[default]
    Cpu,
    /// Resident memory.
    Memory,
    /// Bytes read and written.
    Io,
}

/// Which moment, in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProcessQuery {
    /// The moment, ms since 1970; now without it.
    at: Option<i64>,
    /// The order.
    #[serde(default)]
    #[param(inline)]
    sort: ProcessOrder,
}

/// Which moment.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UnitQuery {
    /// The moment, ms since 1970; now without it.
    at: Option<i64>,
}

/// A process among the top ones.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ProcessBody {
    /// Process id.
    pub pid: u32,
    /// Start in clock ticks since boot; with the pid it names one process for ever.
    pub start_ticks: u64,
    /// Kernel's short name.
    pub comm: String,
    /// Owner.
    pub user: String,
    /// systemd unit; empty when it has none.
    pub unit: String,
    /// Redacted command line.
    pub args: String,
    /// CPU in use, 1 for a whole core; null before the second look.
    pub cpu: Option<f64>,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Bytes per second; null when not observed.
    pub read_per_s: Option<f64>,
    /// Bytes per second; null when not observed.
    pub write_per_s: Option<f64>,
    /// Number of threads.
    pub threads: u32,
    /// Letter as in `ps`.
    pub state: char,
}

/// Rows of one moment.
#[derive(Debug, Serialize, ToSchema)]
pub struct Processes {
    /// When they were looked at; null when no sample is near.
    at: Option<i64>,
    items: Vec<ProcessBody>,
}

/// A systemd service.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnitBody {
    name: String,
    #[schema(value_type = String)]
    active: &'static str,
    sub: String,
    result: String,
    restarts: u32,
    main_pid: Option<u32>,
    /// When the state was entered, by the host's clock; null when not known.
    since: Option<i64>,
    memory_bytes: Option<u64>,
    tasks: Option<u64>,
    /// CPU in use, 1 for a whole core; null when not observed.
    cpu: Option<f64>,
}

/// Rows of one moment.
#[derive(Debug, Serialize, ToSchema)]
pub struct Units {
    /// When they were looked at; null when no sample is near.
    at: Option<i64>,
    items: Vec<UnitBody>,
}

/// The time of a query, at most now.
///
/// # Errors
/// When it is not one.
pub fn moment(at: Option<i64>, now: UnixMs) -> Result<UnixMs, Problem> {
    match at {
        None => Ok(now),
        Some(at) if (0..=now.0.saturating_add(60_000)).contains(&at) => Ok(UnixMs(at)),
        Some(_) => Err(Problem::invalid("at", "must lie between 1970 and now, in ms since 1970")),
    }
}

/// Top processes with their rates, in order.
#[must_use]
pub fn processes_of(rows: &RowsAt<Process>, order: ProcessOrder) -> Vec<ProcessBody> {
    let ms = rows.before.as_ref().map_or(1, |(at, _)| rows.at.since(*at).max(1)) as f64;
    let rate = |now: Option<u64>, was: Option<u64>| Some(now?.checked_sub(was?)? as f64 * 1000.0 / ms);
    let same = |p: &Process| {
        let (_, before) = rows.before.as_ref()?;
        before.iter().find(|b| b.pid == p.pid && b.start_ticks == p.start_ticks)
    };
    let mut all: Vec<ProcessBody> = rows
        .rows
        .iter()
        .map(|p| {
            let before = same(p);
            ProcessBody {
                pid: p.pid,
                start_ticks: p.start_ticks,
                comm: p.comm.to_string(),
                user: p.user.to_string(),
                unit: p.unit.to_string(),
                args: p.args.to_string(),
                cpu: before.and_then(|b| Some(p.cpu_ms.checked_sub(b.cpu_ms)? as f64 / ms)),
                rss_bytes: p.rss_bytes,
                read_per_s: before.and_then(|b| rate(p.io_read_bytes, b.io_read_bytes)),
                write_per_s: before.and_then(|b| rate(p.io_write_bytes, b.io_write_bytes)),
                threads: p.threads,
                state: char::from(p.state),
            }
        })
        .collect();
    let io = |p: &ProcessBody| p.read_per_s.unwrap_or(0.0) + p.write_per_s.unwrap_or(0.0);
    match order {
        ProcessOrder::Cpu => all.sort_by(|a, b| b.cpu.unwrap_or(0.0).total_cmp(&a.cpu.unwrap_or(0.0))),
        ProcessOrder::Memory => all.sort_by_key(|p| std::cmp::Reverse(p.rss_bytes)),
        ProcessOrder::Io => all.sort_by(|a, b| io(b).total_cmp(&io(a))),
    }
    all
}

/// CPU of a unit, 1 for a whole core.
#[must_use]
pub fn unit_cpu(rows: &RowsAt<Unit>, unit: &Unit) -> Option<f64> {
    let (at, before) = rows.before.as_ref()?;
    let was = before.iter().find(|other| other.name == unit.name)?.cpu_us?;
    let us = unit.cpu_us?.checked_sub(was)? as f64;
    Some(us / (rows.at.since(*at).max(1) as f64 * 1000.0))
}

/// Top processes of a host at a moment.
#[utoipa::path(get, path = "/api/v1/hosts/{id}/processes", tag = "hosts", params(("id" = String, Path, format = "uuid"), ProcessQuery),
    responses((status = 200, body = Processes), (status = 404, description = "No such host")))]
pub async fn processes(
    State(state): State<AppState>,
    Id(id): Id<HostId>,
    Params(query): Params<ProcessQuery>,
) -> Result<axum::Json<Processes>, Problem> {
    summary::one(&state, id).await?;
    let at = moment(query.at, state.now())?;
    let rows = state.samples.processes_at(id, at).await?;
    let items = rows.as_ref().map_or_else(Vec::new, |rows| processes_of(rows, query.sort));
    Ok(axum::Json(Processes { at: rows.map(|rows| rows.at.0), items }))
}

/// systemd services of a host at a moment, by name.
#[utoipa::path(get, path = "/api/v1/hosts/{id}/units", tag = "hosts", params(("id" = String, Path, format = "uuid"), UnitQuery),
    responses((status = 200, body = Units), (status = 404, description = "No such host")))]
pub async fn units(
    State(state): State<AppState>,
    Id(id): Id<HostId>,
    Params(query): Params<UnitQuery>,
) -> Result<axum::Json<Units>, Problem> {
    summary::one(&state, id).await?;
    let at = moment(query.at, state.now())?;
    let Some(rows) = state.samples.units_at(id, at).await? else {
        return Ok(axum::Json(Units { at: None, items: Vec::new() }));
    };
    let items = rows
        .rows
        .iter()
        .map(|unit| UnitBody {
            name: unit.name.to_string(),
            active: unit.active.word(),
            sub: unit.sub.to_string(),
            result: unit.result.to_string(),
            restarts: unit.restarts,
            main_pid: (unit.main_pid > 0).then_some(unit.main_pid),
            since: (unit.since_ms > 0).then_some(unit.since_ms),
            memory_bytes: unit.memory_bytes,
            tasks: unit.tasks,
            cpu: unit_cpu(&rows, unit),
        })
        .collect();
    Ok(axum::Json(Units { at: Some(rows.at.0), items }))
}
