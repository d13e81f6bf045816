//! Taking hosts in, and whether what is shown of them is true.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::harness::api::text;
use crate::harness::fleet::{Fleet, Member, Plan, within};
use crate::hosts::{Host, wait_for};

/// From the pasted line to a host that is online.
const LIMIT: Duration = Duration::from_secs(5);

pub fn two_hosts_enrol() -> Result<()> {
    let plans =
        [Plan::named("one"), Plan::named("two").allow(&["restart_service=nginx.service,php*-fpm.service"])];
    Fleet::tell(&plans, |fleet| {
        for (at, member) in fleet.members.iter().enumerate() {
            within(&format!("enrolling {}", member.host.name()), member.took, LIMIT)?;
            ensure!(fleet.carrier(at)? == "quic", "the session is not carried by QUIC");
            rights_are_narrow(&member.host)?;
            values_are_true(fleet, at)?;
        }
        let [one, two] = &fleet.members[..] else { anyhow::bail!("two hosts were enrolled") };
        ensure!(
            !one.host.run(&["test", "-e", "/run/sysop/executor.sock"])?.success(),
            "a monitored host has a door"
        );
        ensure!(two.host.unit_state("sysop-executor.socket")? == "active", "the allowed action has no door");
        a_token_is_good_for_one_host(fleet)
    })
}

fn rights_are_narrow(host: &Host) -> Result<()> {
    for (path, rights) in [
        ("/etc/sysop/policy.toml", "root root 644"),
        ("/etc/sysop/trust", "root root 755"),
        ("/var/lib/sysop-agent", "sysop sysop 700"),
    ] {
        let found = host.check(&["stat", "--format=%U %G %a", path])?;
        ensure!(found == rights, "{path} is {found}, not {rights}");
    }
    Ok(())
}

/// Compares what the controller shows with what the host itself says.
fn values_are_true(fleet: &Fleet, at: usize) -> Result<()> {
    let member = &fleet.members[at];
    let latest = wait_for("second sample", Duration::from_secs(5), || {
        let latest = fleet.detail(at)?.get("latest").cloned().unwrap_or_default();
        Ok(latest.pointer("/values/cpu.usage").is_some().then_some(latest))
    })?;
    let value = |name: &str| {
        let found = latest.get("values").and_then(|values| values.get(name)).and_then(Value::as_f64);
        found.with_context(|| format!("{name} is not shown: {latest}"))
    };
    let usage = value("cpu.usage")?;
    ensure!((0.0..=1.0).contains(&usage), "CPU in use: {usage}");

    let memory = member.host.check(&["cat", "/proc/meminfo"])?;
    let used = 1.0 - kibibytes(&memory, "MemAvailable:")? / kibibytes(&memory, "MemTotal:")?;
    close("memory", value("memory.used_ratio")?, used, 0.1)?;
    let load = member.host.check(&["cat", "/proc/loadavg"])?;
    let load: f64 = load.split_whitespace().next().context("no load")?.parse()?;
    close("load", value("load.1")?, load, 1.0 + load * 0.5)?;

    let disks = latest.get("filesystems").and_then(Value::as_array).context("no file systems")?;
    let root =
        disks.iter().find(|disk| text(disk, "mount") == "/").with_context(|| format!("no / in {disks:?}"))?;
    let blocks = member.host.check(&["stat", "--file-system", "--format=%b %f %a", "/"])?;
    let blocks: Vec<f64> = blocks.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [all, free, available] = blocks[..] else { anyhow::bail!("stat said {blocks:?}") };
    let used = (all - free) / (all - free + available);
    close("used part of /", root.get("used_ratio").and_then(Value::as_f64).unwrap_or(-1.0), used, 0.02)?;
    units_are_true(fleet, member)?;
    processes_are_true(fleet, member)
}

fn units_are_true(fleet: &Fleet, member: &Member) -> Result<()> {
    let units = fleet.api.list(&format!("/api/v1/hosts/{}/units", member.id))?;
    let nginx =
        units.iter().find(|unit| text(unit, "name") == "nginx.service").context("nginx is not shown")?;
    let pid = member.host.check(&["systemctl", "show", "--property=MainPID", "--value", "nginx.service"])?;
    ensure!(
        text(nginx, "active") == "active" && text(nginx, "sub") == "running",
        "nginx is shown as {nginx}"
    );
    ensure!(nginx.get("main_pid") == Some(&json!(pid.parse::<u32>()?)), "nginx is {pid}, shown is {nginx}");
    let all = "list-units --type=service --all --plain --no-legend".split(' ');
    let known = member.host.check(&[&["systemctl"], &all.collect::<Vec<_>>()[..]].concat())?;
    let known: Vec<&str> = known.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let strange = units.iter().find(|unit| !known.contains(&text(unit, "name")));
    ensure!(strange.is_none(), "the host has no unit {strange:?}");
    Ok(())
}

fn processes_are_true(fleet: &Fleet, member: &Member) -> Result<()> {
    let shown = fleet.api.list(&format!("/api/v1/hosts/{}/processes?sort=memory", member.id))?;
    ensure!(shown.len() >= 5, "only {} processes are shown", shown.len());
    let mut same = 0;
    for process in &shown {
        let pid = process.get("pid").context("a process without a number")?;
        let there = member.host.run(&["cat", &format!("/proc/{pid}/comm")])?;
        // It may have ended meanwhile.
        same += usize::from(there.success() && there.stdout.trim() == text(process, "comm"));
    }
    ensure!(same * 3 >= shown.len() * 2, "of {} processes {same} are on the host: {shown:?}", shown.len());
    Ok(())
}

fn a_token_is_good_for_one_host(fleet: &Fleet) -> Result<()> {
    let stranger = fleet.lab.boot("three")?;
    stranger.install_agent()?;
    stranger.write("/usr/local/bin/sudo", b"#!/bin/sh\nexec \"$@\"\n", 0o755)?;
    let made = fleet.api.post("/api/v1/enrollment-tokens", &json!({ "name": "three" }))?;
    fleet.api.ask("DELETE", &format!("/api/v1/enrollment-tokens/{}", text(&made, "id")), &[], Vec::new())?;
    let line = text(&made, "command");
    let refused = stranger.run(&["sh", "-c", line])?;
    ensure!(!refused.success() && refused.stderr.contains("refused"), "a withdrawn token: {refused:?}");
    // Another controller's CA: the token is not even sent.
    let (before, fingerprint) = line.split_once("sha256:").context("no fingerprint in the line")?;
    let other: String = fingerprint
        .chars()
        .map(|c| {
            if c == '0' {
                '1'
            } else if c == '1' {
                '0'
            } else {
                c
            }
        })
        .collect();
    let refused = stranger.run(&["sh", "-c", &format!("{before}sha256:{other}")])?;
    ensure!(!refused.success() && refused.stderr.contains("whose fingerprint was given"), "{refused:?}");
    ensure!(
        !stranger.run(&["test", "-e", "/etc/sysop/trust/ca.pem"])?.success(),
        "a refused host has an identity"
    );
    ensure!(fleet.api.list("/api/v1/hosts")?.len() == 2);
    Ok(())
}

fn kibibytes(text: &str, key: &str) -> Result<f64> {
    let line = text.lines().find(|line| line.starts_with(key)).with_context(|| format!("no {key}"))?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}

fn close(what: &str, shown: f64, there: f64, by: f64) -> Result<()> {
    ensure!((shown - there).abs() <= by, "{what} is {there:.3} on the host, shown is {shown:.3}");
    Ok(())
}
