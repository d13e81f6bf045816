//! One function per reading: from two looks at the host to lines for people and JSON for programs.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sysop_common::ids::Seq;
use sysop_common::metric::{self, MetricId};
use sysop_common::query::Query;
use sysop_common::sample::{Active, NOT_OBSERVED, Process, Unit};
use sysop_common::time::UnixMs;

use crate::sample::{Observation, Options, Roots, Sampler};

/// Between the two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Most processes that are named.
const MAX_PROCESSES: u8 = 50;

/// Text and JSON of a reading, or why there is none.
type Text = Result<(String, Value), String>;

/// What was seen.
struct Looks {
    before: Observation,
    after: Observation,
}

/// Reads what `query` asks for.
pub(super) fn read(query: &Query, roots: &Roots, options: &Options) -> Text {
    let mut sampler = Sampler::only(roots.clone(), options.clone(), sensors(query));
    let mut look = |seq| sampler.tick(Seq(seq), UnixMs::from_system(SystemTime::now()));
    let before = look(1);
    let after = if needs_rates(query) {
        #[expect(
            clippy::disallowed_methods,
            reason = "the caller gives a thread that has nothing else to do"
        )]
        std::thread::sleep(PAUSE);
        look(2)
    } else {
        before.clone()
    };
    let looks = Looks { before, after };
    match query {
        Query::GetCpuUsage => looks.cpu(),
        Query::GetMemoryUsage => looks.memory(),
        Query::GetDiskUsage => looks.disk(),
        Query::GetSystemLoad => looks.load(),
        Query::GetTopProcesses { limit } => looks.processes(*limit),
        Query::GetServiceStatus { unit } => looks.service(unit.as_str()),
        Query::GetFailedServices => looks.failed(),
    }
}

/// What must be looked at: a reading that may be asked for at any time costs no more than it must.
const fn sensors(query: &Query) -> &'static [&'static str] {
    match query {
        Query::GetCpuUsage => &["cpu"],
        Query::GetMemoryUsage => &["memory"],
        Query::GetDiskUsage => &["filesystem"],
        Query::GetSystemLoad => &["cpu", "load", "pressure"],
        Query::GetTopProcesses { .. } => &["cpu", "memory", "load", "process"],
        Query::GetServiceStatus { .. } | Query::GetFailedServices => &["unit"],
    }
}

const fn needs_rates(query: &Query) -> bool {
    matches!(query, Query::GetCpuUsage | Query::GetTopProcesses { .. } | Query::GetSystemLoad)
}

impl Looks {
    fn value(&self, id: MetricId, label: &str) -> Option<i64> {
        of(&self.after, id, label)
    }

    /// A gauge as a quantity.
    fn gauge(&self, id: MetricId) -> Option<f64> {
        let scale = metric::by_id(id).map_or(1, |metric| metric.scale.max(1));
        self.value(id, "").map(|value| value as f64 / f64::from(scale))
    }

    /// How much a counter grew between the looks.
    fn growth(&self, id: MetricId, label: &str) -> Option<i64> {
        let grown = self.value(id, label)?.checked_sub(of(&self.before, id, label)?)?;
        (grown >= 0).then_some(grown)
    }

    fn labels(&self, id: MetricId) -> impl Iterator<Item = &str> {
        let columns = self.after.schema.columns.iter();
        columns.filter(move |column| column.metric == id).map(|column| column.label.as_str())
    }

    fn elapsed_ms(&self) -> f64 {
        (self.after.tick.at.since(self.before.tick.at) as f64).max(1.0)
    }

    fn cpu(&self) -> Text {
        const MODES: [(&str, MetricId); 8] = [
            ("user", metric::CPU_USER),
            ("nice", metric::CPU_NICE),
            ("system", metric::CPU_SYSTEM),
            ("idle", metric::CPU_IDLE),
            ("iowait", metric::CPU_IOWAIT),
            ("irq", metric::CPU_IRQ),
            ("softirq", metric::CPU_SOFTIRQ),
            ("steal", metric::CPU_STEAL),
        ];
        let grown = MODES.map(|(name, id)| (name, self.growth(id, "").unwrap_or_default() as f64));
        let all: f64 = grown.iter().map(|(_, ms)| ms).sum();
        if all <= 0.0 {
            return Err("CPU time was not observed on this host".into());
        }
        let percent = |ms: f64| round(ms / all * 100.0);
        let of_mode = |name| grown.iter().find(|(mode, _)| *mode == name).map_or(0.0, |(_, ms)| *ms);
        let used = round(100.0 - percent(of_mode("idle")) - percent(of_mode("iowait")));
        let mut text = format!("CPU used {used} % over {:.1} s\n", self.elapsed_ms() / 1000.0);
        let modes: Vec<String> =
            grown.iter().map(|(name, ms)| format!("{name} {} %", percent(*ms))).collect();
        let _ = writeln!(text, "{}", modes.join(", "));
        let mut cores = Vec::new();
        for label in self.labels(metric::CPU_CORE_BUSY) {
            let Some(busy) = self.growth(metric::CPU_CORE_BUSY, label) else { continue };
            let busy = round((busy as f64 / self.elapsed_ms() * 100.0).min(100.0));
            let _ = writeln!(text, "core {label}: {busy} %");
            cores.push(json!({"core": label, "busy_percent": busy}));
        }
        let modes: serde_json::Map<String, Value> =
            grown.iter().map(|(name, ms)| ((*name).to_owned(), json!(percent(*ms)))).collect();
        Ok((text, json!({"used_percent": used, "modes_percent": modes, "cores": cores})))
    }

    fn memory(&self) -> Text {
        const PARTS: [(&str, MetricId); 8] = [
            ("total", metric::MEMORY_TOTAL),
            ("available", metric::MEMORY_AVAILABLE),
            ("free", metric::MEMORY_FREE),
            ("buffers", metric::MEMORY_BUFFERS),
            ("cached", metric::MEMORY_CACHED),
            ("anonymous", metric::MEMORY_ANON),
            ("swap_total", metric::SWAP_TOTAL),
            ("swap_free", metric::SWAP_FREE),
        ];
        let (mut text, mut bytes) = (String::new(), serde_json::Map::new());
        for (name, id) in PARTS {
            let value = self.value(id, "");
            let _ = writeln!(text, "{name:<12}{}", value.map_or("not observed".into(), size));
            bytes.insert(name.to_owned(), json!(value));
        }
        let used = self.value(metric::MEMORY_TOTAL, "").zip(self.value(metric::MEMORY_AVAILABLE, ""));
        let used = used.filter(|(total, _)| *total > 0).map(|(total, free)| share(total - free, total));
        let _ = writeln!(text, "used        {}", used.map_or("not observed".into(), |p| format!("{p} %")));
        Ok((text, json!({"bytes": bytes, "used_percent": used})))
    }

    fn disk(&self) -> Text {
        let (mut text, mut rows) = (String::new(), Vec::new());
        for mount in self.labels(metric::FS_TOTAL) {
            let value = |id| self.value(id, mount);
            let Some(total) = value(metric::FS_TOTAL) else { continue };
            let free = value(metric::FS_FREE).unwrap_or_default();
            let available = value(metric::FS_AVAILABLE).unwrap_or_default();
            // As df: what root keeps for itself counts neither as used nor as free.
            let used = total - free;
            let percent = share(used, used + available);
            let inodes = value(metric::FS_INODES_TOTAL).zip(value(metric::FS_INODES_FREE));
            let inodes = inodes.filter(|(all, _)| *all > 0).map(|(all, free)| share(all - free, all));
            let read_only = value(metric::FS_READ_ONLY) == Some(1);
            let _ = writeln!(
                text,
                "{mount}: {percent} % of {} used, {} available, inodes {}{}",
                size(total),
                size(available),
                inodes.map_or("not observed".into(), |p| format!("{p} % used")),
                if read_only { ", read-only" } else { "" },
            );
            rows.push(json!({
                "mount": mount, "total_bytes": total, "available_bytes": available,
                "used_percent": percent, "inodes_used_percent": inodes, "read_only": read_only,
            }));
        }
        if rows.is_empty() {
            return Err("no file system was observed on this host".into());
        }
        Ok((text, json!({"filesystems": rows})))
    }

    fn load(&self) -> Text {
        const GAUGES: [(&str, MetricId); 6] = [
            ("load_1", metric::LOAD_1),
            ("load_5", metric::LOAD_5),
            ("load_15", metric::LOAD_15),
            ("running", metric::PROCS_RUNNING),
            ("blocked", metric::PROCS_BLOCKED),
            ("cores", metric::CPU_CORES),
        ];
        const PRESSURES: [(&str, MetricId); 4] = [
            ("cpu_some", metric::PSI_CPU_SOME),
            ("memory_some", metric::PSI_MEMORY_SOME),
            ("memory_full", metric::PSI_MEMORY_FULL),
            ("io_full", metric::PSI_IO_FULL),
        ];
        let (mut text, mut out) = (String::new(), serde_json::Map::new());
        for (name, id) in GAUGES {
            let value = self.gauge(id);
            let _ = writeln!(text, "{name:<12}{}", value.map_or("not observed".into(), |v| v.to_string()));
            out.insert(name.to_owned(), json!(value));
        }
        let mut pressure = serde_json::Map::new();
        for (name, id) in PRESSURES {
            // Microseconds of standstill in the time between the looks.
            let value = self.growth(id, "").map(|us| round(us as f64 / 10.0 / self.elapsed_ms()));
            let shown = value.map_or("not observed".into(), |percent| format!("{percent} %"));
            let _ = writeln!(text, "pressure {name}: {shown}");
            pressure.insert(name.to_owned(), json!(value));
        }
        out.insert("pressure_percent".into(), pressure.into());
        Ok((text, out.into()))
    }

    fn processes(&self, limit: u8) -> Text {
        let used = |process: &Process| {
            let same = |p: &&Process| p.pid == process.pid && p.start_ticks == process.start_ticks;
            let before = self.before.tick.processes.iter().find(same)?;
            Some(round(process.cpu_ms.checked_sub(before.cpu_ms)? as f64 / self.elapsed_ms() * 100.0))
        };
        let mut rows: Vec<(Option<f64>, &Process)> =
            self.after.tick.processes.iter().map(|process| (used(process), process)).collect();
        rows.sort_by(|a, b| {
            b.0.unwrap_or(-1.0).total_cmp(&a.0.unwrap_or(-1.0)).then(b.1.rss_bytes.cmp(&a.1.rss_bytes))
        });
        rows.truncate(usize::from(limit.clamp(1, MAX_PROCESSES)));
        let mut text = String::from("    PID  CPU %      MEMORY  USER          UNIT  COMMAND\n");
        let mut list = Vec::new();
        for (cpu, process) in rows {
            let name = if process.args.is_empty() { &process.comm } else { &process.args };
            let _ = writeln!(
                text,
                "{:>7}  {:>5}  {:>10}  {:<12}  {}  {name}",
                process.pid,
                cpu.map_or("-".into(), |cpu| cpu.to_string()),
                size(i64::try_from(process.rss_bytes).unwrap_or(i64::MAX)),
                process.user,
                if process.unit.is_empty() { "-" } else { &process.unit },
            );
            list.push(json!({
                "pid": process.pid, "start_ticks": process.start_ticks, "comm": process.comm,
                "user": process.user, "unit": process.unit, "command": process.args,
                "cpu_percent": cpu, "rss_bytes": process.rss_bytes,
            }));
        }
        Ok((text, json!({"processes": list})))
    }

    fn service(&self, name: &str) -> Text {
        let units = &self.after.tick.units;
        if units.is_empty() {
            return Err("systemd was not observed on this host".into());
        }
        match units.iter().find(|unit| unit.name == name) {
            Some(unit) => Ok((describe(unit), json!(unit))),
            None => Err(format!("{name} is not among the loaded services of this host")),
        }
    }

    fn failed(&self) -> Text {
        let units = &self.after.tick.units;
        if units.is_empty() {
            return Err("systemd was not observed on this host".into());
        }
        let failed: Vec<&Unit> = units.iter().filter(|unit| unit.active == Active::Failed).collect();
        let text = match failed.len() {
            0 => "No service failed.\n".to_owned(),
            _ => failed.iter().map(|unit| describe(unit)).collect(),
        };
        Ok((text, json!({"failed": failed})))
    }
}

fn of(observation: &Observation, id: MetricId, label: &str) -> Option<i64> {
    let at = observation.schema.position(id, label)?;
    observation.tick.values.get(at).copied().filter(|value| *value != NOT_OBSERVED)
}

fn describe(unit: &Unit) -> String {
    let mut text = format!("{}: {} ({})", unit.name, unit.active.word(), unit.sub);
    if !unit.result.is_empty() && unit.result != "success" {
        let _ = write!(text, ", result {}", unit.result);
    }
    let _ = write!(text, ", restarts {}", unit.restarts);
    if unit.main_pid > 0 {
        let _ = write!(text, ", main pid {}", unit.main_pid);
    }
    if let Some(bytes) = unit.memory_bytes {
        let _ = write!(text, ", memory {}", size(i64::try_from(bytes).unwrap_or(i64::MAX)));
    }
    text.push('\n');
    text
}

fn share(part: i64, whole: i64) -> f64 {
    if whole > 0 { round(part as f64 / whole as f64 * 100.0) } else { 0.0 }
}

/// To one digit after the point, and never minus zero.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0 + 0.0
}

fn size(bytes: i64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{value:.1} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}
