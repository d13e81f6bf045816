//! Fills an incident's page.

use sysop_common::action::RunState;
use sysop_common::finding::{Culprit as Found, Evidence as Row, Finding, Value};
use sysop_common::time::MINUTE_MS;

use super::evidence::{Culprit, Evidence, EvidenceChart};
use super::{IncidentView, Link, Moment, Words};
use crate::store::incidents::{Incident, IncidentFilter};
use crate::store::runs::Run;
use crate::store::samples::rates::{self};
use crate::store::samples::{Latest, SeriesUnit};
use crate::store::{StoreError, incidents, runs, trust};
use crate::web::pages::opinion::fill as opinion;
use crate::web::pages::proposal::fill::{self as proposal, Viewer};
use crate::web::pages::shared::{HostRef, run_state};
use crate::web::pages::source::{Source, named, who_decided};
use crate::web::pages::words;
use crate::web::widgets::{State, format};

/// Evidence is drawn from this long before the incident's beginning.
const LEAD_MS: i64 = 20 * MINUTE_MS;
/// Evidence that is drawn; more is listed.
const DRAWN: usize = 5;

/// The view of an incident.
///
/// # Errors
/// When the store cannot be read, or has no such incident.
pub async fn fill(
    source: Source<'_>,
    id: i64,
    viewer: &Viewer,
    currency: &str,
) -> Result<IncidentView, StoreError> {
    let incident = incidents::find(source.db, id).await?.ok_or(StoreError::NotFound("incident"))?;
    let mut tried = runs::of_incident(&mut *source.db.reader().await?, id).await?;
    tried.sort_by_key(|run| std::cmp::Reverse(run.created_at));
    let names = source.names(incident.host).await?;
    let host = incident
        .host
        .map_or_else(|| HostRef { id: String::new(), name: "the fleet".into() }, |host| named(&names, host));
    let shown = tried
        .iter()
        .find(|run| run.state == RunState::AwaitingApproval)
        .or_else(|| tried.iter().find(|run| !run.state.is_final()));
    let proposal = shown.map(|run| {
        let offer = incident.offers.iter().find(|offer| offer.action == run.action);
        proposal::fill(run, host.clone(), offer, viewer)
    });
    let onset =
        incident.findings.iter().map(|f| f.onset).min().unwrap_or(incident.opened_at).min(incident.opened_at);
    let until = incident.closed_at.map_or(source.now, |at| at.plus(2 * MINUTE_MS)).min(source.now);
    let latest = incident.host.and_then(|host| source.samples.latest(host));
    Ok(IncidentView {
        id,
        state: words::severity(incident.severity),
        opened_ms: incident.opened_at.0,
        closed: incident.closed_at.map(|at| (at.0, incident.close_why.clone().unwrap_or_default())),
        verdict: verdict(&incident, &host.name),
        signals: incident.findings.len() as u64,
        found: found(incident.opened_at.since(onset)),
        confidence: (incident.confidence > 0).then(|| f64::from(incident.confidence) / 100.0),
        track: opinion::rules_track(source.db, &incident).await?,
        note: opinion::newest(source.db, &incident, currency).await?,
        helped: helped(source, &incident, shown).await?,
        feedback: opinion::feedback_of(source.db, &incident, viewer).await?,
        may_download: viewer.role >= crate::store::users::Role::Operator,
        chain: chain(&incident),
        evidence: evidence(&incident),
        window: (onset.plus(-LEAD_MS).0, until.0),
        not_observed: not_observed(&incident),
        culprits: incident.findings.iter().filter_map(|finding| culprit(finding, latest.as_ref())).collect(),
        timeline: timeline(&incident, &tried),
        next: next(&incident, shown),
        before: before(source, &incident).await?,
        proposal,
        runs: tried.iter().map(|run| Source::run_line(run, &names)).collect(),
        acked_by: incident.acked_by.clone(),
        may_ack: viewer.role >= crate::store::users::Role::Operator,
        host,
    })
}

fn found(after_ms: i64) -> String {
    let after = if after_ms < 1_000 {
        "as it began".to_owned()
    } else {
        format!("{} after it began", format::duration(after_ms))
    };
    format!("Found by rules {after}, without a model")
}

/// Effect and cause as one sentence; the culprit's name is marked where it occurs.
fn verdict(incident: &Incident, host: &str) -> Vec<Words> {
    let place = if incident.host.is_some() && !incident.title.contains(host) {
        format!(" on {host}")
    } else {
        String::new()
    };
    let mut text = format!("{}{place}", incident.title.trim_end_matches('.'));
    if !incident.cause.is_empty() {
        text.push_str(": ");
        text.push_str(&incident.cause);
    }
    if !text.ends_with('.') {
        text.push('.');
    }
    let name = incident.findings.iter().find_map(|finding| match &finding.culprit {
        Some(Found::Unit { unit, .. }) => Some(unit.clone()),
        Some(Found::Process { comm, .. }) => Some(comm.clone()),
        _ => None,
    });
    // The last place: the cause comes after the effect.
    let Some((before, after, name)) = name.and_then(|name| {
        let at = text.rfind(&name)?;
        Some((text[..at].to_owned(), text[at + name.len()..].to_owned(), name))
    }) else {
        return vec![Words { text, culprit: false }];
    };
    [(before, false), (name, true), (after, false)]
        .into_iter()
        .map(|(text, culprit)| Words { text, culprit })
        .collect()
}

/// From the root to its effects, by when they began.
fn chain(incident: &Incident) -> Vec<Link> {
    let mut links: Vec<&Finding> = incident.findings.iter().collect();
    if let Some((_, rest)) = links.split_first_mut() {
        rest.sort_by_key(|finding| finding.onset);
    }
    let last = links.len().saturating_sub(1);
    let link = |(at, finding): (usize, &&Finding)| Link {
        at_ms: finding.onset.0,
        title: finding.title.clone(),
        detail: if finding.active { finding.cause.clone() } else { "over".to_owned() },
        state: if at == last && at > 0 { words::severity(finding.severity) } else { State::Info },
    };
    links.iter().enumerate().map(link).take(6).collect()
}

fn evidence(incident: &Incident) -> Vec<Evidence> {
    let rows =
        incident.findings.iter().flat_map(|finding| finding.evidence.iter().map(move |row| (finding, row)));
    let mut drawn: Vec<String> = Vec::new();
    rows.map(|(finding, row)| {
        let chart = chart(row).filter(|chart| {
            let key = format!("{} {:?}", chart.metrics, chart.label);
            let new = drawn.len() < DRAWN && !drawn.contains(&key);
            drawn.push(key);
            new
        });
        Evidence { title: row.text.clone(), detail: detail(finding, row), value: value(row), chart }
    })
    .collect()
}

fn detail(finding: &Finding, row: &Row) -> String {
    let what =
        if row.label.is_empty() { row.metric.clone() } else { format!("{} of {}", row.metric, row.label) };
    if row.before.is_some() {
        format!("{what}, {} to {} UTC. {}", format::clock(row.from.0), format::clock(row.to.0), finding.title)
    } else {
        format!("{what}, {} UTC. {}", format::clock(row.to.0), finding.title)
    }
}

fn value(row: &Row) -> String {
    let number = |n: i64| match sysop_common::metric::by_name(&row.metric) {
        Some(metric) if metric.unit == sysop_common::metric::Unit::Bytes => {
            format::bytes(n.max(0) as u64 / u64::from(metric.scale.max(1)))
        }
        Some(metric) => format::count(n.max(0) as u64 / u64::from(metric.scale.max(1))),
        None => n.to_string(),
    };
    match &row.value {
        Value::Word(word) => word.clone(),
        Value::Number(n) => number(*n),
    }
}

/// What draws a row of evidence: the chart of its family, narrowed to its label.
fn chart(row: &Row) -> Option<EvidenceChart> {
    let label = (!row.label.is_empty()).then(|| row.label.clone());
    let of = |kind, metrics: &str, label| {
        Some(EvidenceChart { kind, metrics: metrics.to_owned(), label, unit: "count", limit: None })
    };
    let family = row.metric.split('.').next().unwrap_or_default();
    match family {
        "fs" if row.metric.contains("inodes") => of("inodes", "fs.inodes.used_ratio", label),
        "fs" => of("space", "fs.used_ratio", label),
        "memory" | "swap" => of(
            "memory",
            "memory.total,memory.free,memory.buffers,memory.cached,memory.slab_reclaimable",
            None,
        ),
        "psi" => of("pressure", "psi.io.some,psi.cpu.some,psi.memory.some", None),
        _ => {
            let unit = match rates::reading(&row.metric)?.unit {
                SeriesUnit::Ratio => "percent",
                SeriesUnit::Bytes => "bytes",
                SeriesUnit::BytesPerS => "rate",
                SeriesUnit::PerS | SeriesUnit::Count | SeriesUnit::Ms => "count",
            };
            Some(EvidenceChart { kind: "evidence", metrics: row.metric.clone(), label, unit, limit: None })
        }
    }
}

fn not_observed(incident: &Incident) -> Vec<String> {
    let mut all: Vec<String> =
        incident.findings.iter().flat_map(|finding| finding.not_observed.clone()).collect();
    all.sort();
    all.dedup();
    all
}

fn culprit(finding: &Finding, latest: Option<&Latest>) -> Option<Culprit> {
    let tick = latest.map(|latest| &latest.now.tick);
    match finding.culprit.as_ref()? {
        Found::Unit { unit, share } => {
            let now = tick.and_then(|tick| tick.units.iter().find(|u| u.name == *unit));
            Some(Culprit {
                name: unit.clone(),
                pid: now.map(|u| u.main_pid).filter(|pid| *pid > 0),
                share: f64::from(*share) / 100.0,
                cpu: None,
                memory: now.and_then(|u| u.memory_bytes),
                changed: now
                    .filter(|u| u.since_ms > 0)
                    .map(|u| format!("{} since {} UTC", u.sub, format::clock(u.since_ms)))
                    .unwrap_or_default(),
                named: true,
            })
        }
        Found::Process { pid, start_ticks, comm, share, .. } => {
            let now = tick.and_then(|tick| {
                tick.processes.iter().find(|p| p.pid == *pid && p.start_ticks == *start_ticks)
            });
            Some(Culprit {
                name: comm.clone(),
                pid: Some(*pid),
                share: f64::from(*share) / 100.0,
                cpu: None,
                memory: now.map(|p| p.rss_bytes),
                changed: String::new(),
                named: true,
            })
        }
        Found::Diffuse { .. } => None,
    }
}

fn timeline(incident: &Incident, tried: &[Run]) -> Vec<Moment> {
    let moment = |at_ms, state, words: String, href| Moment { at_ms, state, words, href };
    let mut all: Vec<Moment> = incident
        .findings
        .iter()
        .map(|finding| {
            moment(finding.onset.0, words::severity(finding.severity), finding.title.clone(), None)
        })
        .collect();
    all.push(moment(incident.opened_at.0, State::Info, "Incident opened".to_owned(), None));
    for run in tried {
        let href = Some(format!("/runs/{}", run.id));
        let by = if run.created_by == runs::BY_ANALYSER {
            "Repair proposed".to_owned()
        } else {
            format!("{} asked", run.created_by)
        };
        all.push(moment(
            run.created_at.0,
            State::Wait,
            format!("{by}: {}, {} risk", words::verb(&run.action), run.risk.word()),
            href.clone(),
        ));
        if let Some(at) = run.decided_at {
            all.push(moment(at.0, State::Info, format!("Decided: {}", who_decided(run)), href.clone()));
        }
        if let Some(at) = run.finished_at {
            let (state, words) = run_state(run.state);
            all.push(moment(at.0, state, format!("{}: {words}", words::title(&run.action)), href));
        }
    }
    if let (Some(by), Some(at)) = (&incident.acked_by, incident.acked_at) {
        all.push(moment(at.0, State::Info, format!("{by} is on it"), None));
    }
    if let Some(at) = incident.closed_at {
        all.push(moment(
            at.0,
            State::Ok,
            format!("Closed: {}", incident.close_why.clone().unwrap_or_default()),
            None,
        ));
    }
    all.sort_by_key(|moment| moment.at_ms);
    all
}

fn next(incident: &Incident, shown: Option<&Run>) -> Option<String> {
    if incident.closed_at.is_some() {
        return None;
    }
    Some(match shown.map(|run| (run.state, run.expires_at)) {
        Some((RunState::AwaitingApproval, _)) => "A decision about the repair.".to_owned(),
        Some(_) => "The outcome of the run.".to_owned(),
        None => "It closes by itself when the trouble is gone.".to_owned(),
    })
}

/// How often the proposed action helped against such trouble.
async fn helped(
    source: Source<'_>,
    incident: &Incident,
    shown: Option<&Run>,
) -> Result<Option<(u64, u64)>, StoreError> {
    let Some(run) = shown else { return Ok(None) };
    let rates = trust::rates(source.db).await?;
    let of = rates.iter().find(|rate| rate.0 == run.action.name() && rate.1 == incident.category.word());
    Ok(of.map(|rate| (u64::try_from(rate.2).unwrap_or(0), u64::try_from(rate.3).unwrap_or(0))))
}

/// The same trouble on this host, in the past.
async fn before(
    source: Source<'_>,
    incident: &Incident,
) -> Result<Vec<crate::web::pages::shared::IncidentLine>, StoreError> {
    let Some(host) = incident.host else { return Ok(Vec::new()) };
    let filter = IncidentFilter {
        host: Some(host),
        open: Some(false),
        severity: None,
        before: Some(incident.id),
        limit: 200,
    };
    let names = source.names([host]).await?;
    let found = incidents::list(source.db, filter).await?;
    let same = found.iter().filter(|other| other.fingerprint == incident.fingerprint);
    Ok(same.take(5).map(|other| Source::incident_line(other, &names, None)).collect())
}
