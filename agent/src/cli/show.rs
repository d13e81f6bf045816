//! `status` and `policy show`, for people and for programs.

use std::process::ExitCode;
use std::time::SystemTime;

use serde_json::json;
use sysop_common::grant::Allowed;
use sysop_common::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, UnixMs};

use super::output::{Failure, say, say_with};
use crate::config::Config;
use crate::executor::Client;
use crate::guard::Policy;
use crate::identity::Identity;
use crate::run::status::{self, Report};

/// Exit status for an agent that does not run, as of `systemctl status`.
const NOT_RUNNING: u8 = 3;

/// How the running agent is.
pub(super) fn status(config: &Config, json: bool) -> Result<ExitCode, Failure> {
    let report = status::read(config).filter(Report::is_running);
    let code = if report.is_some() { ExitCode::SUCCESS } else { ExitCode::from(NOT_RUNNING) };
    if json {
        let text = match &report {
            Some(report) => {
                let mut value = serde_json::to_value(report).map_err(Failure::of)?;
                value["running"] = true.into();
                value
            }
            None => json!({"running": false}),
        };
        return say_with(&text.to_string(), code);
    }
    let text = match &report {
        Some(report) => described(report, UnixMs::from_system(SystemTime::now())),
        None => stopped(config),
    };
    say_with(&text, code)
}

fn stopped(config: &Config) -> String {
    match Identity::load(&config.paths) {
        Ok(identity) => format!(
            "not running; enrolled as {}\nStart it with: systemctl enable --now sysop-agent",
            identity.host()
        ),
        Err(e) => format!("not running; {e}"),
    }
}

fn described(report: &Report, now: UnixMs) -> String {
    let link = &report.link;
    let ago = |at: UnixMs| format!("{} ago", span(now.since(at)));
    let connected = match (&link.transport, link.since) {
        (Some(transport), Some(since)) => {
            format!("connected over {transport} since {}", span(now.since(since)))
        }
        _ => "not connected".to_owned(),
    };
    let mut lines = vec![
        format!("Agent       running, pid {}, version {}", report.pid, report.version),
        format!("Host        {}", report.host),
        format!("Controller  {}, {connected}", report.controller),
    ];
    if let Some(error) = &link.last_error {
        lines.push(format!("            last: {error}"));
    }
    lines.push(format!("Last ack    {}", link.last_ack.map_or("none since the start".into(), ago)));
    if let Some(offset) = link.clock_offset_ms.filter(|offset| offset.abs() > 2 * SECOND_MS) {
        lines.push(format!("Clock       {} away from the controller's", span(offset.abs())));
    }
    lines.push(format!(
        "Spool       {} KiB, {} samples not acknowledged, {} gaps",
        report.spool_bytes / 1024,
        report.unacked,
        report.gaps
    ));
    if let Some(problem) = &report.spool_problem {
        lines.push(format!(
            "            cannot be written: {problem}; {} samples in memory only",
            report.pending
        ));
    }
    lines.push(format!("Samples     {} since the start", report.samples));
    let left = report.certificate_expires.since(now);
    let expires =
        if left > 0 { format!("for {}", span(left)) } else { "no longer: enrol the host again".into() };
    lines.push(format!("Certificate valid {expires}"));
    lines.join("\n")
}

/// A length of time in its largest unit.
fn span(ms: i64) -> String {
    match ms {
        ms if ms >= 2 * DAY_MS => format!("{} days", ms / DAY_MS),
        ms if ms >= 2 * HOUR_MS => format!("{} hours", ms / HOUR_MS),
        ms if ms >= 2 * MINUTE_MS => format!("{} minutes", ms / MINUTE_MS),
        ms => format!("{} s", (ms / SECOND_MS).max(0)),
    }
}

/// What the owner allows.
pub(super) fn policy(config: &Config) -> Result<ExitCode, Failure> {
    let policy = Policy::load(&config.paths.policy).map_err(Failure::of)?;
    let grants = policy.grants(Client::is_installed(&config.paths.executor_socket));
    let mut lines = vec![format!("Readings    {}", list(&grants.queries))];
    let executor = if grants.executor {
        "installed"
    } else {
        "not installed: no action runs; enable it with: systemctl enable --now sysop-executor.socket"
    };
    lines.push(format!("Executor    {executor}"));
    match grants.allow.as_slice() {
        [] => lines.push("Actions     none".to_owned()),
        allow => lines.extend(allow.iter().map(|allowed| format!("Action      {}", line(allowed)))),
    }
    lines.push(format!("Protected   {}", list(&grants.protected)));
    lines.push(format!("At most     {} actions per hour", grants.max_actions_per_hour));
    say(&lines.join("\n"))
}

/// One allowed action in a line.
pub(super) fn line(allowed: &Allowed) -> String {
    let mut text = allowed.action.clone();
    for (what, names) in [
        ("units", &allowed.units),
        ("below", &allowed.roots),
        ("processes", &allowed.processes),
        ("of", &allowed.users),
    ] {
        if !names.is_empty() {
            text = format!("{text}, {what} {}", names.join(" "));
        }
    }
    text + if allowed.automatic { ", automatically" } else { ", by a person's word" }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
