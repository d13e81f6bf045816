//! `cargo xtask bench agent`: what the running agent costs, beside node_exporter and collectd at the same
//! interval, and beside the least that reading the same files can cost.
//!
//! CPU time, memory and bytes are stable on a busy machine, wall times are not; so the table holds the
//! former. A busy machine makes all of them dearer alike: compare with the peers of the same run.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::ours::Ours;
use super::peers::{self, Peer};
use super::process::{Memory, Watched, own_cpu};
use super::report::{Report, Row};

/// Looks before the window: descriptors are opened, and idle processes are recognised as such.
const WARM_UP: u32 = 8;
const MIB: f64 = 1_048_576.0;
const EXPORTER: &str = "node_exporter, collectors like ours, HTTP";
const COLLECTD: &str = "collectd, ten plugins, UDP without encryption";
const FLOOR: &str = "one read of an open descriptor per process and host file, no more";

/// What to measure.
#[derive(Debug)]
struct Plan {
    interval: Duration,
    /// Looks in the window.
    looks: u32,
    /// Sleeping processes are started up to this number.
    processes: usize,
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut plan = Self { interval: Duration::from_secs(10), looks: 12, processes: 150 };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let value: u32 = words.next().and_then(|value| value.parse().ok()).unwrap_or(0);
            match (word.as_str(), value) {
                ("--interval", 1..=60) => plan.interval = Duration::from_secs(value.into()),
                ("--looks", 1..) => plan.looks = value,
                ("--processes", 1..) => plan.processes = value as usize,
                _ => bail!("usage: cargo xtask bench agent [--interval 1..60] [--looks N] [--processes N]"),
            }
        }
        Ok(plan)
    }
}

/// Counters of a program at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    cpu: Duration,
    bytes: u64,
    values: u64,
}

/// What the window showed of a program, per look.
#[derive(Debug, Clone, Copy)]
struct Seen {
    cpu_ms: f64,
    bytes: f64,
    values: f64,
    memory: Memory,
}

/// Measures.
pub(super) fn run(root: &Path, arguments: &[String]) -> Result<Report> {
    let plan = Plan::parse(arguments)?;
    let target = crate::test::target_folder(root)?;
    let folder = target.join("bench");
    fs::create_dir_all(&folder)?;
    let unpacked = peers::unpack(&folder)?;
    let ours = Ours::start(root, &target, plan.interval)?;
    let company = Company::start(plan.processes)?;
    let exporter = peers::node_exporter(&unpacked, plan.interval)?;
    let collectd = peers::collectd(&unpacked, &folder, plan.interval)?;
    let mut floor = Floor::open();
    println!("measuring {} looks, one every {} s, after {WARM_UP}", plan.looks, plan.interval.as_secs());
    // Half an interval beside the looks, so that each program has as many of them in the window.
    std::thread::sleep(plan.interval * WARM_UP - plan.interval / 2);

    let marks = || -> Result<[Mark; 3]> {
        let agent = Mark { cpu: ours.agent.cpu()?, bytes: ours.relay.bytes(), values: 0 };
        Ok([agent, mark(&exporter)?, mark(&collectd)?])
    };
    let before = marks()?;
    let floor_ms = floor.run(&plan).as_secs_f64() * 1e3 / f64::from(plan.looks);
    let after = marks()?;
    let seen = |at: usize, program: &Watched| -> Result<Seen> {
        let (before, after, looks) = (before[at], after[at], f64::from(plan.looks));
        Ok(Seen {
            cpu_ms: after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e3 / looks,
            bytes: (after.bytes - before.bytes) as f64 / looks,
            values: (after.values - before.values) as f64 / looks,
            memory: program.memory()?,
        })
    };
    let mut own = seen(0, &ours.agent)?;
    own.values = ours.values;
    let mut rows = rows(&own, &seen(1, &exporter.process)?, &seen(2, &collectd.process)?, floor_ms);
    let size = Row::new("program", "MiB", ours.size as f64 / MIB);
    rows.push(if ours.packaged { size.goal(4.0) } else { size });
    let notes = vec![
        format!(
            "{} looks, one every {} s; about {} processes on the host, {} of them sleepers of this bench",
            plan.looks,
            plan.interval.as_secs(),
            processes(),
            company.0.len()
        ),
        if ours.packaged {
            "ours is built as the packages hold it: static, optimised for size".to_owned()
        } else {
            "ours is an ordinary release build, larger than the packages' static one".to_owned()
        },
        "ours: samples, spool on disk, mutual TLS over QUIC and acks of a controller in the same run".into(),
        format!(
            "{:.0} values per sample of ours, {:.0} of node_exporter, {:.0} of collectd",
            own.values,
            seen(1, &exporter.process)?.values,
            seen(2, &collectd.process)?.values
        ),
    ];
    Ok(Report { name: "agent", notes, rows })
}

fn mark(peer: &Peer) -> Result<Mark> {
    let (bytes, values) = peer.sent.so_far();
    Ok(Mark { cpu: peer.process.cpu()?, bytes, values })
}

/// Goals that are ratios are told as what they mean in this run.
fn rows(ours: &Seen, exporter: &Seen, collectd: &Seen, floor_ms: f64) -> Vec<Row> {
    let cpu = || Row::new("CPU per look", "ms", ours.cpu_ms);
    let per_value = |seen: &Seen| seen.cpu_ms * 1e3 / seen.values.max(1.0);
    let proportional = |seen: &Seen| seen.memory.proportional as f64 / MIB;
    let resident = |seen: &Seen| seen.memory.resident as f64 / MIB;
    let pss = || Row::new("memory, shared pages in parts (PSS)", "MiB", proportional(ours));
    let wire = || Row::new("bytes per look, both ways, IP included", "B", ours.bytes);
    vec![
        cpu().goal(1.0),
        cpu().peer(collectd.cpu_ms, COLLECTD).goal(collectd.cpu_ms / 5.0),
        cpu().peer(exporter.cpu_ms, EXPORTER).goal(exporter.cpu_ms / 9.0),
        cpu().peer(floor_ms, FLOOR).goal(floor_ms * 2.5),
        Row::new("CPU per value", "us", per_value(ours)).goal(4.0),
        Row::new("CPU per value", "us", per_value(ours)).peer(per_value(collectd), COLLECTD),
        Row::new("CPU per value", "us", per_value(ours)).peer(per_value(exporter), EXPORTER),
        Row::new("resident memory (RSS)", "MiB", resident(ours)).peer(resident(exporter), EXPORTER),
        pss().goal(4.0),
        pss().peer(proportional(exporter), EXPORTER).goal(proportional(exporter) / 3.0),
        pss().peer(proportional(collectd), COLLECTD).goal(proportional(collectd) * 2.0),
        Row::new("private dirty memory", "MiB", ours.memory.private_dirty as f64 / MIB).goal(1.5),
        wire().goal(240.0),
        wire().peer(collectd.bytes, COLLECTD).goal(collectd.bytes / 7.0),
        wire().peer(exporter.bytes, EXPORTER).goal(exporter.bytes / 7.0),
    ]
}

/// The least that can be done: one read of a kept descriptor per process and per file of the host.
struct Floor {
    files: Vec<File>,
    buffer: Vec<u8>,
}

const HOST_FILES: &str = "stat meminfo vmstat loadavg uptime diskstats net/dev net/snmp net/netstat \
                          pressure/cpu pressure/memory pressure/io self/mountinfo";

impl Floor {
    fn open() -> Self {
        let names = HOST_FILES.split_whitespace().map(String::from);
        let names = names.chain(pids().into_iter().map(|pid| format!("{pid}/stat")));
        let files = names.filter_map(|name| File::open(Path::new("/proc").join(name)).ok()).collect();
        Self { files, buffer: vec![0; 1 << 16] }
    }

    /// Reads everything at the plan's interval, on this thread, and returns its CPU time.
    fn run(&mut self, plan: &Plan) -> Duration {
        let mut next = Instant::now();
        let mut spent = Duration::ZERO;
        for _ in 0..plan.looks {
            next += plan.interval;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            let start = own_cpu();
            for file in &self.files {
                let _ = file.read_at(&mut self.buffer, 0);
            }
            spent += own_cpu().saturating_sub(start);
        }
        spent
    }
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn processes() -> usize {
    pids().len()
}

/// Sleeping processes that make the host as crowded as a server is; ended with this value.
struct Company(Vec<Child>);

impl Company {
    fn start(wanted: usize) -> Result<Self> {
        let mut company = Self(Vec::new());
        for _ in processes()..wanted {
            let mut sleep = Command::new("sleep");
            sleep.arg("86400").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            company.0.push(sleep.spawn().context("could not start sleep")?);
        }
        Ok(company)
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
