//! A simulated host: what its services want, what the machine gives them, and what its kernel would count.
//!
//! Nothing here knows a detector or its limits. Work wants processors, storage and memory; they are shared
//! out; waiting, queues, latency and pressure follow from the sharing as queueing theory has it, and the
//! counters from that.

mod counters;
mod share;
mod tick;

use std::collections::BTreeMap;
use std::sync::Arc;

use sysop_common::metric::MetricId;
use sysop_common::sample::Active;
use sysop_common::time::UnixMs;
use sysop_controller::store::samples::NamedSchema;

use super::noise::Noise;

pub const MIB: f64 = 1_048_576.0;
pub const GIB: f64 = 1_073_741_824.0;

/// A service, or (where `session`) a process of somebody's session.
#[derive(Debug, Clone)]
pub struct Work {
    pub name: String,
    pub comm: String,
    pub user: String,
    pub session: bool,
    pub active: Active,
    pub sub: &'static str,
    pub result: &'static str,
    pub restarts: u32,
    pub pid: u32,
    pub start_ticks: u64,
    pub since: UnixMs,
    /// Cores that it wants at its mean load, and the share of that which follows the hour of the day.
    pub cpu: f64,
    pub daily: f64,
    /// Bytes of anonymous memory that it settles at, and bytes of storage per second at its mean load.
    pub memory: f64,
    pub write: f64,
    pub read: f64,
    pub tasks: f64,
    pub fds: f64,
    pub fd_limit: f64,
    pub task_limit: Option<f64>,
    pub memory_limit: Option<f64>,
    pub io_limit: Option<f64>,
    pub quota: Option<f64>,
    /// Works at low priority.
    pub nice: bool,
    // What troubles and benign work add in this tick.
    pub threads: f64,
    pub load: f64,
    pub more_write: f64,
    pub more_read: f64,
    pub frozen: bool,
    // What grows until the service begins again.
    pub grown: f64,
    pub more_fds: f64,
    pub more_tasks: f64,
    // State of the simulation.
    pub wander: f64,
    pub now: f64,
    pub blocked: bool,
    pub cpu_us: f64,
    pub read_bytes: f64,
    pub write_bytes: f64,
    pub oom_kills: u64,
    pub periods: f64,
    pub throttled: f64,
}

/// A file system.
#[derive(Debug, Clone)]
pub struct Mount {
    pub path: &'static str,
    pub total: f64,
    pub used: f64,
    pub inodes: f64,
    pub inodes_used: f64,
    pub read_only: bool,
    /// Bytes and files that a cleaning of temporary files takes away.
    pub temp: f64,
    pub temp_inodes: f64,
}

/// What is added to the host in one tick beside its services' wishes.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    pub steal: f64,
    /// Share of sent segments that are lost, and added round-trip time in ms.
    pub loss: f64,
    pub delay_ms: f64,
    pub damaged: f64,
    pub connections: f64,
    pub half_open: f64,
    pub refused_per_s: f64,
    pub clock_ahead_ms: i64,
    pub clock_offset_us: f64,
    pub forks_per_s: f64,
    pub net_bytes: f64,
    /// Factor on the wishes of all services: more users than usual.
    pub demand: f64,
    /// Bytes of page cache that files fill.
    pub cache: f64,
    pub log_bytes_per_s: f64,
    pub silent: bool,
    /// Columns that only trouble has, by metric and label.
    pub gauges: BTreeMap<(u16, String), i64>,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Host {
    pub cores: f64,
    pub memory: f64,
    pub swap: f64,
    /// Bytes per second that its disk moves.
    pub disk: f64,
    pub now: UnixMs,
    pub works: Vec<Work>,
    pub mounts: Vec<Mount>,
    pub extra: Extra,
    pub noise: Noise,
    pub net_base: f64,
    pub established: f64,
    /// Failures of sign-in of background noise per hour.
    pub knocks: f64,
    pub failed_signins: f64,
    pub seq: u64,
    pub next_pid: u32,
    pub swapped: f64,
    pub cache: f64,
    pub oom_kills: u64,
    pub wander: f64,
    pub zombies: i64,
    pub counters: BTreeMap<(u16, String), f64>,
    pub schema: Option<(Vec<(u16, String)>, Arc<NamedSchema>)>,
}

impl Work {
    pub fn unit(name: &str, cpu: f64, memory: f64) -> Self {
        let comm = name.trim_end_matches(".service").to_owned();
        Self {
            name: name.to_owned(),
            user: comm.clone(),
            comm: comm.chars().take(15).collect(),
            session: false,
            active: Active::Active,
            sub: "running",
            result: "success",
            restarts: 0,
            pid: 0,
            start_ticks: 0,
            since: UnixMs(0),
            cpu,
            daily: 0.6,
            memory,
            write: 0.0,
            read: 0.0,
            tasks: 6.0,
            fds: 40.0,
            fd_limit: 1_024.0,
            task_limit: None,
            memory_limit: None,
            io_limit: None,
            quota: None,
            nice: false,
            threads: 0.0,
            load: 0.0,
            more_write: 0.0,
            more_read: 0.0,
            frozen: false,
            grown: 0.0,
            more_fds: 0.0,
            more_tasks: 0.0,
            wander: 0.0,
            now: 0.0,
            blocked: false,
            cpu_us: 0.0,
            read_bytes: 0.0,
            write_bytes: 0.0,
            oom_kills: 0,
            periods: 0.0,
            throttled: 0.0,
        }
    }

    pub fn io(self, read: f64, write: f64) -> Self {
        Self { read, write, ..self }
    }

    pub fn runs(&self) -> bool {
        matches!(self.active, Active::Active | Active::Reloading)
    }
}

impl Host {
    /// Begins a service or process anew, as systemd would.
    pub fn begin(&mut self, at: usize, by_hand: bool) {
        self.next_pid += 7;
        let (pid, now) = (self.next_pid, self.now);
        let Some(work) = self.works.get_mut(at) else { return };
        (work.pid, work.since, work.start_ticks) = (pid, now, (now.0 / 10) as u64 % 1_000_000_000);
        (work.active, work.sub, work.result) = (Active::Active, "running", "success");
        (work.grown, work.more_fds, work.more_tasks, work.now) = (0.0, 0.0, 0.0, work.memory * 0.4);
        work.frozen = false;
        (work.cpu_us, work.read_bytes, work.write_bytes, work.oom_kills) = (0.0, 0.0, 0.0, 0);
        work.restarts = if by_hand { 0 } else { work.restarts + 1 };
    }

    /// Ends a service: with `failed` by itself and badly, else because somebody wanted it.
    pub fn end(&mut self, at: usize, failed: Option<&'static str>) {
        let now = self.now;
        let Some(work) = self.works.get_mut(at) else { return };
        (work.pid, work.since, work.now) = (0, now, 0.0);
        (work.grown, work.more_fds, work.more_tasks) = (0.0, 0.0, 0.0);
        (work.active, work.sub, work.result) = match failed {
            Some(result) => (Active::Failed, "failed", result),
            None => (Active::Inactive, "dead", "success"),
        };
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.works.iter().position(|work| work.name == name)
    }

    /// A service or session, made if it is not there.
    pub fn with(&mut self, name: &str, session: bool) -> usize {
        let at = self.find(name).unwrap_or_else(|| {
            let mut work = Work::unit(name, 0.0, 20.0 * MIB);
            (work.session, work.daily) = (session, 0.0);
            if session {
                "ann".clone_into(&mut work.user);
            }
            self.works.push(work);
            let at = self.works.len() - 1;
            self.begin(at, true);
            at
        });
        if !self.works[at].runs() && self.works[at].active != Active::Failed {
            self.begin(at, true);
        }
        at
    }

    pub fn mount(&mut self, path: &str) -> Option<&mut Mount> {
        self.mounts.iter_mut().find(|mount| mount.path == path)
    }

    pub fn gauge(&mut self, id: MetricId, label: impl Into<String>, value: f64) {
        self.extra.gauges.insert((id.0, label.into()), value as i64);
    }

    /// Forgets what was added for one tick.
    pub fn clear(&mut self) {
        self.extra = Extra { demand: 1.0, ..Extra::default() };
        for work in &mut self.works {
            (work.threads, work.load, work.more_write, work.more_read) = (0.0, 0.0, 0.0, 0.0);
            work.blocked = false;
        }
    }
}
