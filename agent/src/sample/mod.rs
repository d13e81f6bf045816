//! Looks at the host: one file per sensor, each with its own state, each failing alone.
//!
//! [`Sampler::tick`] runs every sensor of [`registry`] in turn and joins what they saw to one
//! [`Tick`] under a schema that stays the same object while the layout does. A look may block for up to a
//! quarter of a second (the system bus), so it belongs on a thread that may.
//!
//! To add a sensor: a file with a type that is a [`Sensor`], its metrics in `sysop_common::metric`, one line in
//! [`registry`], a recorded file in `tests/fixtures`.

mod agent_self;
mod cgroup;
mod clock;
mod cpu;
mod disk;
mod dns;
mod facts;
mod filesystem;
mod kernel;
mod limits;
mod load;
mod logs;
mod memory;
mod network;
mod pressure;
mod probes;
mod process;
mod read;
mod sensor;
pub mod show;
mod signin;
mod tcp;
#[cfg(test)]
mod tests;
mod unit;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sysop_common::ids::Seq;
use sysop_common::sample::{MAX_COLUMNS, MAX_PROCESSES, Schema, Tick};
use sysop_common::time::UnixMs;
use sysop_common::wire::Inventory;

pub use crate::config::Redaction;

pub use self::probes::ProbeBoard;

pub(crate) use self::dns::servers as name_servers;
pub(crate) use self::sensor::is_unsafe;
use self::sensor::{Cycle, Health, Output, Sensor};

/// Slow facts are looked at this often.
const SLOW: Duration = Duration::from_secs(60);

/// Where the kernel's and the host's files are; other folders in tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// `/`, below which the mount points are.
    pub root: PathBuf,
    /// `/proc`
    pub proc: PathBuf,
    /// `/sys`
    pub sys: PathBuf,
    /// `/sys/fs/cgroup`
    pub cgroup: PathBuf,
    /// `/etc`
    pub etc: PathBuf,
    /// `/run`, with the system bus's socket in it.
    pub run: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self::below("/")
    }
}

impl Roots {
    /// The folders of a host whose root is at `root`, as in a container that observes its host.
    pub fn below(root: impl AsRef<Path>) -> Self {
        let root = root.as_ref();
        Self {
            root: root.to_owned(),
            proc: root.join("proc"),
            sys: root.join("sys"),
            cgroup: root.join("sys/fs/cgroup"),
            etc: root.join("etc"),
            run: root.join("run"),
        }
    }
}

/// How to look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// What is hidden in command lines.
    pub redaction: Redaction,
}

/// What one look gave.
#[derive(Debug, Clone)]
pub struct Observation {
    /// What the tick's columns mean.
    pub schema: Arc<Schema>,
    /// Whether it differs from the look before; true for the first.
    pub schema_changed: bool,
    /// The values.
    pub tick: Tick,
}

/// How a sensor did in the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensorStatus {
    /// Its name.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// Runs the sensors.
pub struct Sampler {
    roots: Roots,
    slots: Vec<Slot>,
    schema: Arc<Schema>,
    number: u64,
    last: Option<Instant>,
    slow_at: Option<Instant>,
    spool_bytes: Option<u64>,
}

struct Slot {
    sensor: Box<dyn Sensor>,
    output: Output,
    took: Duration,
    error: Option<String>,
}

/// All sensors, in the order of their columns. The CPU and memory sensors come before those that use
/// their hints, the agent's own comes last.
fn registry(roots: &Roots, options: Options) -> Vec<Box<dyn Sensor>> {
    let Roots { root, proc, sys, cgroup, etc, run } = roots;
    vec![
        Box::new(cpu::Cpu::new(proc)),
        Box::new(memory::Memory::new(proc)),
        Box::new(load::Load::new(proc)),
        Box::new(pressure::Pressure::new(proc)),
        Box::new(disk::Disk::new(proc, sys)),
        Box::new(filesystem::Filesystem::new(root, proc)),
        Box::new(network::Network::new(proc, sys)),
        Box::new(tcp::Tcp::new(proc)),
        Box::new(kernel::Kernel::new(proc)),
        Box::new(clock::Clock::default()),
        Box::new(process::Processes::new(proc, etc, options.redaction.clone())),
        Box::new(unit::Units::new(run, cgroup)),
        Box::new(limits::Limits::new(cgroup)),
        Box::new(process::jobs::Jobs::new(proc, cgroup, options.redaction)),
        Box::new(signin::Signins::new(root)),
        Box::new(dns::Dns::new(etc)),
        Box::new(logs::Logs::new(root)),
        Box::new(agent_self::AgentSelf::new(proc)),
    ]
}

impl Sampler {
    /// A sampler that has not looked yet.
    #[must_use]
    pub fn new(roots: Roots, options: Options) -> Self {
        Self::with(roots, options, |_| true)
    }

    /// As [`Sampler::new`], with those sensors only whose name is among `names`.
    #[must_use]
    pub fn only(roots: Roots, options: Options, names: &[&str]) -> Self {
        Self::with(roots, options, |name| names.contains(&name))
    }

    fn with(roots: Roots, options: Options, wanted: impl Fn(&str) -> bool) -> Self {
        let slot = |sensor| Slot { sensor, output: Output::default(), took: Duration::ZERO, error: None };
        let sensors = registry(&roots, options).into_iter().filter(|sensor| wanted(sensor.name()));
        Self {
            slots: sensors.map(slot).collect(),
            roots,
            schema: Arc::default(),
            number: 0,
            last: None,
            slow_at: None,
            spool_bytes: None,
        }
    }

    /// Shows in the ticks what stands on this board.
    pub fn show_probes(&mut self, board: ProbeBoard) {
        let sensor: Box<dyn Sensor> = Box::new(probes::Probes(board));
        self.slots.push(Slot { sensor, output: Output::default(), took: Duration::ZERO, error: None });
    }

    /// Tells how full the spool is; shown in the ticks from the next on.
    pub fn set_spool_bytes(&mut self, bytes: u64) {
        self.spool_bytes = Some(bytes);
    }

    /// Looks once.
    pub fn tick(&mut self, seq: Seq, now: UnixMs) -> Observation {
        let mut cycle = self.begin();
        let mut changed = self.number == 0;
        for slot in &mut self.slots {
            changed |= slot.look(&mut cycle);
        }
        self.number += 1;
        if changed {
            self.join_schema();
        }
        let mut tick = Tick { seq, at: now, values: Vec::new(), processes: Vec::new(), units: Vec::new() };
        tick.values.reserve_exact(self.schema.columns.len());
        for slot in &mut self.slots {
            tick.values.extend_from_slice(slot.output.values());
            tick.processes.append(&mut slot.output.processes);
            tick.units.append(&mut slot.output.units);
        }
        tick.values.truncate(MAX_COLUMNS);
        tick.processes.truncate(MAX_PROCESSES);
        Observation { schema: Arc::clone(&self.schema), schema_changed: changed, tick }
    }

    fn begin(&mut self) -> Cycle {
        let instant = Instant::now();
        // A look that comes a little early must not put the slow facts off to the next.
        let slow = self.slow_at.is_none_or(|at| instant + Duration::from_millis(500) >= at + SLOW);
        if slow {
            self.slow_at = Some(instant);
        }
        let elapsed = self.last.map_or(Duration::ZERO, |last| instant - last);
        self.last = Some(instant);
        Cycle { number: self.number, slow, elapsed, spool_bytes: self.spool_bytes, ..Cycle::default() }
    }

    fn join_schema(&mut self) {
        let mut columns: Vec<_> = self.slots.iter().flat_map(|slot| slot.output.columns()).cloned().collect();
        columns.truncate(MAX_COLUMNS);
        self.schema = Arc::new(Schema { columns });
    }

    /// Facts about the host that change seldom; labels, catalogue and grants are left empty. Takes some
    /// milliseconds: ask at the start of a session and once an hour.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        facts::gather(&self.roots)
    }

    /// How each sensor did in the last look.
    #[must_use]
    pub fn status(&self) -> Vec<SensorStatus> {
        let status = |slot: &Slot| SensorStatus {
            name: slot.sensor.name(),
            took: slot.took,
            error: slot.error.clone(),
        };
        self.slots.iter().map(status).collect()
    }
}

impl Slot {
    /// Runs the sensor; true when its layout changed.
    fn look(&mut self, cycle: &mut Cycle) -> bool {
        let start = Instant::now();
        self.output.begin();
        let result = self.sensor.read(cycle, &mut self.output);
        self.took = start.elapsed();
        let name = self.sensor.name();
        let error = result.err().map(|error| error.to_string());
        let failed = error.is_some();
        match (&self.error, &error) {
            (None, Some(error)) => tracing::warn!(sensor = name, error, "sensor failed"),
            (Some(_), None) => tracing::info!(sensor = name, "sensor works again"),
            _ => {}
        }
        self.error = error;
        cycle.health.push(Health { sensor: name, took: self.took, failed });
        if failed {
            self.output.fail();
            return false;
        }
        self.output.commit()
    }
}
