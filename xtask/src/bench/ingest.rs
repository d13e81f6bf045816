//! `cargo xtask bench ingest`: simulated agents with real mTLS sessions against the controller's intake.
//!
//! The server is a process of its own, so its CPU time and memory are its alone. Arguments go to
//! `controller/benches/ingest`: `--agents`, `--interval-ms`, `--seconds`, `--window-s`, `--threads`,
//! `--linger-ms`. VictoriaMetrics is measured in the same run, unless `--no-peer` is given.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::report::{Report, Row};
use super::victoria;

/// Ticks that the peer gets: enough that its series are known for most of them.
const PEER_TICKS: usize = 60;
/// The rows that a disk's own speed decides stand beside it.
const SYNC: &str = "fdatasync of 4 KiB after an append, same disk, same run";
const NO_PEER: &str = "--no-peer";

pub(super) fn run(root: &Path, arguments: &[String]) -> Result<Report> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args([
            "bench",
            "--quiet",
            "--profile",
            "dist",
            "--package",
            "sysop-controller",
            "--bench",
            "ingest",
            "--",
        ])
        .args(arguments.iter().filter(|word| *word != NO_PEER))
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("the measurement failed; its reason stands above");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line =
        text.lines().rev().find(|line| line.starts_with('{')).context("the measurement printed no result")?;
    let measured: Value = serde_json::from_str(line)?;
    let peer = if arguments.iter().any(|word| word == NO_PEER) { None } else { peer(root, &measured) };
    report(&measured, peer.as_ref())
}

/// The peer's cost with as many hosts and values; without it the table is ours alone.
fn peer(root: &Path, measured: &Value) -> Option<victoria::Cost> {
    let count = |key: &str| measured[key].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let folder = crate::test::target_folder(root).ok()?.join("bench");
    let cost = std::fs::create_dir_all(&folder)
        .map_err(anyhow::Error::from)
        .and_then(|()| victoria::run(&folder, count("agents"), count("columns"), PEER_TICKS));
    cost.inspect_err(|error| println!("the peer could not be measured: {error:#}")).ok()
}

fn report(measured: &Value, peer: Option<&victoria::Cost>) -> Result<Report> {
    let beside = |row: Row, value: fn(&victoria::Cost) -> f64| match peer {
        Some(cost) => row.peer(value(cost), victoria::NAME),
        None => row,
    };
    let agents = get_number(measured, "agents")?;
    let get = |key: &str| get_number(measured, key);
    let (cpu, columns) = (get("cpu_us_per_frame")?, get("columns")?);
    let handshakes = 1_000_000.0 / get("handshake_cpu_us")?.max(1.0);
    let sync = get("sync_p99_ms")?;
    let rows = vec![
        Row::new("frames per second", "1/s", get("frames_per_s")?).more(),
        Row::new("server CPU per durable frame", "us", cpu).goal(60.0),
        beside(
            Row::new("values per CPU-second, mTLS to durable", "1/s", columns * 1e6 / cpu.max(1e-9))
                .more()
                .goal(4e6),
            |cost| cost.values_per_cpu_second,
        ),
        Row::new("commits per second", "1/s", get("commits_per_s")?),
        Row::new("ack p50", "ms", get("ack_p50_ms")?).goal(6.0).peer(get("sync_p50_ms")?, SYNC),
        Row::new("ack p99", "ms", get("ack_p99_ms")?).goal(15.0).peer(sync, SYNC),
        Row::new("memory per agent, just connected", "KiB", get("rss_per_agent_connected")? / 1024.0),
        Row::new("memory per agent, with its recent samples", "KiB", get("rss_per_agent")? / 1024.0)
            .goal(40.0),
        beside(Row::new("memory of the server", "MiB", get("rss")? / 1_048_576.0), |cost| {
            cost.resident as f64 / 1_048_576.0
        }),
        Row::new("frame, encoded", "B", get("payload_per_frame")?),
        Row::new("on the wire per frame, both ways, with IP", "B", get("wire_per_frame")?).goal(240.0),
        Row::new("packets per sample, both ways", "", get("packets_per_frame")?),
        Row::new("all agents back", "s", get("reconnect_s")?).goal(get("window_s")? + 3.0),
        Row::new("half of the agents back", "s", get("reconnect_p50_s")?),
        Row::new("reconnects per CPU-second", "1/s", handshakes).more().goal(2_500.0),
        Row::new("stored per tick after compaction", "B", get("part_bytes_per_tick")?),
        Row::new("CPU per tick of compaction", "us", get("compaction_us_per_tick")?),
        Row::new("failed attempts", "", get("failed")?).goal(0.0),
    ];
    let mut notes = vec![
        format!(
            "{} agents, one sample of {columns} metrics, 10 processes and 20 units every {} ms; server with {} thread(s), linger {} ms",
            agents,
            get("interval_ms")?,
            get("threads")?,
            get("linger_ms")?
        ),
        format!(
            "load average {} while it ran: CPU and memory hold beside other work, times are upper bounds (fdatasync p99 {sync:.1} ms)",
            measured["load"].as_str().unwrap_or("unknown")
        ),
        format!(
            "a reconnect is handshake, hello, schema and first sample, committed; of {:.0} us in all per agent the {:.2} samples that followed meanwhile are taken off",
            get("storm_cpu_us")?,
            get("storm_later_frames")?
        ),
        "server built as the packages hold it, agents dial as the agent does".to_owned(),
    ];
    if let Some(cost) = peer {
        notes.push(format!(
            "VictoriaMetrics took {} values of {agents} hosts, all at once after our run",
            cost.values
        ));
    }
    Ok(Report { name: "ingest", notes, rows })
}

fn get_number(measured: &Value, key: &str) -> Result<f64> {
    measured[key].as_f64().with_context(|| format!("the result lacks {key}"))
}
