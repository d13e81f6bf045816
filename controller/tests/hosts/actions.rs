//! Every action of the catalogue and every reading, on a real host, behind the units' walls.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sysop_common::action::{CATALOGUE, MIN_TEMP_AGE_S};
use sysop_common::query::QUERY_NAMES;

use crate::harness::api::text;
use crate::harness::fleet::{Fleet, Plan};
use crate::harness::full;
use crate::hosts::Host;

const NGINX: &str = "nginx.service";
const ALLOW: &[&str] = &[
    "services=nginx.service,ssh.service",
    "stop_service=nginx.service",
    "kill_process=sleep",
    "cleanup_temp_files=/tmp",
];
/// An action and the look at its effect.
const LIMIT: Duration = Duration::from_secs(40);

pub fn the_whole_catalogue() -> Result<()> {
    Fleet::tell(&[Plan::named("one").allow(ALLOW)], |fleet| {
        let host = &fleet.members[0].host;
        readings(fleet)?;
        let mut done = vec![killed(fleet, host)?, cleaned(fleet, host)?];

        for (action, state) in [("stop_service", "inactive"), ("start_service", "active")] {
            done.push(verified(fleet, action, json!({ "unit": NGINX }))?);
            ensure!(host.unit_state(NGINX)? == state, "nginx after {action}");
        }
        let pid = ["systemctl", "show", "--property=MainPID", "--value", NGINX];
        let before = host.check(&pid)?;
        done.push(verified(fleet, "restart_service", json!({ "unit": NGINX }))?);
        ensure!(
            host.unit_state(NGINX)? == "active" && host.check(&pid)? != before,
            "nginx was not restarted"
        );
        for entry in CATALOGUE {
            ensure!(done.iter().any(|name| name == entry.name), "{} was not tried", entry.name);
        }

        // What a host cannot do without waits for a signature that nobody can give.
        let run = start(fleet, "restart_service", json!({ "unit": "ssh.service" }))?;
        fleet.wait_for_run(&run, &["awaiting_approval"], LIMIT)?;
        let approved = fleet.api.post(&format!("/api/v1/approvals/{run}"), &json!({ "decision": "approve" }));
        ensure!(approved.is_err(), "ssh may be restarted by a click");
        Ok(())
    })
}

fn start(fleet: &Fleet, action: &str, params: Value) -> Result<String> {
    let body = json!({ "host": fleet.members[0].id, "action": action, "params": params });
    Ok(text(&fleet.api.post("/api/v1/runs", &body)?, "id").to_owned())
}

/// Runs an action whose effect must be seen; its name.
fn verified(fleet: &Fleet, action: &str, params: Value) -> Result<String> {
    let run = start(fleet, action, params)?;
    fleet.wait_for_run(&run, &["verified"], LIMIT)?;
    Ok(action.to_owned())
}

fn killed(fleet: &Fleet, host: &Host) -> Result<String> {
    host.check(&["systemd-run", "--quiet", "--unit=victim", "--uid=www-data", "sleep", "1000"])?;
    let pid = host.check(&["systemctl", "show", "--property=MainPID", "--value", "victim.service"])?;
    let stat = host.check(&["cat", &format!("/proc/{pid}/stat")])?;
    // Behind the name in brackets the state is the third field, the start the twenty-second.
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let ticks: u64 = fields.split_whitespace().nth(22 - 3).context("no start in stat")?.parse()?;
    let process = |ticks: u64| json!({ "process": { "pid": pid.parse::<u32>().unwrap(), "start_ticks": ticks, "comm": "sleep" } });
    // The same number, but another process than the one that was meant.
    let other = start(fleet, "kill_process", process(ticks - 1))?;
    let other = fleet.wait_for_run(&other, &["refused"], LIMIT)?;
    ensure!(text(&other, "refusal") == "pre_check_failed", "{other:#}");
    ensure!(host.unit_state("victim.service")? == "active", "another process was killed");
    let done = verified(fleet, "kill_process", process(ticks))?;
    ensure!(host.unit_state("victim.service")? != "active", "the process lives");
    Ok(done)
}

const OLD_AND_NEW: &str = "
cd /tmp && mkdir -p deep/er && echo old > old && echo old > deep/er/old
ln -s /etc/hostname link && ln -s /etc deep/etc
touch --no-dereference --date='3 hours ago' old deep/er/old link deep/etc
chown --no-dereference -R www-data old deep link";

/// The age is that of the last change of any kind, which nobody can set back: the long wait is for the
/// larger numbers, and otherwise everything must stay.
fn cleaned(fleet: &Fleet, host: &Host) -> Result<String> {
    host.check(&["bash", "-c", OLD_AND_NEW])?;
    let params = json!({ "root": "/tmp", "min_age_s": MIN_TEMP_AGE_S, "max_bytes": 1 << 20 });
    if full() {
        std::thread::sleep(Duration::from_secs(u64::from(MIN_TEMP_AGE_S) + 10));
    }
    host.check(&["touch", "/tmp/new"])?;
    let run = start(fleet, "cleanup_temp_files", params)?;
    fleet.wait_for_run(&run, &[if full() { "verified" } else { "not_verified" }], LIMIT)?;
    for (path, stays) in
        [("/tmp/old", !full()), ("/tmp/deep/er/old", !full()), ("/tmp/new", true), ("/etc/hostname", true)]
    {
        ensure!(host.run(&["test", "-e", path])?.success() == stays, "{path} after the cleanup");
    }
    Ok("cleanup_temp_files".to_owned())
}

fn readings(fleet: &Fleet) -> Result<()> {
    let path = format!("/api/v1/hosts/{}/queries", fleet.members[0].id);
    for query in QUERY_NAMES {
        let params = match query {
            "get_top_processes" => json!({ "limit": 5 }),
            "get_service_status" => json!({ "unit": NGINX }),
            _ => json!({}),
        };
        let read = fleet.api.post(&path, &json!({ "query": query, "params": params }))?;
        ensure!(!text(&read, "text").trim().is_empty() && read["value"] != Value::Null, "{query}: {read}");
        if query == "get_service_status" {
            ensure!(text(&read, "text").contains("active"), "{read}");
        }
    }
    Ok(())
}
