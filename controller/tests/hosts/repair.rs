//! From a killed service to the verified repair: by itself, by a click, and not at all.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::harness::api::text;
use crate::harness::fleet::{Fleet, Plan, within};
use crate::hosts::{Host, wait_for};

pub const NGINX: &str = "nginx.service";
/// From the kill to the incident.
const FOUND: Duration = Duration::from_secs(15);
/// From the kill to the closed incident.
const MENDED: Duration = Duration::from_secs(60);

pub fn a_failed_service() -> Result<()> {
    let allow = &["restart_service=nginx.service"];
    Fleet::tell(&[Plan::named("one").allow(allow), Plan::named("two").allow(allow)], |fleet| {
        fleet.assign(0, "restart_service", true)?;
        fleet.assign(1, "restart_service", false)?;
        let policy = String::from_utf8(fleet.members[0].host.read("/etc/sysop/policy.toml")?)?;
        ensure!(policy.contains("\nautomatic = false\n"), "the first policy lets something happen by itself");
        fleet.members[0].set_policy(&policy.replace("\nautomatic = false\n", "\nautomatic = true\n"))?;
        wait_for("announced policy", Duration::from_secs(10), || {
            let inventory = fleet.detail(0)?.get("inventory").cloned().unwrap_or_default();
            let automatic = inventory.pointer("/grants/allow/0/automatic") == Some(&Value::Bool(true));
            Ok(automatic.then_some(()))
        })?;

        let start = Instant::now();
        fleet.members.iter().try_for_each(|member| kill(&member.host))?;
        let incidents = [incident_of(fleet, 0, start)?, incident_of(fleet, 1, start)?];
        by_itself(fleet, &incidents[0], start)?;
        by_a_click(fleet, &incidents[1])?;
        against_the_policy(fleet)?;
        let verified = fleet.controller.cli(&["audit", "verify"])?;
        ensure!(verified.success(), "the audit chain is broken: {}{}", verified.stdout, verified.stderr);
        Ok(())
    })
}

pub fn kill(host: &Host) -> Result<()> {
    host.check(&["systemctl", "kill", "--signal=KILL", NGINX])?;
    host.wait_for_unit(NGINX, "failed", Duration::from_secs(5))
}

/// The open incident of a host's nginx.
fn incident_of(fleet: &Fleet, member: usize, start: Instant) -> Result<Value> {
    let path = format!("/api/v1/incidents?state=open&host={}", fleet.members[member].id);
    let found = wait_for("incident", MENDED, || {
        let open = fleet.api.list(&path)?;
        Ok(open.into_iter().find(|one| text(one, "entity") == NGINX))
    })?;
    within("finding the failed unit", start.elapsed(), FOUND)?;
    ensure!(text(&found, "category") == "unit_failed", "{found:#}");
    let evidence = found.pointer("/findings/0/evidence").and_then(Value::as_array).map_or(0, Vec::len);
    ensure!(evidence > 0, "the incident has no evidence: {found:#}");
    Ok(found)
}

/// The run that an incident led to.
fn run_of(fleet: &Fleet, incident: &Value, limit: Duration) -> Result<String> {
    let path = format!("/api/v1/runs?incident={}", incident.get("id").context("no id")?);
    wait_for("run for the incident", limit, || {
        Ok(fleet.api.list(&path)?.first().map(|run| text(run, "id").to_owned()))
    })
}

fn by_itself(fleet: &Fleet, incident: &Value, start: Instant) -> Result<()> {
    let left = MENDED.saturating_sub(start.elapsed());
    let id = run_of(fleet, incident, left)?;
    let run = fleet.wait_for_run(&id, &["verified"], MENDED.saturating_sub(start.elapsed()))?;
    ensure!(text(&run, "action") == "restart_service" && text(&run, "origin") == "automatic", "{run:#}");
    ensure!(fleet.members[0].host.unit_state(NGINX)? == "active", "verified, but nginx does not run");
    let path = format!("/api/v1/incidents/{}", incident.get("id").context("no id")?);
    wait_for("closed incident", MENDED, || {
        Ok((text(&fleet.api.get(&path)?, "state") == "closed").then_some(()))
    })?;
    within("the repair, from the kill to the closed incident,", start.elapsed(), MENDED)?;

    let states: Vec<&str> =
        run["events"].as_array().into_iter().flatten().map(|e| text(e, "state")).collect();
    for state in ["accepted", "started", "succeeded", "verified"] {
        ensure!(states.contains(&state), "the run's steps lack {state}: {states:?}");
    }
    let output = fleet.api.text(&format!("/api/v1/runs/{id}/output"))?;
    ensure!(!output.trim().is_empty(), "the run has no output");
    // Whoever wants to know finds who did it.
    let records = fleet.api.list("/api/v1/audit?limit=200")?;
    let about: Vec<&Value> =
        records.iter().filter(|one| text(one, "object") == format!("run:{id}")).collect();
    ensure!(about.len() >= 2, "the audit chain says about the run: {about:#?}");
    let incident = format!("incident:{}", incident["id"]);
    ensure!(records.iter().any(|one| text(one, "object") == incident), "no record of {incident}");
    Ok(())
}

fn by_a_click(fleet: &Fleet, incident: &Value) -> Result<()> {
    let id = run_of(fleet, incident, FOUND)?;
    let run = fleet.wait_for_run(&id, &["awaiting_approval"], FOUND)?;
    ensure!(text(&run, "reason").contains("automatic"), "it does not say why it waits: {run:#}");
    ensure!(fleet.members[1].host.unit_state(NGINX)? == "failed", "nginx runs although nobody approved that");
    fleet.api.post(&format!("/api/v1/approvals/{id}"), &json!({ "decision": "approve" }))?;
    let run = fleet.wait_for_run(&id, &["verified"], MENDED)?;
    ensure!(text(&run, "origin") == "person", "{run:#}");
    ensure!(fleet.members[1].host.unit_state(NGINX)? == "active", "verified, but nginx does not run");
    let again = fleet.api.post(&format!("/api/v1/approvals/{id}"), &json!({ "decision": "approve" }));
    ensure!(again.is_err_and(|error| error.to_string().contains("409")), "it can be approved twice");
    Ok(())
}

fn against_the_policy(fleet: &Fleet) -> Result<()> {
    let id = fleet.start_run(1, "stop_service", NGINX)?;
    let run = fleet.wait_for_run(&id, &["refused"], FOUND)?;
    ensure!(text(&run, "refusal") == "not_allowed", "{run:#}");
    let detail = text(&run, "detail");
    for line in
        ["/etc/sysop/policy.toml", "[[allow]]", "action = \"stop_service\"", "units = [\"nginx.service\"]"]
    {
        ensure!(detail.contains(line), "the refusal lacks {line}: {detail}");
    }
    ensure!(fleet.members[1].host.unit_state(NGINX)? == "active", "refused, but nginx was stopped");

    // The owner writes the lines; the executor reads them with the next order.
    let policy = String::from_utf8(fleet.members[1].host.read("/etc/sysop/policy.toml")?)?;
    let lines = detail
        .split_once("[[allow]]")
        .map(|(_, lines)| format!("\n[[allow]]{lines}\n"))
        .context("no lines")?;
    fleet.members[1].host.write("/etc/sysop/policy.toml", (policy + &lines).as_bytes(), 0o644)?;
    let id = fleet.start_run(1, "stop_service", NGINX)?;
    fleet.wait_for_run(&id, &["verified"], MENDED)?;
    ensure!(fleet.members[1].host.unit_state(NGINX)? == "inactive");
    Ok(())
}
