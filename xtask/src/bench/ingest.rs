//! `cargo xtask bench ingest`: simulated agents with real mTLS sessions against the controller's intake.
//!
//! The server is a process of its own, so its CPU time and memory are its alone. Arguments go to
//! `controller/benches/ingest`: `--agents`, `--interval-ms`, `--seconds`, `--window-s`, `--threads`,
//! `--linger-ms`.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::report::{Report, Row};

/// Best of four runs on a machine of this kind, without TLS and without a log before the ack.
const PEER: (f64, &str) =
    (804_700.0, "VictoriaMetrics 1.79.5, values per CPU-second, recorded earlier (no TLS, no durable ack)");

pub(super) fn run(root: &Path, arguments: &[String]) -> Result<Report> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(["bench", "--quiet", "--package", "sysop-controller", "--bench", "ingest", "--"])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("the measurement failed; its reason stands above");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line =
        text.lines().rev().find(|line| line.starts_with('{')).context("the measurement printed no result")?;
    report(&serde_json::from_str(line)?)
}

fn report(measured: &Value) -> Result<Report> {
    let get = |key: &str| measured[key].as_f64().with_context(|| format!("the result lacks {key}"));
    let (cpu, columns) = (get("cpu_us_per_frame")?, get("columns")?);
    let handshakes = 1_000_000.0 / get("handshake_cpu_us")?.max(1.0);
    let sync = get("sync_p99_ms")?;
    let rows = vec![
        Row::new("frames per second", "1/s", get("frames_per_s")?).more(),
        Row::new("server CPU per durable frame", "us", cpu).goal(60.0),
        Row::new("values per CPU-second, mTLS to durable", "1/s", columns * 1e6 / cpu.max(1e-9))
            .more()
            .goal(4e6)
            .peer(PEER.0, PEER.1),
        Row::new("commits per second", "1/s", get("commits_per_s")?),
        Row::new("ack p50", "ms", get("ack_p50_ms")?).goal(6.0),
        Row::new("ack p99", "ms", get("ack_p99_ms")?).goal(15.0),
        Row::new("fdatasync p50 in this run", "ms", get("sync_p50_ms")?),
        Row::new("fdatasync p99 in this run", "ms", sync),
        Row::new("memory per connected agent", "KiB", get("rss_per_agent")? / 1024.0).goal(40.0),
        Row::new("memory of the server", "MiB", get("rss")? / 1_048_576.0),
        Row::new("frame, encoded", "B", get("payload_per_frame")?),
        Row::new("on the wire per frame, both ways, with IP", "B", get("wire_per_frame")?).goal(240.0),
        Row::new("all agents back", "s", get("reconnect_s")?).goal(get("window_s")? + 3.0),
        Row::new("half of the agents back", "s", get("reconnect_p50_s")?),
        Row::new("reconnects per CPU-second", "1/s", handshakes).more().goal(2_500.0),
        Row::new("stored per tick after compaction", "B", get("part_bytes_per_tick")?),
        Row::new("CPU per tick of compaction", "us", get("compaction_us_per_tick")?),
        Row::new("failed attempts", "", get("failed")?).goal(0.0),
    ];
    let notes = vec![
        format!(
            "{} agents, one sample of {columns} metrics, 10 processes and 20 units every {} ms; server with {} thread(s), linger {} ms",
            get("agents")?,
            get("interval_ms")?,
            get("threads")?,
            get("linger_ms")?
        ),
        format!(
            "load average {} while it ran: CPU and memory hold beside other work, times are upper bounds (fdatasync p99 {sync:.1} ms)",
            measured["load"].as_str().unwrap_or("unknown")
        ),
    ];
    Ok(Report { name: "ingest", notes, rows })
}
