//! What actions, states and grants are called on pages.

use std::fmt::Write as _;

use sysop_common::action::{Action, Risk};
use sysop_common::finding::Severity;
use sysop_common::grant::{Allowed, Grants};
use sysop_common::ids::{HostId, hex, sha256};

use super::host::side::{self, GrantRow};
use crate::store::assignments::{Assignment, Selector};
use crate::store::runs::{RiskFactor, Run};
use crate::web::widgets::State;
use crate::web::widgets::format;
use crate::web::widgets::risk::Factor;

/// Verb and object: `restart nginx.service`, for the middle of a sentence.
#[must_use]
pub fn verb(action: &Action) -> String {
    match action {
        Action::RestartService { unit } => format!("restart {unit}"),
        Action::StartService { unit } => format!("start {unit}"),
        Action::StopService { unit } => format!("stop {unit}"),
        Action::KillProcess { process } => format!("kill {} (pid {})", process.comm, process.pid),
        Action::CleanupTempFiles { root, .. } => format!("clean up {}", root.as_str()),
    }
}

/// The same for the beginning of a sentence.
#[must_use]
pub fn title(action: &Action) -> String {
    capital(&verb(action))
}

/// `text` with a capital first letter.
#[must_use]
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// What it does, in one line.
#[must_use]
pub fn effect(action: &Action) -> String {
    match action {
        Action::RestartService { unit } => format!("{unit} is stopped and started; its open connections end"),
        Action::StartService { unit } => format!("{unit} is started; nothing else is touched"),
        Action::StopService { unit } => {
            format!("{unit} is stopped and stays stopped until it is started or the host boots")
        }
        Action::KillProcess { process } => {
            format!(
                "{} (pid {}) is asked to end, and ended after 10 s if it does not; what it holds in memory is lost",
                process.comm, process.pid
            )
        }
        Action::CleanupTempFiles { root, min_age_s, max_bytes } => format!(
            "files below {} that were not modified for {} are removed, at most {}",
            root.as_str(),
            format::duration(i64::from(*min_age_s) * 1_000),
            format::bytes(*max_bytes)
        ),
    }
}

/// How to take it back.
#[must_use]
pub fn undo(action: &Action) -> String {
    let entry = action.entry();
    match (entry.undo, entry.irreversible, action) {
        (Some(undo), ..) => {
            format!("{} {}", undo.trim_end_matches("_service").replace('_', " "), action.target())
        }
        (None, _, Action::RestartService { .. }) => "not needed: a restart leaves the same state".to_owned(),
        (None, true, Action::KillProcess { .. }) => {
            "cannot be undone: a process that ended is gone".to_owned()
        }
        (None, true, _) => "cannot be undone: removed files are gone".to_owned(),
        (None, false, _) => "no undo is known".to_owned(),
    }
}

/// What is looked at afterwards.
#[must_use]
pub fn check(action: &Action) -> String {
    let after = action.entry().verify_after_s;
    match action {
        Action::RestartService { unit } | Action::StartService { unit } => {
            format!("{unit} is active after {after} s; the incident is watched for 60 s more")
        }
        Action::StopService { unit } => format!("{unit} is inactive after {after} s"),
        Action::KillProcess { process } => format!("pid {} is gone after {after} s", process.pid),
        Action::CleanupTempFiles { root, .. } => format!("free space of {} after {after} s", root.as_str()),
    }
}

/// What happens when the check fails.
pub const FAILURE: &str = "the incident stays open; nothing is tried again by itself";

/// The order, line by line, as the host will read it.
#[must_use]
pub fn command(action: &Action, host: &str, expires: Option<i64>) -> String {
    let entry = action.entry();
    let mut out = String::new();
    let _ = match action {
        Action::RestartService { unit } => {
            writeln!(out, "restart_service unit={unit}\n  call: systemd RestartUnit(\"{unit}\", \"replace\")")
        }
        Action::StartService { unit } => {
            writeln!(out, "start_service unit={unit}\n  call: systemd StartUnit(\"{unit}\", \"replace\")")
        }
        Action::StopService { unit } => {
            writeln!(out, "stop_service unit={unit}\n  call: systemd StopUnit(\"{unit}\", \"replace\")")
        }
        Action::KillProcess { process } => writeln!(
            out,
            "kill_process pid={} start={} comm={}\n  call: SIGTERM, and SIGKILL after 10 s",
            process.pid,
            process.start_ticks,
            process.comm.escape_debug()
        ),
        Action::CleanupTempFiles { root, min_age_s, max_bytes } => {
            writeln!(
                out,
                "cleanup_temp_files root={} min_age_s={min_age_s} max_bytes={max_bytes}",
                root.as_str()
            )
        }
    };
    let _ = write!(
        out,
        "# {host} only · at most {} s · output kept up to {}",
        entry.timeout_s,
        format::bytes(entry.output_bytes.into())
    );
    if let Some(expires) = expires {
        let _ = write!(out, "\n# not started after {} UTC", format::clock(expires));
    }
    out
}

/// Digest of what is approved: this action with these parameters, on this host, in this run.
#[must_use]
pub fn digest(run: &Run) -> String {
    digest_of(&run.id.to_string(), run.host, &run.action)
}

fn digest_of(run: &str, host: HostId, action: &Action) -> String {
    // The action's JSON form is fixed by its type: fields in order, no maps.
    let action_json = serde_json::to_string(action).unwrap_or_default();
    let entry = hex(&action.entry().digest().0);
    hex(&sha256(format!("sysop approval\n{run}\n{host}\n{action_json}\n{entry}").as_bytes()))
}

/// The factors of a computed risk, as a page shows them.
#[must_use]
pub fn factors(list: &[RiskFactor]) -> Vec<Factor> {
    let name = |factor: &str| {
        match factor {
            "floor" => "Action",
            "irreversible" => "Irreversible",
            "target" => "Target",
            "host" => "Host",
            "blast_radius" => "Blast radius",
            "time" => "Time",
            "analyser" => "Analyser",
            other => return capital(&other.replace('_', " ")),
        }
        .to_owned()
    };
    list.iter()
        .map(|f| Factor {
            name: name(&f.factor),
            found: f.risk.word().to_owned(),
            weight: weight(f.risk),
            why: f.why.clone(),
        })
        .collect()
}

const fn weight(risk: Risk) -> f64 {
    match risk {
        Risk::Low => 0.25,
        Risk::Medium => 0.55,
        Risk::High => 0.95,
    }
}

/// The shape of a severity.
#[must_use]
pub const fn severity(severity: Severity) -> State {
    match severity {
        Severity::Info => State::Info,
        Severity::Warning => State::Warn,
        Severity::Critical => State::Crit,
    }
}

/// What may be done on a host, in two or three words.
#[must_use]
pub fn may_do(grants: &Grants) -> String {
    if !grants.executor || grants.allow.is_empty() {
        return "watch only".to_owned();
    }
    let has = |names: &[&str]| grants.allow.iter().any(|allowed| names.contains(&allowed.action.as_str()));
    let mut words = Vec::new();
    if has(&["restart_service", "start_service", "stop_service"]) {
        words.push("units");
    }
    if has(&["cleanup_temp_files"]) {
        words.push("temp files");
    }
    if has(&["kill_process"]) {
        words.push("processes");
    }
    words.join(", ")
}

/// What the host's owner allows, one line per action of the catalogue. It runs by itself where the
/// owner's policy and an assignment both say so; `admin` may change the assignment.
#[must_use]
pub fn grants(grants: &Grants, assigned: &[Assignment], admin: bool) -> side::Grants {
    let rows = [
        ("restart_service", "Restart services"),
        ("start_service", "Start services"),
        ("stop_service", "Stop services"),
        ("kill_process", "Kill processes"),
        ("cleanup_temp_files", "Clean up temporary files"),
    ];
    side::Grants {
        actions: if grants.executor {
            rows.map(|(action, words)| grant(grants, assigned, admin, action, words)).to_vec()
        } else {
            Vec::new()
        },
        protected: grants.protected.clone(),
        executor: grants.executor,
        agentless: false,
    }
}

fn grant(
    grants: &Grants,
    assigned: &[Assignment],
    admin: bool,
    action: &'static str,
    words: &str,
) -> GrantRow {
    let allowed: Vec<&Allowed> = grants.of(action).collect();
    let limits = allowed.iter().flat_map(|a| a.units.iter().chain(&a.roots).chain(&a.processes));
    let limits: Vec<&str> = limits.map(String::as_str).collect();
    let by_policy = allowed.iter().any(|allowed| allowed.automatic);
    let flagged = |own: bool| {
        assigned
            .iter()
            .any(|a| a.action == action && a.automatic && matches!(a.selector, Selector::Host(_)) == own)
    };
    let (how, change) = match (allowed.is_empty(), by_policy, flagged(true), flagged(false)) {
        (true, ..) => (None, None),
        (_, false, ..) => (Some("asks first"), None),
        (.., true, _) => (Some("by itself"), Some(false)),
        (.., true) => (Some("by itself, by label"), None),
        _ => (Some("asks first"), Some(true)),
    };
    GrantRow {
        words: words.to_owned(),
        action,
        limits: limits.join(", "),
        how: how.map(str::to_owned),
        change: change.filter(|_| admin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_approved_differs_by_run_host_and_parameter() {
        let action = |unit: &str| Action::RestartService { unit: unit.parse().unwrap() };
        let host = |last: char| format!("0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6{last}").parse().unwrap();
        let one = digest_of("r1", host('a'), &action("nginx.service"));
        assert_eq!(one, digest_of("r1", host('a'), &action("nginx.service")));
        for other in [
            digest_of("r2", host('a'), &action("nginx.service")),
            digest_of("r1", host('b'), &action("nginx.service")),
            digest_of("r1", host('a'), &action("nginx2.service")),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn it_runs_by_itself_only_where_owner_and_admin_both_say_so() {
        let host = "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b".parse().unwrap();
        let policy = |automatic| Grants {
            executor: true,
            allow: vec![Allowed {
                action: "restart_service".into(),
                units: vec!["*".into()],
                automatic,
                ..Allowed::default()
            }],
            ..Grants::default()
        };
        let flag = |automatic| Assignment {
            id: "a".into(),
            selector: Selector::Host(host),
            action: "restart_service".into(),
            automatic,
            created_by: "ann".into(),
            created_at: sysop_common::time::UnixMs(0),
        };
        for (owner, admin, how, change) in [
            (false, true, "asks first", None),
            (true, false, "asks first", Some(true)),
            (true, true, "by itself", Some(false)),
        ] {
            let shown = grants(&policy(owner), &[flag(admin)], true);
            assert_eq!((shown.actions[0].how.as_deref(), shown.actions[0].change), (Some(how), change));
            assert_eq!(shown.actions[1].how, None);
        }
        assert_eq!(grants(&policy(true), &[], false).actions[0].change, None, "not for others than admins");
    }

    #[test]
    fn an_order_is_shown_with_all_its_parameters_and_a_name_cannot_forge_a_line() {
        let process =
            sysop_common::action::ProcessRef { pid: 7, start_ticks: 9, comm: "a\n# web-07 only".into() };
        let shown = command(&Action::KillProcess { process }, "web-07", None);
        assert!(shown.contains("pid=7 start=9"));
        assert_eq!(shown.lines().filter(|line| line.starts_with('#')).count(), 1, "{shown}");
    }
}
