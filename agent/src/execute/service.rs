//! Services: look, restart, start, stop, and watch whether they stay as they should.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sysop_common::action::RunState;

use super::runner::{Invocation, Output, RunError, Runner, lines};
use super::show::{Properties, show};
use super::{Ended, Evidence, Tools, pause};
use crate::guard::Facts;
use crate::guard::facts::ServiceFacts;
use crate::journal::Started;

/// What is read of the unit itself.
const TARGET: &str = "Id,Names,LoadState,ActiveState,SubState,Type,Result,MainPID,NRestarts,InvocationID,\
                      CanStart,CanStop,RefuseManualStart,RefuseManualStop,\
                      SuccessAction,FailureAction,StartLimitAction,JobTimeoutAction,\
                      Conflicts,ConflictedBy,Requires,BindsTo,Wants,Upholds,\
                      RequiredBy,RequisiteOf,BoundBy,ConsistsOf,PropagatesStopTo";
/// What is read of units that hang together with it.
const AROUND: &str = "Id,Names,ActiveState,Conflicts,ConflictedBy,Requires,BindsTo,Wants,Upholds,\
                      RequiredBy,RequisiteOf,BoundBy,ConsistsOf,PropagatesStopTo";
/// Properties that name what stops when a unit stops.
const STOPPED_WITH: [&str; 5] = ["RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo"];
/// Properties that name what stops when a unit starts: systemd honours a conflict whichever side declares it.
const STOPPED_BY_START: [&str; 2] = ["Conflicts", "ConflictedBy"];
/// Properties that name what starts when a unit starts.
const STARTED_WITH: [&str; 4] = ["Requires", "BindsTo", "Wants", "Upholds"];
/// Properties by which a unit's end, or its failure to start, takes the whole host down.
const HOST_ACTIONS: [&str; 4] = ["SuccessAction", "FailureAction", "StartLimitAction", "JobTimeoutAction"];
/// Most units that are looked at around one.
const MAX_AROUND: usize = 128;
/// Time between two looks while an effect is watched.
const STEP: Duration = Duration::from_secs(1);

/// The service as it is now, with what would stop along with it.
pub(super) fn look(unit: &str, runner: &dyn Runner) -> Facts {
    match look_all(unit, runner) {
        Ok(facts) => Facts::Service(facts),
        Err(why) => Facts::Unseen(format!("{unit} cannot be looked at: {why}")),
    }
}

fn look_all(unit: &str, runner: &dyn Runner) -> Result<ServiceFacts, String> {
    let target = look_once(unit, runner)?;
    let mut facts = facts_of(&target);
    let own: BTreeSet<String> = facts.names.iter().cloned().collect();
    let (dragged, wide) = stopped(named(&target, &STOPPED_WITH), &own, runner)?;
    let (conflicts, wide_starts) = conflicts(&target, &own, runner)?;
    let (displaced, wide_conflicts) = stopped(conflicts, &own, runner)?;
    (facts.dragged, facts.displaced) = (dragged, displaced);
    facts.too_wide = wide || wide_starts || wide_conflicts;
    Ok(facts)
}

/// All units that these properties name.
fn named(unit: &Properties, properties: &[&str]) -> BTreeSet<String> {
    properties.iter().flat_map(|name| unit.list(name)).collect()
}

fn look_once(unit: &str, runner: &dyn Runner) -> Result<Properties, String> {
    show(runner, TARGET, &[unit.to_owned()])?.pop().ok_or_else(|| "systemd does not know it".to_owned())
}

fn facts_of(unit: &Properties) -> ServiceFacts {
    ServiceFacts {
        id: unit.text("Id").to_owned(),
        names: unit.list("Names").collect(),
        load: unit.text("LoadState").to_owned(),
        active: unit.text("ActiveState").to_owned(),
        sub: unit.text("SubState").to_owned(),
        kind: unit.text("Type").to_owned(),
        result: unit.text("Result").to_owned(),
        main_pid: unit.number("MainPID"),
        restarts: unit.number("NRestarts"),
        invocation: unit.text("InvocationID").to_owned(),
        can_start: unit.is_yes("CanStart") && !unit.is_yes("RefuseManualStart"),
        can_stop: unit.is_yes("CanStop") && !unit.is_yes("RefuseManualStop"),
        host_actions: HOST_ACTIONS
            .iter()
            .filter(|name| !matches!(unit.text(name), "" | "none"))
            .map(|name| format!("{name}={}", unit.text(name)))
            .collect(),
        dragged: Vec::new(),
        displaced: Vec::new(),
        too_wide: false,
    }
}

/// Names of the units in `first` that run now, and of what stops with those in turn; and whether there
/// were more than are looked at. A stop goes on through units that do not run.
fn stopped(
    first: BTreeSet<String>,
    own: &BTreeSet<String>,
    runner: &dyn Runner,
) -> Result<(Vec<String>, bool), String> {
    let mut running = Vec::new();
    let wide = walk(first, own, runner, |unit| {
        if unit.is_running() {
            running.extend(unit.list("Names"));
        }
        named(unit, &STOPPED_WITH)
    })?;
    Ok((running, wide))
}

/// What a start of `target` conflicts with: it, and what it pulls in and is not running. What runs has
/// had its conflicts, and stands for the host's whole base.
fn conflicts(
    target: &Properties,
    own: &BTreeSet<String>,
    runner: &dyn Runner,
) -> Result<(BTreeSet<String>, bool), String> {
    let mut found = named(target, &STOPPED_BY_START);
    let wide = walk(named(target, &STARTED_WITH), own, runner, |unit| {
        if unit.is_running() {
            return BTreeSet::new();
        }
        found.extend(named(unit, &STOPPED_BY_START));
        named(unit, &STARTED_WITH)
    })?;
    Ok((found, wide))
}

/// Looks at the units in `next`, and at those that `visit` names for each, once each; true when there
/// are more than are looked at.
fn walk(
    mut next: BTreeSet<String>,
    own: &BTreeSet<String>,
    runner: &dyn Runner,
    mut visit: impl FnMut(&Properties) -> BTreeSet<String>,
) -> Result<bool, String> {
    let mut seen = own.clone();
    loop {
        let ask: Vec<String> = next.difference(&seen).cloned().collect();
        if ask.is_empty() {
            return Ok(false);
        }
        if seen.len() + ask.len() > MAX_AROUND + own.len() {
            return Ok(true);
        }
        next = BTreeSet::new();
        for unit in show(runner, AROUND, &ask)? {
            seen.extend(unit.list("Names"));
            next.extend(visit(&unit));
        }
        seen.extend(ask);
    }
}

/// Runs `systemctl VERB` on the unit's id.
pub(super) fn run(verb: &'static str, started: &Started, tools: &Tools) -> Ended {
    let Facts::Service(before) = started.facts() else {
        return failed("the unit was not looked at".into());
    };
    let entry = started.order().action.entry();
    let invocation = Invocation {
        program: "systemctl",
        arguments: ["--no-ask-password", "--no-pager", verb, "--", &before.id].map(str::to_owned).into(),
        timeout: Duration::from_secs(u64::from(entry.timeout_s)),
        keep: usize::try_from(entry.output_bytes).unwrap_or_default(),
    };
    let ran = match tools.runner.run(&invocation) {
        Ok(ran) => ran,
        Err(e @ (RunError::NoProgram(_) | RunError::Io(..))) => return failed(e.to_string()),
    };
    let after = look_once(&before.id, tools.runner.as_ref()).map(|unit| facts_of(&unit).state());
    let after = after.unwrap_or_else(|_| "not to be seen".to_owned());
    let said = String::from_utf8_lossy(&ran.output.kept);
    let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    let (state, detail) = match ran.exit {
        _ if ran.timed_out => (
            RunState::TimedOut,
            format!("{verb} of {} took longer than {} s; it is {after}", before.id, entry.timeout_s),
        ),
        Some(0) => {
            (RunState::Succeeded, format!("{verb} of {}: was {}, is {after}", before.id, before.state()))
        }
        _ => (RunState::Failed, format!("{verb} of {} failed: {said}; it is {after}", before.id)),
    };
    let mut states = vec![format!("before: {}", before.state()), format!("after: {after}")];
    if verb != "start" && !before.dragged.is_empty() {
        states.push(format!("stopped with it: {}", before.dragged.join(" ")));
    }
    let output = with_states(ran.output, states, invocation.keep);
    Ended { state, exit: ran.exit, detail, output, evidence: Evidence::Look }
}

/// systemctl says nothing when all is well, so the states before and after stand below its words.
fn with_states(said: Output, states: Vec<String>, keep: usize) -> Output {
    if said.total > said.kept.len() as u64 {
        return said;
    }
    let text = String::from_utf8_lossy(&said.kept).into_owned();
    let mut all: Vec<String> = text.lines().map(str::to_owned).collect();
    all.extend(states);
    lines(&all, keep)
}

fn failed(detail: String) -> Ended {
    let output: Output = lines(&[], 0);
    Ended { state: RunState::Failed, exit: None, detail, output, evidence: Evidence::Look }
}

/// Watches for `window` whether the service runs with one and the same main process.
pub(super) fn is_up(unit: &str, window: Duration, runner: &dyn Runner) -> (bool, String) {
    let mut first: Option<ServiceFacts> = None;
    watch(unit, window, runner, |now| {
        let oneshot = now.kind == "oneshot" && now.result == "success" && now.active != "failed";
        if now.active != "active" && !oneshot {
            return Some(format!("{} is {} ({})", now.id, now.state(), now.result));
        }
        let before = first.get_or_insert_with(|| now.clone());
        let same = (before.main_pid, before.restarts, &before.invocation)
            == (now.main_pid, now.restarts, &now.invocation);
        (!same).then(|| format!("{} runs, but started again while it was watched", now.id))
    })
}

/// Watches for `window` whether the service stays stopped.
pub(super) fn is_down(unit: &str, window: Duration, runner: &dyn Runner) -> (bool, String) {
    watch(unit, window, runner, |now| {
        let down = matches!(now.active.as_str(), "inactive" | "failed") && now.main_pid == 0;
        (!down).then(|| format!("{} is {}", now.id, now.state()))
    })
}

/// Looks at the start, each second, and at the end; `wrong` says what is not as it should be.
fn watch(
    unit: &str,
    window: Duration,
    runner: &dyn Runner,
    mut wrong: impl FnMut(&ServiceFacts) -> Option<String>,
) -> (bool, String) {
    let from = Instant::now();
    // Just after a start it may still be on its way; only what is so at the end counts then.
    let mut settled = false;
    loop {
        let left = window.saturating_sub(from.elapsed());
        let now = match look_once(unit, runner) {
            Ok(unit) => facts_of(&unit),
            Err(why) => return (false, format!("{unit} cannot be looked at: {why}")),
        };
        let on_its_way =
            !settled && matches!(now.active.as_str(), "activating" | "deactivating" | "reloading");
        if !on_its_way || left.is_zero() {
            settled = true;
            if let Some(detail) = wrong(&now) {
                return (false, detail);
            }
        }
        if left.is_zero() {
            let seconds = window.as_secs();
            return (true, format!("{} is {} and stayed so for {seconds} s", now.id, now.state()));
        }
        pause(left.min(STEP));
    }
}
