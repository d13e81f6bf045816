//! Fills the overview.

use std::collections::{BTreeMap, HashMap};

use sysop_common::action::RunState;
use sysop_common::finding::Severity;
use sysop_common::ids::HostId;
use sysop_common::time::{DAY_MS, UnixMs};

use super::{Attention, HeatCell, HeatGroup, OverviewView};
use crate::store::StoreError;
use crate::store::hosts::{Host, HostStatus};
use crate::store::incidents::Incident;
use crate::store::runs::{Run, RunFilter};
use crate::web::pages::hosts::HostRow;
use crate::web::pages::shared::{HostRef, incident_href, incident_name};
use crate::web::pages::source::{Source, busiest, named, urgency};
use crate::web::pages::words;
use crate::web::widgets::query::Query;
use crate::web::widgets::{State, format};

/// Fleets up to this size are shown as cards.
const CARDS: usize = 6;
/// Most entries of the list of what needs attention.
const ATTENTION: usize = 8;
/// Runs that the last day is judged by, at most.
const RUNS: u32 = 500;

/// The view of now.
///
/// # Errors
/// When the store cannot be read.
pub async fn fill(source: Source<'_>) -> Result<OverviewView, StoreError> {
    let hosts = source.hosts().await?;
    let (open, waiting, troubles) = source.troubles().await?;
    let rows: Vec<HostRow> = hosts.iter().map(|host| source.row(host, troubles.get(&host.id))).collect();
    let runs = source.runs(RunFilter { limit: RUNS, ..RunFilter::default() }).await?;
    let ended: Vec<&Run> = runs.iter().filter(|run| run.state.is_final()).take(6).collect();
    let ids = open
        .iter()
        .filter_map(|i| i.host)
        .chain(waiting.iter().chain(ended.iter().copied()).map(|run| run.host));
    let names = source.names(ids).await?;
    let missing: Vec<String> = hosts
        .iter()
        .filter(|host| source.status(host.id, source.samples.latest(host.id).as_ref()) == HostStatus::Offline)
        .map(|host| host.name.clone())
        .collect();
    let severity = |wanted| open.iter().filter(|incident| incident.severity == wanted).count() as u64;
    let day = Day::of(&runs, source.now);
    let mut view = OverviewView {
        held_ms: source.samples.retention_held().await?.map(|since| since.0),
        hosts: hosts.len() as u64,
        healthy: rows.iter().filter(|row| row.state == State::Ok).count() as u64,
        reporting: (hosts.len() - missing.len()) as u64,
        missing,
        waiting: waiting.len() as u64,
        oldest_wait_ms: waiting.iter().map(|run| source.now.since(run.created_at)).max(),
        incidents: (open.len() as u64, severity(Severity::Critical), severity(Severity::Warning)),
        repairs: (day.ended, day.verified),
        time_to_repair_ms: day.median_ms,
        gaps: gaps(source, &hosts).await?,
        attention: attention(source, &open, &waiting, &rows, &names),
        fleet: Vec::new(),
        cards: Vec::new(),
        recent: ended.into_iter().map(|run| Source::run_line(run, &names)).collect(),
    };
    if rows.len() <= CARDS {
        view.cards = cards(source, rows);
    } else {
        view.fleet = fleet(&hosts, &rows);
    }
    Ok(view)
}

fn cards(source: Source<'_>, mut rows: Vec<HostRow>) -> Vec<HostRow> {
    rows.sort_by(|a, b| urgency(b.state).cmp(&urgency(a.state)).then_with(|| a.name.cmp(&b.name)));
    for row in &mut rows {
        if let Ok(id) = row.id.parse() {
            row.cpu_line = source.cpu_line(id);
        }
    }
    rows
}

/// Stretches without samples of the last day. Looked up for the hosts of a small fleet only: a number
/// that costs a query per host is not worth a slow page.
async fn gaps(source: Source<'_>, hosts: &[Host]) -> Result<u64, StoreError> {
    let mut count = 0;
    for host in hosts.iter().take(200) {
        count += source.samples.gaps(host.id, source.now.plus(-DAY_MS), source.now).await?.len() as u64;
    }
    Ok(count)
}

/// What the runs of the last day came to.
struct Day {
    ended: u64,
    verified: u64,
    median_ms: Option<i64>,
}

impl Day {
    fn of(runs: &[Run], now: UnixMs) -> Self {
        let since = now.plus(-DAY_MS);
        let ended: Vec<&Run> = runs
            .iter()
            .filter(|run| run.state.is_final() && run.finished_at.is_some_and(|at| at >= since))
            // What was refused, cancelled or never sent did nothing.
            .filter(|run| !matches!(run.state, RunState::Refused | RunState::Cancelled | RunState::Expired))
            .collect();
        let verified: Vec<&&Run> = ended.iter().filter(|run| run.state == RunState::Verified).collect();
        let mut times: Vec<i64> =
            verified.iter().filter_map(|run| Some(run.finished_at?.since(run.created_at))).collect();
        times.sort_unstable();
        Self {
            ended: ended.len() as u64,
            verified: verified.len() as u64,
            median_ms: times.get(times.len() / 2).copied(),
        }
    }
}

fn attention(
    source: Source<'_>,
    open: &[Incident],
    waiting: &[Run],
    rows: &[HostRow],
    names: &HashMap<HostId, HostRef>,
) -> Vec<Attention> {
    let mut all: Vec<Attention> =
        open.iter().map(|incident| of_incident(source, incident, waiting, names)).collect();
    let alone = waiting.iter().filter(|run| run.incident.is_none_or(|id| open.iter().all(|i| i.id != id)));
    all.extend(alone.map(|run| of_run(source, run, names)));
    let told = |row: &HostRow| open.iter().any(|i| i.host.is_some_and(|host| host.to_string() == row.id));
    all.extend(
        rows.iter().filter(|row| row.state == State::Off && !told(row)).map(|row| of_silent(source, row)),
    );
    all.sort_by_key(|item| std::cmp::Reverse((urgency(item.state), item.decide)));
    all.truncate(ATTENTION);
    all
}

fn plain(state: State, title: String, href: String, chip: String) -> Attention {
    let (why, line_says, button) = (String::new(), String::new(), String::new());
    Attention {
        state,
        title,
        href,
        why,
        chip,
        notes: Vec::new(),
        risk: None,
        line: Vec::new(),
        line_says,
        button,
        decide: false,
    }
}

fn of_incident(
    source: Source<'_>,
    incident: &Incident,
    waiting: &[Run],
    names: &HashMap<HostId, HostRef>,
) -> Attention {
    let state = words::severity(incident.severity);
    let host = incident.host.map(|host| named(names, host).name);
    let title =
        host.as_ref().map_or_else(|| incident.title.clone(), |host| format!("{host}: {}", incident.title));
    let chip =
        format!("{}, {}", words::capital(state.word()), format::age(source.now.since(incident.opened_at)));
    let run = waiting.iter().find(|run| run.incident == Some(incident.id));
    let mut notes = vec![incident_name(incident.id)];
    if incident.findings.len() > 1 {
        notes.push(format!("{} signals", incident.findings.len()));
    }
    if let Some(by) = &incident.acked_by {
        notes.push(format!("{by} is on it"));
    }
    Attention {
        why: incident.cause.clone(),
        notes,
        risk: run.map(|run| run.risk),
        button: if run.is_some() { "Review and decide" } else { "Open incident" }.to_owned(),
        decide: run.is_some(),
        ..plain(state, title, incident_href(incident.id), chip)
    }
}

fn of_run(source: Source<'_>, run: &Run, names: &HashMap<HostId, HostRef>) -> Attention {
    let title = format!("{} on {}", words::title(&run.action), named(names, run.host).name);
    let chip = format!("Waits for you, {}", format::age(source.now.since(run.created_at)));
    Attention {
        why: run.reason.lines().next().unwrap_or_default().to_owned(),
        risk: Some(run.risk),
        button: "Review and decide".to_owned(),
        ..plain(State::Wait, title, format!("/approvals/{}", run.id), chip)
    }
}

fn of_silent(source: Source<'_>, row: &HostRow) -> Attention {
    let since = row.seen_ms.map(|ms| format::age(source.now.0 - ms));
    let title = match &since {
        Some(since) => format!("{}: no data for {since}", row.name),
        None => format!("{}: no data yet", row.name),
    };
    Attention {
        why: "Nothing comes from its agent. The last values are kept.".to_owned(),
        button: "Open host".to_owned(),
        ..plain(State::Off, title, format!("/hosts/{}", row.id), "No data".to_owned())
    }
}

/// The fleet by its most telling label: `role` where hosts have one, else all together.
fn fleet(hosts: &[Host], rows: &[HostRow]) -> Vec<HeatGroup> {
    let mut groups: BTreeMap<String, Vec<HeatCell>> = BTreeMap::new();
    for (host, row) in hosts.iter().zip(rows) {
        let role = host.labels.get("role").map(|label| label.value.clone()).unwrap_or_default();
        groups.entry(role.clone()).or_default().push(HeatCell {
            id: row.id.clone(),
            name: row.name.clone(),
            short: short(&row.name, &role),
            state: row.state,
            busiest: busiest(row),
        });
    }
    groups.into_iter().map(|(role, cells)| group(&role, cells)).collect()
}

fn group(role: &str, mut cells: Vec<HeatCell>) -> HeatGroup {
    cells.sort_by(|a, b| a.name.cmp(&b.name));
    if role.is_empty() {
        return HeatGroup { name: "others".to_owned(), href: "/hosts".to_owned(), cells };
    }
    let href = Query::default().with("label", &format!("role={role}")).href("/hosts");
    HeatGroup { name: role.to_owned(), href, cells }
}

/// What distinguishes a host within its group: the number at its end, else its first letters.
fn short(name: &str, role: &str) -> String {
    let digits: String =
        name.chars().rev().take_while(char::is_ascii_digit).collect::<Vec<_>>().into_iter().rev().collect();
    let rest = name.strip_prefix(role).unwrap_or(name).trim_start_matches('-');
    let text = if digits.is_empty() { rest } else { &digits };
    text.chars().take(4).collect()
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_cell_shows_what_tells_a_host_from_its_neighbours() {
        for (name, role, text) in
            [("web-07", "web", "07"), ("db-primary", "db", "prim"), ("atlas", "", "atla"), ("n1", "", "1")]
        {
            assert_eq!(short(name, role), text);
        }
    }
}
