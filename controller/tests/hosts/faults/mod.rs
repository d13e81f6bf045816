//! Faults for real on a booted host, and what only looks like one: what is found, whom it names, what is
//! offered and what runs.
//!
//! Cases of a round are under way at the same time on one host. Restarts, starts and stops of the cases'
//! services are allowed and automatic, so that whatever would act does.

mod table;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use self::table::{CASES, Case, NOT_SHOWN};
use crate::harness::api::text;
use crate::harness::fleet::{Fleet, Plan};
use crate::hosts::{Host, wait_for};

/// Looks this often at what was found.
const PAUSE: Duration = Duration::from_millis(500);
/// Samples before the first fault, so that there is a before.
const BEFORE: Duration = Duration::from_secs(12);
/// Runs in these states did nothing on the host.
const UNSENT: [&str; 6] = ["proposed", "awaiting_approval", "approved", "rejected", "cancelled", "expired"];

/// What came of a case.
struct Seen {
    case: &'static Case,
    /// Seconds until it was found.
    after_s: Option<f64>,
    /// Whether the incident names its root.
    top: bool,
    offers: Vec<String>,
    /// What was said of a look-alike.
    alarms: Vec<String>,
}

impl Seen {
    const fn new(case: &'static Case) -> Self {
        Self { case, after_s: None, top: false, offers: Vec::new(), alarms: Vec::new() }
    }

    /// Whether an acceptable action is offered where there is one, and none that is wrong.
    fn acts_right(&self) -> bool {
        let offered = |among: &[&str]| self.offers.iter().any(|offer| among.contains(&offer.as_str()));
        (self.case.acceptable.is_empty() || offered(self.case.acceptable)) && !offered(self.case.forbidden)
    }

    fn is_right(&self) -> bool {
        if self.case.is_benign() { self.alarms.is_empty() } else { self.top && self.acts_right() }
    }

    fn line(&self) -> Value {
        json!({ "case": self.case.id, "what": self.case.what, "benign": self.case.is_benign(),
            "found": self.after_s.is_some(), "seconds": self.after_s, "goal_s": self.case.within_s,
            "top1": self.top, "offers": self.offers, "acts_right": self.acts_right(),
            "has_action": !self.case.acceptable.is_empty(), "alarms": self.alarms })
    }
}

/// A few of the table, with all that must hold of them.
pub fn a_few() -> Result<()> {
    told(
        |case| case.short,
        |seen, unsafe_runs| {
            let wrong: Vec<Value> = seen.iter().filter(|seen| !seen.is_right()).map(Seen::line).collect();
            ensure!(wrong.is_empty(), "{} of {} cases: {wrong:#?}", wrong.len(), seen.len());
            ensure!(unsafe_runs == 0, "{unsafe_runs} unsafe runs");
            Ok(())
        },
    )
}

/// The whole table, with a line of JSON for each case and one for all.
pub fn all() -> Result<()> {
    told(
        |_| true,
        |seen, unsafe_runs| {
            let faults = || seen.iter().filter(|seen| !seen.case.is_benign());
            let count = |fits: fn(&&Seen) -> bool| faults().filter(fits).count();
            println!(
                "{}",
                json!({ "faults": faults().count(), "found": count(|seen| seen.after_s.is_some()),
                "top1": count(|seen| seen.top), "with_action": count(|seen| !seen.case.acceptable.is_empty()),
                "acts_right": count(|seen| !seen.case.acceptable.is_empty() && seen.after_s.is_some() && seen.acts_right()),
                "look_alikes": seen.len() - faults().count(),
                "false_alarms": seen.iter().filter(|seen| !seen.alarms.is_empty()).count(),
                "unsafe": unsafe_runs })
            );
            for (id, why) in NOT_SHOWN {
                println!("{}", json!({ "not_shown": id, "why": why }));
            }
            ensure!(unsafe_runs == 0, "{unsafe_runs} unsafe runs");
            Ok(())
        },
    )
}

/// Tells the chosen cases, round by round, and hands over what was seen and how many runs were unsafe.
fn told(chosen: fn(&Case) -> bool, judge: impl FnOnce(&[Seen], usize) -> Result<()>) -> Result<()> {
    let allow: &[&str] =
        &["restart_service=f*.service", "start_service=f*.service", "stop_service=f*.service"];
    Fleet::tell(&[Plan::named("one").allow(allow)], |fleet| {
        prepare(fleet)?;
        let mut rounds: Vec<u8> = CASES.iter().filter(|case| chosen(case)).map(|case| case.round).collect();
        rounds.sort_unstable();
        rounds.dedup();
        let mut seen = Vec::new();
        for number in rounds {
            let cases = CASES.iter().filter(|case| chosen(case) && case.round == number);
            seen.extend(round(fleet, &cases.collect::<Vec<_>>())?);
        }
        judge(&seen, unsafe_runs(fleet)?)
    })
}

/// Everything is allowed and automatic, and the collector may read who failed to sign in.
fn prepare(fleet: &Fleet) -> Result<()> {
    let member = &fleet.members[0];
    for action in ["restart_service", "start_service", "stop_service"] {
        fleet.assign(0, action, true)?;
    }
    let drop_in = "/etc/systemd/system/sysop-agent.service.d/utmp.conf";
    member.host.write(drop_in, b"[Service]\nSupplementaryGroups=utmp\n", 0o644)?;
    member.host.write("/usr/bin/false-word", b"#!/bin/sh\necho wrong\n", 0o755)?;
    member.host.check(&[
        "sh",
        "-c",
        "touch /var/log/btmp; chgrp utmp /var/log/btmp; chmod 660 /var/log/btmp",
    ])?;
    member.host.check(&["systemctl", "daemon-reload"])?;
    let policy = String::from_utf8(member.host.read("/etc/sysop/policy.toml")?)?;
    member.set_policy(&policy.replace("\nautomatic = false\n", "\nautomatic = true\n"))?;
    wait_for("announced policy", Duration::from_secs(60), || {
        let inventory = fleet.detail(0)?.get("inventory").cloned().unwrap_or_default();
        Ok((inventory.pointer("/grants/allow/0/automatic") == Some(&Value::Bool(true))).then_some(()))
    })?;
    std::thread::sleep(BEFORE);
    Ok(())
}

fn round(fleet: &Fleet, cases: &[&'static Case]) -> Result<Vec<Seen>> {
    let host = &fleet.members[0].host;
    for case in cases {
        let unit = format!("[Unit]\nStartLimitIntervalSec=0\n[Service]\n{}\n", case.service);
        host.write(&format!("/run/systemd/system/{}", case.unit()), unit.as_bytes(), 0o644)?;
    }
    host.check(&["systemctl", "daemon-reload"])?;
    let begun = Instant::now();
    let since = now_ms();
    let mut seen: Vec<Seen> = cases.iter().map(|case| Seen::new(case)).collect();
    let told = std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| {
                if let Err(error) = begin(host, case) {
                    eprintln!("{}: {error:#}", case.id);
                }
            });
        }
        watch(fleet, &mut seen, begun, since)
    });
    for case in cases {
        let stopped = host.run(&["systemctl", "stop", "--no-block", &case.unit()])?;
        ensure!(
            stopped.success() || stopped.stderr.contains("not loaded"),
            "{}: {}",
            case.id,
            stopped.stderr
        );
        // Whatever failed is no part of the next round.
        host.run(&["systemctl", "reset-failed", &case.unit()])?;
        if !case.undo.is_empty() {
            host.run(&["sh", "-c", case.undo])?;
        }
    }
    told.map(|()| seen)
}

/// Begins a case. What it leaves behind ends with the host.
fn begin(host: &Host, case: &Case) -> Result<()> {
    host.check(&["systemctl", "start", "--no-block", &case.unit()])?;
    for (controller, setting, value) in case.limit {
        host.wait_for_unit(&case.unit(), "active", Duration::from_secs(60))?;
        host.limit(&case.unit(), controller, &[(setting, value)])?;
    }
    if !case.inject.is_empty() {
        host.run(&["sh", "-c", case.inject])?;
    }
    Ok(())
}

/// Looks until every fault is found or its time is over, and every look-alike had its time.
fn watch(fleet: &Fleet, seen: &mut [Seen], begun: Instant, since: i64) -> Result<()> {
    loop {
        let path = format!("/api/v1/incidents?host={}&limit=200", fleet.members[0].id);
        let incidents = fleet.api.list(&path)?;
        let mut waits = false;
        for seen in seen.iter_mut() {
            note(seen, &incidents, begun, since);
            let times = if seen.case.is_benign() { 1 } else { 3 };
            let over = begun.elapsed() > Duration::from_secs(seen.case.within_s * times);
            // A finding may get its culprit and its offers a little later.
            let settled = seen.is_right()
                && seen.after_s.is_some_and(|after| begun.elapsed().as_secs_f64() > after + 3.0);
            waits |= !over && (seen.case.is_benign() || !settled);
        }
        if !waits {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    for seen in seen.iter() {
        println!("{}", seen.line());
    }
    Ok(())
}

/// Takes over what the incidents say of a case.
fn note(seen: &mut Seen, incidents: &[Value], begun: Instant, since: i64) {
    let case = seen.case;
    let opened = |incident: &&Value| incident["opened_at"].as_i64().is_some_and(|at| at >= since);
    for incident in incidents.iter().filter(opened) {
        let findings = incident["findings"].as_array().map_or(&[][..], Vec::as_slice);
        if case.is_benign() {
            let blamed = findings.iter().filter(|finding| names(finding, case.root));
            seen.alarms.extend(blamed.map(|finding| text(finding, "category").to_owned()));
            seen.alarms.sort();
            seen.alarms.dedup();
            continue;
        }
        let fits = |finding: &Value| {
            case.categories.contains(&text(finding, "category")) && names(finding, case.root)
        };
        if !findings.iter().any(fits) {
            continue;
        }
        seen.after_s.get_or_insert(begun.elapsed().as_secs_f64());
        seen.top |= findings.first().is_some_and(|root| names(root, case.root));
        let offers = incident["offers"].as_array().into_iter().flatten();
        for offer in offers {
            let action = offer.pointer("/action/action").or_else(|| offer.get("action"));
            let name = action.and_then(Value::as_str).unwrap_or_default().to_owned();
            if !seen.offers.contains(&name) {
                seen.offers.push(name);
            }
        }
    }
}

/// Whether a finding is about `root`, or blames it.
fn names(finding: &Value, root: &str) -> bool {
    let culprit = |field: &str| finding["culprit"][field].as_str().unwrap_or_default();
    [text(finding, "entity"), culprit("unit"), culprit("comm")].iter().any(|name| name.starts_with(root))
}

/// Runs that did something on the host which is wrong for the case, or about which no case is.
fn unsafe_runs(fleet: &Fleet) -> Result<usize> {
    let runs = fleet.api.list(&format!("/api/v1/runs?host={}&limit=200", fleet.members[0].id))?;
    let mut count = 0;
    for run in runs.iter().filter(|run| !UNSENT.contains(&text(run, "state"))) {
        let target = run.pointer("/params/unit").or_else(|| run.get("target"));
        let target = target.and_then(Value::as_str).context("a run has no target")?;
        let case = CASES.iter().find(|case| case.unit() == target && !case.is_benign());
        if case.is_none_or(|case| case.forbidden.contains(&text(run, "action"))) {
            eprintln!("unsafe: {run:#}");
            count += 1;
        }
    }
    Ok(count)
}

/// Now, in ms since 1970.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
