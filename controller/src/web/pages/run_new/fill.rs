//! Fills the choice of an action and its review.

use std::str::FromStr as _;

use sysop_common::action::{Action, CATALOGUE, ProcessRef, Risk, TempRoot, UnitName};
use sysop_common::ids::HostId;
use sysop_common::sample::Process;

use super::{ActionChoice, Parameter, Review, RunNewView};
use crate::decide::{self, DecideError};
use crate::store::hosts::{self, Host};
use crate::store::runs::RiskFactor;
use crate::web::pages::shared::HostRef;
use crate::web::pages::source::Source;
use crate::web::pages::words;
use crate::web::widgets::query::Query;

/// Values offered while typing, at most.
const OFFERS: usize = 200;
/// Files are left alone for a day unless asked otherwise.
const DAY_S: &str = "86400";
/// And at most this much is removed at once, in bytes.
const GIB: &str = "1073741824";

/// The view for this address: `host`, `action` and its parameters.
///
/// # Errors
/// When the store cannot be read, or has no such host.
pub async fn fill(
    source: Source<'_>,
    ctx: &decide::Ctx,
    host: HostId,
    query: &Query,
    key: String,
) -> Result<RunNewView, DecideError> {
    let host = hosts::get(source.db, host).await?;
    let processes =
        source.samples.latest(host.id).map(|latest| latest.now.tick.processes.clone()).unwrap_or_default();
    let chosen = query.get("action").unwrap_or_default();
    let mut view = RunNewView {
        host: HostRef { id: host.id.to_string(), name: host.name.clone() },
        choices: CATALOGUE.iter().map(|entry| choice(source, &host, entry.name, chosen, query)).collect(),
        review: None,
        error: None,
    };
    if chosen.is_empty() || !asked(chosen, query) {
        return Ok(view);
    }
    match action(query, &processes) {
        Ok(action) => match decide::preview(ctx, host.id, &action).await {
            Ok(assessed) => {
                let factors: Vec<RiskFactor> = assessed
                    .factors
                    .iter()
                    .map(|f| RiskFactor { factor: f.factor.to_owned(), risk: f.risk, why: f.why.clone() })
                    .collect();
                view.review = Some(review(&host, &action, assessed.risk, &factors, key));
            }
            Err(DecideError::Invalid { field, problem }) => view.error = Some(format!("{field} {problem}")),
            Err(error) => return Err(error),
        },
        Err(why) => view.error = Some(why),
    }
    Ok(view)
}

/// Whether the address holds the action's first parameter: a review was asked for.
fn asked(action: &str, query: &Query) -> bool {
    let first = match action {
        "kill_process" => "pid",
        "cleanup_temp_files" => "root",
        _ => "unit",
    };
    query.get(first).is_some()
}

/// The action of a query or a form.
///
/// # Errors
/// What is wrong with it and what to do.
pub fn action(query: &Query, processes: &[Process]) -> Result<Action, String> {
    let text = |key: &str| query.get(key).unwrap_or_default().trim().to_owned();
    let unit = || UnitName::from_str(&text("unit")).map_err(|e| e.to_string());
    match text("action").as_str() {
        "restart_service" => Ok(Action::RestartService { unit: unit()? }),
        "start_service" => Ok(Action::StartService { unit: unit()? }),
        "stop_service" => Ok(Action::StopService { unit: unit()? }),
        "kill_process" => process(query, processes).map(|process| Action::KillProcess { process }),
        "cleanup_temp_files" => Ok(Action::CleanupTempFiles {
            root: TempRoot::from_str(&text("root")).map_err(|e| e.to_string())?,
            min_age_s: text("min_age_s")
                .parse()
                .map_err(|_| "The age must be a number of seconds".to_owned())?,
            max_bytes: text("max_bytes")
                .parse()
                .map_err(|_| "The most to remove must be a number of bytes".to_owned())?,
        }),
        other => Err(format!("{other:?} is no action of the catalogue")),
    }
}

/// A process by its pid as it is in the newest sample; a form brings its start and name along, so that
/// what is sent is what was reviewed.
fn process(query: &Query, processes: &[Process]) -> Result<ProcessRef, String> {
    let pid: u32 =
        query.get("pid").and_then(|text| text.trim().parse().ok()).ok_or("The pid must be a number")?;
    if let (Some(start), Some(comm)) = (query.get("start_ticks"), query.get("comm")) {
        let start_ticks = start.parse().map_err(|_| "start_ticks must be a number".to_owned())?;
        return Ok(ProcessRef { pid, start_ticks, comm: comm.to_owned() });
    }
    let found = processes.iter().find(|process| process.pid == pid);
    let found = found.ok_or(
        "No process with this pid is among those of the newest sample; only those can be named safely",
    )?;
    Ok(ProcessRef { pid, start_ticks: found.start_ticks, comm: found.comm.to_string() })
}

/// The parameters of an action, as the form sends them.
fn fields(action: &Action) -> Vec<(String, String)> {
    let pairs: Vec<(&str, String)> = match action {
        Action::RestartService { unit } | Action::StartService { unit } | Action::StopService { unit } => {
            vec![("unit", unit.to_string())]
        }
        Action::KillProcess { process } => vec![
            ("pid", process.pid.to_string()),
            ("start_ticks", process.start_ticks.to_string()),
            ("comm", process.comm.clone()),
        ],
        Action::CleanupTempFiles { root, min_age_s, max_bytes } => vec![
            ("root", root.as_str().to_owned()),
            ("min_age_s", min_age_s.to_string()),
            ("max_bytes", max_bytes.to_string()),
        ],
    };
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn review(
    host: &Host,
    action: &Action,
    risk: Risk,
    factors: &[RiskFactor],
    idempotency_key: String,
) -> Review {
    let needs_approval = risk >= Risk::High;
    let title = format!("{} on {}", words::title(action), host.name);
    Review {
        button: if needs_approval { format!("Ask for it: {title}") } else { format!("{title} now") },
        action: action.name().to_owned(),
        parameters: fields(action),
        effect: words::effect(action),
        undo: words::undo(action),
        check: words::check(action),
        risk,
        factors: words::factors(factors),
        command: words::command(action, &host.name, None),
        irreversible: action.entry().irreversible,
        needs_approval,
        idempotency_key,
        title,
    }
}

fn choice(source: Source<'_>, host: &Host, name: &'static str, chosen: &str, query: &Query) -> ActionChoice {
    let entry = CATALOGUE.iter().find(|entry| entry.name == name);
    let refused = if !host.grants.executor {
        Some(format!("{} is only watched: no executor is installed there.", host.name))
    } else if host.grants.of(name).next().is_none() {
        Some(format!(
            "Not allowed by the policy of {}. Its owner can add it to /etc/sysop/policy.toml.",
            host.name
        ))
    } else {
        None
    };
    ActionChoice {
        name,
        words: entry.map(|entry| entry.summary.to_owned()).unwrap_or_default(),
        floor: entry.map_or(Risk::High, |entry| entry.floor),
        parameters: parameters(source, host, name, query),
        refused,
        chosen: name == chosen,
    }
}

fn parameters(source: Source<'_>, host: &Host, name: &str, query: &Query) -> Vec<Parameter> {
    let latest = source.samples.latest(host.id);
    let value = |key: &str, otherwise: &str| query.get(key).unwrap_or(otherwise).to_owned();
    let tick = latest.as_ref().map(|latest| &latest.now.tick);
    match name {
        "kill_process" => {
            let offers = tick
                .map(|tick| tick.processes.iter().map(|p| p.pid.to_string()).take(OFFERS).collect())
                .unwrap_or_default();
            vec![Parameter {
                name: "pid",
                label: "Process id",
                value: value("pid", ""),
                offers,
                hint: "One of the newest sample's top processes",
            }]
        }
        "cleanup_temp_files" => vec![
            Parameter {
                name: "root",
                label: "Directory",
                value: value("root", "/tmp"),
                offers: vec!["/tmp".into(), "/var/tmp".into()],
                hint: "",
            },
            Parameter {
                name: "min_age_s",
                label: "Not modified for, in seconds",
                value: value("min_age_s", DAY_S),
                offers: Vec::new(),
                hint: "At least 600",
            },
            Parameter {
                name: "max_bytes",
                label: "Remove at most, in bytes",
                value: value("max_bytes", GIB),
                offers: Vec::new(),
                hint: "",
            },
        ],
        _ => {
            let offers = tick
                .map(|tick| tick.units.iter().map(|u| u.name.to_string()).take(OFFERS).collect())
                .unwrap_or_default();
            vec![Parameter {
                name: "unit",
                label: "Unit",
                value: value("unit", ""),
                offers,
                hint: "A service's full name",
            }]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_form_sends_is_the_action_that_was_reviewed() {
        let actions = [
            Action::StopService { unit: "nginx.service".parse().unwrap() },
            Action::KillProcess { process: ProcessRef { pid: 42, start_ticks: 7, comm: "a b&c".into() } },
            Action::CleanupTempFiles { root: "/tmp".parse().unwrap(), min_age_s: 900, max_bytes: 5 },
        ];
        for wanted in actions {
            let mut query = Query::default().with("action", wanted.name());
            query.0.extend(fields(&wanted));
            assert_eq!(action(&Query::parse(query.href("").trim_start_matches('?')), &[]).unwrap(), wanted);
        }
    }

    #[test]
    fn a_pid_that_no_sample_knows_is_not_guessed_at() {
        let query = Query::default().with("action", "kill_process").with("pid", "42");
        assert!(action(&query, &[]).unwrap_err().contains("newest sample"));
        assert!(action(&Query::default().with("action", "reboot"), &[]).is_err());
    }
}
