//! Fills a host's page.

use sysop_common::action::RunState;
use sysop_common::ids::HostId;
use sysop_common::sample::{Active, Process, Unit};
use sysop_common::time::UnixMs;

use super::charts::Range;
use super::processes::{Order, ProcessRow, ProcessTable};
use super::side::UnitRow;
use super::{HostView, OpenIncident};
use crate::store::incidents::{Incident, IncidentFilter};
use crate::store::runs::{Run, RunFilter};
use crate::store::samples::{Latest, RowsAt};
use crate::store::users::Role;
use crate::store::{StoreError, assignments, hosts, incidents};
use crate::web::pages::shared::HostRef;
use crate::web::pages::source::{Source, Trouble};
use crate::web::pages::words;
use crate::web::widgets::{State, format};

/// Processes that the table shows.
const PROCESSES: usize = 12;
/// Services that the card lists; the failed ones are first.
const UNITS: usize = 60;

/// The view of a host.
///
/// # Errors
/// When the store cannot be read, or has no such host.
pub async fn fill(source: Source<'_>, id: HostId, range: Range, role: Role) -> Result<HostView, StoreError> {
    let host = hosts::get(source.db, id).await?;
    let assigned = assignments::of_host(&mut *source.db.reader().await?, id).await?;
    let may_run = role >= Role::Operator;
    let latest = source.samples.latest(id);
    let incidents =
        incidents::list(source.db, IncidentFilter { host: Some(id), limit: 6, ..filter() }).await?;
    let open = incidents::list(
        source.db,
        IncidentFilter { host: Some(id), open: Some(true), limit: 50, ..filter() },
    )
    .await?;
    let runs = source.runs(RunFilter { host: Some(id), limit: 6, ..RunFilter::default() }).await?;
    let waiting: Vec<&Run> = runs.iter().filter(|run| run.state == RunState::AwaitingApproval).collect();
    let worst = open.iter().max_by_key(|incident| incident.severity);
    let trouble = Trouble {
        worst: worst.map(|incident| (incident.severity, open.len() as u32)),
        title: worst.map(|incident| incident.title.clone()).unwrap_or_default(),
        waiting: waiting.len() as u32,
    };
    let row = source.row(&host, Some(&trouble));
    let names = [(id, HostRef { id: id.to_string(), name: host.name.clone() })].into();
    let since = worst.map(|incident| format::age(source.now.since(incident.opened_at)));
    let word = words::capital(row.state.word());
    let units = latest.as_ref().map(|latest| latest.now.tick.units.clone()).unwrap_or_default();
    Ok(HostView {
        id: id.to_string(),
        name: host.name.clone(),
        state: row.state,
        state_words: since.map_or(word.clone(), |since| format!("{word} for {since}")),
        labels: row.labels.clone(),
        facts: facts(&host, latest.as_ref()),
        link: link(&host, &row.link),
        seen_ms: row.seen_ms,
        clock_offset_ms: latest.as_ref().map(|l| l.now.tick.at.since(l.now.at)),
        open: worst.map(|incident| announce(incident, &waiting)),
        range,
        cores: (host.inventory.cores > 0).then_some(host.inventory.cores),
        disk_limits: None,
        processes: ProcessTable { may_rule: may_run, ..processes(source, id, Order::Cpu, None).await? },
        units_total: units.len() as u64,
        units: unit_rows(&units, may_run && host.grants.executor),
        grants: words::grants(&host.grants, &assigned, role == Role::Admin),
        probes: super::super::probes::fill::of_host(source, id).await?,
        incidents: incidents.iter().map(|incident| Source::incident_line(incident, &names, None)).collect(),
        runs: runs.iter().map(|run| Source::run_line(run, &names)).collect(),
        may_run: may_run && host.grants.executor,
        may_rule: may_run,
    })
}

fn filter() -> IncidentFilter {
    IncidentFilter { host: None, open: None, severity: None, before: None, limit: 50 }
}

fn facts(host: &hosts::Host, latest: Option<&Latest>) -> Vec<String> {
    let inventory = &host.inventory;
    let mut facts = vec![inventory.os.clone(), format!("kernel {}", inventory.kernel)];
    if inventory.cores > 0 {
        facts.push(format::counted(inventory.cores.into(), "CPU", "CPUs"));
        facts.push(format::bytes(inventory.memory_bytes));
    }
    if let Some(up) = latest.and_then(|latest| latest.value("host.uptime", "")) {
        facts.push(format!("up {}", format::age(up as i64)));
    }
    facts.extend(inventory.addresses.first().cloned());
    facts.retain(|fact| !fact.is_empty() && fact != "kernel ");
    facts
}

fn link(host: &hosts::Host, carrier: &str) -> String {
    let agent = if host.agent_version.is_empty() {
        "agent".to_owned()
    } else {
        format!("agent {}", host.agent_version)
    };
    match carrier {
        "" => format!("{agent}, not connected"),
        "spool" => agent,
        carrier => format!("{agent} over {carrier}"),
    }
}

fn announce(incident: &Incident, waiting: &[&Run]) -> OpenIncident {
    OpenIncident {
        id: incident.id,
        title: incident.title.clone(),
        cause: incident.cause.clone(),
        state: words::severity(incident.severity),
        waits: waiting.iter().any(|run| run.incident == Some(incident.id)),
    }
}

/// The table of processes, now or at a stored moment.
///
/// # Errors
/// When the store cannot be read.
pub async fn processes(
    source: Source<'_>,
    host: HostId,
    order: Order,
    at: Option<UnixMs>,
) -> Result<ProcessTable, StoreError> {
    let Some(found) = source.samples.processes_at(host, at.unwrap_or(source.now)).await? else {
        return Ok(ProcessTable { order, at_ms: at.map(|at| at.0), ..ProcessTable::default() });
    };
    let latest = source.samples.latest(host).filter(|_| at.is_none());
    let total = latest.as_ref().and_then(|latest| latest.value("procs.total", ""));
    let uptime = latest.as_ref().and_then(|latest| latest.value("host.uptime", ""));
    let culprits = culprits(source, host).await?;
    let mut rows: Vec<ProcessRow> =
        found.rows.iter().map(|process| row(process, &found, uptime, &culprits)).collect();
    let key = |row: &ProcessRow| match order {
        Order::Cpu => row.cpu.unwrap_or(-1.0),
        Order::Memory => row.rss as f64,
        Order::Io => row.io.map_or(-1.0, |(read, write)| read + write),
    };
    rows.sort_by(|a, b| key(b).total_cmp(&key(a)).then_with(|| b.rss.cmp(&a.rss)));
    rows.truncate(PROCESSES);
    Ok(ProcessTable {
        rows,
        total: total.map(|n| n as u64),
        order,
        at_ms: at.map(|_| found.at.0),
        may_rule: false,
    })
}

/// Units and processes that open incidents of the host name.
async fn culprits(source: Source<'_>, host: HostId) -> Result<Vec<String>, StoreError> {
    use sysop_common::finding::Culprit;
    let open =
        incidents::list(source.db, IncidentFilter { host: Some(host), open: Some(true), ..filter() }).await?;
    let named =
        open.iter().flat_map(|incident| &incident.findings).filter_map(|finding| finding.culprit.as_ref());
    Ok(named
        .filter_map(|culprit| match culprit {
            Culprit::Unit { unit, .. } => Some(unit.clone()),
            Culprit::Process { pid, .. } => Some(pid.to_string()),
            Culprit::Diffuse { .. } => None,
        })
        .collect())
}

fn row(process: &Process, found: &RowsAt<Process>, uptime: Option<f64>, culprits: &[String]) -> ProcessRow {
    let before = found.before.as_ref().and_then(|(at, rows)| {
        let same = rows.iter().find(|p| p.pid == process.pid && p.start_ticks == process.start_ticks)?;
        Some((found.at.since(*at) as f64, same))
    });
    let rate = |now: Option<u64>, before: Option<u64>, ms: f64| {
        Some(now?.saturating_sub(before?) as f64 * 1_000.0 / ms)
    };
    let cpu =
        before.filter(|(ms, _)| *ms > 0.0).map(|(ms, p)| process.cpu_ms.saturating_sub(p.cpu_ms) as f64 / ms);
    let io = before.filter(|(ms, _)| *ms > 0.0).and_then(|(ms, p)| {
        Some((
            rate(process.io_read_bytes, p.io_read_bytes, ms)?,
            rate(process.io_write_bytes, p.io_write_bytes, ms)?,
        ))
    });
    ProcessRow {
        pid: process.pid,
        name: process.comm.to_string(),
        args: process.args.to_string(),
        user: process.user.to_string(),
        unit: process.unit.to_string(),
        cpu,
        rss: process.rss_bytes,
        io,
        // The kernel counts starts in hundredths of a second since boot on every platform we run on.
        age_ms: uptime
            .map(|up| (up as i64).saturating_sub(process.start_ticks as i64 * 10))
            .filter(|age| *age >= 0),
        culprit: culprits.iter().any(|name| *name == process.unit || *name == process.pid.to_string()),
    }
}

fn unit_rows(units: &[Unit], may_run: bool) -> Vec<UnitRow> {
    let mut rows: Vec<UnitRow> = units.iter().map(|unit| unit_row(unit, may_run)).collect();
    let rank = |state: State| match state {
        State::Crit => 0,
        State::Warn | State::Run => 1,
        State::Ok => 2,
        _ => 3,
    };
    rows.sort_by(|a, b| rank(a.state).cmp(&rank(b.state)).then_with(|| a.name.cmp(&b.name)));
    rows.truncate(UNITS);
    rows
}

fn unit_row(unit: &Unit, may_run: bool) -> UnitRow {
    let state = match unit.active {
        Active::Active | Active::Reloading => State::Ok,
        Active::Failed => State::Crit,
        Active::Activating if unit.sub == "auto-restart" => State::Warn,
        Active::Activating | Active::Deactivating => State::Run,
        Active::Inactive | Active::Other => State::Off,
    };
    let mut words =
        vec![if unit.sub.is_empty() { unit.active.word().to_owned() } else { unit.sub.to_string() }];
    if state == State::Crit && !unit.result.is_empty() {
        words.push(unit.result.to_string());
    }
    words.extend(unit.memory_bytes.filter(|_| state == State::Ok).map(format::bytes));
    if unit.restarts > 0 {
        words.push(format::counted(unit.restarts.into(), "restart", "restarts"));
    }
    let action = (may_run && state == State::Crit).then_some(("restart_service", "Restart"));
    UnitRow {
        name: unit.name.to_string(),
        state,
        words: words.join(", "),
        since_ms: (unit.since_ms > 0).then_some(unit.since_ms),
        action,
    }
}
