//! An observation for people and for scripts, with rates from the one before it.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sysop_common::ids::Seq;
use sysop_common::metric::{self, Kind, Unit};
use sysop_common::sample::{Column, NOT_OBSERVED, Process};
use sysop_common::time::UnixMs;

use super::{Observation, Sampler, SensorStatus};

/// Two looks and how the sensors did in the second.
#[derive(Debug)]
pub struct Pair {
    before: Observation,
    after: Observation,
    sensors: Vec<SensorStatus>,
}

/// One value of the second look.
struct Item<'a> {
    name: &'static str,
    column: &'a Column,
    /// Quantity; `None` when not observed.
    value: Option<f64>,
    /// Change per second of a counter, unless it was reset.
    rate: Option<f64>,
}

impl Pair {
    /// Looks twice, `pause` apart, so that rates can be told. Blocks meanwhile.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "for a command that has nothing else to do meanwhile")]
    pub fn take(sampler: &mut Sampler, pause: Duration) -> Self {
        let now = || UnixMs::from_system(SystemTime::now());
        let before = sampler.tick(Seq(1), now());
        std::thread::sleep(pause);
        let after = sampler.tick(Seq(2), now());
        Self::new(before, after, sampler.status())
    }

    /// Two looks that were taken already.
    #[must_use]
    pub const fn new(before: Observation, after: Observation, sensors: Vec<SensorStatus>) -> Self {
        Self { before, after, sensors }
    }

    fn seconds(&self) -> f64 {
        (self.after.tick.at.since(self.before.tick.at) as f64 / 1000.0).max(0.001)
    }

    fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let seconds = self.seconds();
        self.after.schema.columns.iter().zip(&self.after.tick.values).filter_map(move |(column, now)| {
            let scale = f64::from(column.scale.max(1));
            let observed = |value: i64| (value != NOT_OBSERVED).then_some(value as f64 / scale);
            let before = self
                .before
                .schema
                .position(column.metric, &column.label)
                .and_then(|at| self.before.tick.values.get(at).copied())
                .and_then(observed);
            let value = observed(*now);
            let rate = match column.kind {
                Kind::Counter => before.zip(value).filter(|(a, b)| b >= a).map(|(a, b)| (b - a) / seconds),
                Kind::Gauge => None,
            };
            Some(Item { name: metric::by_id(column.metric)?.name, column, value, rate })
        })
    }

    /// Share of one core that a process used between the looks, in percent.
    fn cpu_percent(&self, process: &Process) -> Option<f64> {
        let before = self
            .before
            .tick
            .processes
            .iter()
            .find(|p| p.pid == process.pid && p.start_ticks == process.start_ticks)?;
        let used = process.cpu_ms.checked_sub(before.cpu_ms)?;
        Some(used as f64 / self.seconds() / 10.0)
    }

    /// For scripts: every metric with its value and rate, processes, units, sensors.
    #[must_use]
    pub fn json(&self) -> Value {
        let metrics: Vec<Value> = self
            .items()
            .map(|item| {
                json!({
                    "name": item.name,
                    "label": item.column.label,
                    "unit": item.column.unit,
                    "kind": item.column.kind,
                    "value": item.value,
                    "per_second": item.rate,
                })
            })
            .collect();
        let processes: Vec<Value> = self
            .after
            .tick
            .processes
            .iter()
            .map(|process| {
                let mut value = json!(process);
                value["state"] = json!(char::from(process.state).to_string());
                value["cpu_percent"] = json!(self.cpu_percent(process));
                value
            })
            .collect();
        let sensors: Vec<Value> = self
            .sensors
            .iter()
            .map(|sensor| {
                json!({"name": sensor.name, "took_us": sensor.took.as_micros() as u64, "error": sensor.error})
            })
            .collect();
        json!({
            "at_ms": self.after.tick.at.0,
            "seconds": self.seconds(),
            "metrics": metrics,
            "processes": processes,
            "units": self.after.tick.units,
            "sensors": sensors,
        })
    }

    /// For people: one line per group of metrics, then tables.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.put_metrics(&mut out);
        self.put_processes(&mut out);
        self.put_units(&mut out);
        self.put_sensors(&mut out);
        out
    }

    pub(crate) fn put_metrics(&self, out: &mut String) {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        // Times of the sensors come with the sensors below.
        for item in self.items().filter(|item| !item.name.starts_with("agent.sensor")) {
            let (family, rest) = item.name.split_once('.').unwrap_or((item.name, ""));
            let label = item.column.label.as_str();
            let group = if label.is_empty() { family.to_owned() } else { format!("{family} {label}") };
            let text = format!("{rest} {}", quantity(&item));
            match groups.iter_mut().find(|(name, _)| *name == group) {
                Some((_, items)) => items.push(text),
                None => groups.push((group, vec![text])),
            }
        }
        for (group, items) in groups {
            let mut line = format!("{group:<12}");
            for item in items {
                if line.chars().count() + item.chars().count() > 110 {
                    let _ = writeln!(out, "{}", line.trim_end());
                    line = " ".repeat(12);
                }
                let _ = write!(line, "  {item}");
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }

    pub(crate) fn put_processes(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "\n{:>8} {:<12} {:>6} {:>10}  {:<24} COMMAND",
            "PID", "USER", "CPU %", "MEMORY", "UNIT"
        );
        for process in &self.after.tick.processes {
            let cpu = self.cpu_percent(process).map_or_else(|| "-".into(), |percent| format!("{percent:.1}"));
            let command = if process.args.is_empty() {
                format!("[{}]", process.comm)
            } else {
                process.args.to_string()
            };
            let _ = writeln!(
                out,
                "{:>8} {:<12} {cpu:>6} {:>10}  {:<24} {command}",
                process.pid,
                process.user,
                bytes(process.rss_bytes as f64),
                process.unit,
            );
        }
    }

    pub(crate) fn put_units(&self, out: &mut String) {
        if self.after.tick.units.is_empty() {
            let _ = writeln!(out, "\nNo systemd units observed.");
            return;
        }
        let _ = writeln!(
            out,
            "\n{:<40} {:<22} {:>8} {:>10} {:>6}",
            "UNIT", "STATE", "RESTARTS", "MEMORY", "TASKS"
        );
        for unit in &self.after.tick.units {
            let state = format!("{} ({})", unit.active.word(), unit.sub);
            let memory = unit.memory_bytes.map_or_else(|| "-".into(), |value| bytes(value as f64));
            let tasks = unit.tasks.map_or_else(|| "-".into(), |tasks| tasks.to_string());
            let _ =
                writeln!(out, "{:<40} {state:<22} {:>8} {memory:>10} {tasks:>6}", unit.name, unit.restarts);
        }
    }

    fn put_sensors(&self, out: &mut String) {
        let took = |sensor: &SensorStatus| format!("{} {} µs", sensor.name, sensor.took.as_micros());
        let times: Vec<String> = self.sensors.iter().map(took).collect();
        let _ = writeln!(out, "\nSensors: {}", times.join(", "));
        for sensor in &self.sensors {
            if let Some(error) = &sensor.error {
                let _ = writeln!(out, "Sensor {} failed: {error}", sensor.name);
            }
        }
    }
}

/// A value with its unit; counters as rates, times as shares of a second.
fn quantity(item: &Item<'_>) -> String {
    let (value, counter) = match item.column.kind {
        Kind::Counter => (item.rate, true),
        Kind::Gauge => (item.value, false),
    };
    let Some(value) = value else { return "not observed".into() };
    match (item.column.unit, counter) {
        (Unit::Ms, true) => format!("{:.1} %", value / 10.0),
        (Unit::Us, true) => format!("{:.1} %", value / 10_000.0),
        (Unit::Bytes, true) => format!("{}/s", bytes(value)),
        (Unit::Count | Unit::Flag, true) => format!("{value:.1}/s"),
        (Unit::Ms, false) => format!("{:.0} s", value / 1000.0),
        (Unit::Us, false) => format!("{value:.0} µs"),
        (Unit::Bytes, false) => bytes(value),
        (Unit::Flag, false) => if value == 0.0 { "no" } else { "yes" }.into(),
        (Unit::Count, false) if item.column.scale > 1 => format!("{value:.2}"),
        (Unit::Count, false) => format!("{value:.0}"),
    }
}

/// Bytes with a binary prefix and three digits.
fn bytes(value: f64) -> String {
    let mut value = value;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            return if value < 10.0 && unit != "B" {
                format!("{value:.1} {unit}")
            } else {
                format!("{value:.0} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} PiB")
}
