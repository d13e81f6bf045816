//! The way of a repair as a person takes it: incident, inbox, approval, run, in a real browser.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::harness::api::text;
use crate::harness::fleet::{Fleet, Plan};
use crate::hosts::wait_for;
use crate::repair::{NGINX, kill};

/// The stories that are told to the browser.
const STORIES: &str = "hosts/approve.test.mjs";
/// From the kill to the proposal that waits.
const PROPOSED: Duration = Duration::from_secs(30);

pub fn approved_by_a_click() -> Result<()> {
    let allow = &["restart_service=nginx.service"];
    Fleet::tell(&[Plan::named("web1").allow(allow), Plan::named("web2").allow(allow)], |fleet| {
        for member in 0..2 {
            fleet.assign(member, "restart_service", false)?;
        }
        // The second owner thinks again, and tells nobody: the host's own look at the file decides.
        let policy = String::from_utf8(fleet.members[1].host.read("/etc/sysop/policy.toml")?)?;
        let (kept, _) = policy.split_once("\n[[allow]]").context("the first policy allows nothing")?;
        fleet.members[1].host.write("/etc/sysop/policy.toml", format!("{kept}\n").as_bytes(), 0o644)?;
        fleet.members.iter().try_for_each(|member| kill(&member.host))?;
        let (allowed, forbidden) = (waiting(fleet, 0)?, waiting(fleet, 1)?);
        let printed = fleet.controller.printed();
        let code = printed.split("Setup code ").nth(1).and_then(|rest| rest.split_whitespace().next());
        in_the_browser(&json!({
            "url": fleet.controller.url(),
            "code": code.context("the controller printed no setup code")?,
            "allowed": allowed,
            "forbidden": forbidden,
        }))?;
        ensure!(fleet.members[0].host.unit_state(NGINX)? == "active", "approved, but nginx does not run");
        ensure!(fleet.members[1].host.unit_state(NGINX)? == "failed", "refused, but nginx was restarted");
        Ok(())
    })
}

/// Name, incident and proposal of a host on which nginx failed.
fn waiting(fleet: &Fleet, member: usize) -> Result<Value> {
    let host = &fleet.members[member];
    let incident = wait_for("incident", PROPOSED, || {
        let open = fleet.api.list(&format!("/api/v1/incidents?state=open&host={}", host.id))?;
        Ok(open.into_iter().find(|one| text(one, "entity") == NGINX))
    })?;
    let id = incident.get("id").context("no id")?.clone();
    let run = wait_for("proposal", PROPOSED, || {
        let runs = fleet.api.list(&format!("/api/v1/runs?incident={id}"))?;
        Ok(runs.into_iter().find(|run| text(run, "state") == "awaiting_approval"))
    })?;
    Ok(json!({ "name": host.host.name(), "incident": id, "run": text(&run, "id") }))
}

/// Tells the stories to a browser; what it saw is part of the error.
fn in_the_browser(story: &Value) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    if !folder.join("node_modules/playwright-core").is_dir() {
        let got = Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .status()
            .context("npm could not be started: install Node (Debian: `apt-get install nodejs npm`)")?;
        ensure!(got.success(), "npm ci failed in {}", folder.display());
    }
    let told = Command::new("node")
        .args(["--test", "--test-concurrency=1", "--test-reporter=./report.mjs", STORIES])
        .current_dir(&folder)
        .env("SYSOP_STORY", story.to_string())
        .output()
        .context("node could not be started: install Node (Debian: `apt-get install nodejs npm`)")?;
    let said = String::from_utf8_lossy(&told.stdout);
    ensure!(told.status.success(), "{said}{}", String::from_utf8_lossy(&told.stderr));
    ensure!(said.contains("2 passed; 0 failed"), "not all was told: {said}");
    Ok(())
}
