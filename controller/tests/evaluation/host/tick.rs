//! One tick as the agent would send it.

use std::collections::BTreeMap;
use std::sync::Arc;

use sysop_common::ids::{Epoch, Seq};
use sysop_common::metric::{self as m, MetricId};
use sysop_common::sample::{Active, Column, Process, Schema, Tick, Unit};
use sysop_controller::store::samples::{Boot, NamedSchema, Stored};

use super::{Host, Work};

/// Open files from which the agent looks up the limit, and for how many processes.
const FEW_FILES: f64 = 64.0;
const FILES: usize = 4;

impl Host {
    /// Lets `dt` seconds pass, and looks.
    pub fn tick(&mut self, dt: f64) -> Arc<Stored> {
        self.now = self.now.plus((dt * 1_000.0) as i64);
        self.seq += 1;
        let shared = self.share(dt);
        self.grow_files(&shared, dt);
        let mut columns = self.columns(&shared, dt);
        self.limits(&mut columns);
        let schema = self.schema(&columns);
        let mut units: Vec<Unit> = self.works.iter().filter(|work| !work.session).map(unit).collect();
        units.retain(|unit| unit.active != Active::Inactive);
        units.sort_by(|a, b| a.name.cmp(&b.name));
        let processes = self.works.iter().filter(|work| work.pid > 0).map(process).collect();
        let at = self.now;
        // Clocks tick in ms and packets take their time.
        let late = 8 + (self.noise.unit() * 30.0) as i64 + self.extra.delay_ms as i64;
        let tick = Tick {
            seq: Seq(self.seq),
            at: at.plus(self.extra.clock_ahead_ms),
            values: columns.into_values().collect(),
            processes,
            units,
        };
        let received_at = at.plus(late);
        Arc::new(Stored { tick: Arc::new(tick), schema, epoch: Epoch(1), boot: Boot(1), at, received_at })
    }

    fn grow_files(&mut self, shared: &super::share::Shared, dt: f64) {
        // Logs and data grow a little with what is written, and are rotated away again.
        let grown = 0.002 * shared.write.min(4e6) * dt;
        if let Some(root) = self.mounts.first_mut() {
            root.used = (root.used + grown).min(root.total);
            if root.used > 0.58 * root.total && root.temp == 0.0 {
                root.used -= 0.15 * root.total;
            }
        }
    }

    /// Columns that the agent shows only where something comes near a limit.
    fn limits(&self, all: &mut BTreeMap<(u16, String), i64>) {
        let mut set = |id: MetricId, label: &str, value: f64| {
            all.insert((id.0, label.to_owned()), value as i64);
        };
        let mut files: Vec<&Work> =
            self.works.iter().filter(|w| w.pid > 0 && w.fds + w.more_fds >= FEW_FILES).collect();
        files.sort_by(|a, b| {
            ((b.fds + b.more_fds) / b.fd_limit).total_cmp(&((a.fds + a.more_fds) / a.fd_limit))
        });
        for work in files.into_iter().take(FILES) {
            let pid = work.pid.to_string();
            set(m::TASK_FDS, &pid, (work.fds + work.more_fds).min(work.fd_limit));
            set(m::TASK_FDS_MAX, &pid, work.fd_limit);
        }
        for work in self.works.iter().filter(|work| !work.session) {
            let tasks = work.tasks + work.more_tasks;
            if let Some(limit) = work.task_limit.filter(|limit| tasks >= 0.5 * limit) {
                set(m::UNIT_PIDS, &work.name, tasks.min(limit));
                set(m::UNIT_PIDS_MAX, &work.name, limit);
                set(m::UNIT_PIDS_REFUSED, &work.name, (tasks - limit).max(0.0));
            }
            if work.quota.is_some() && work.runs() {
                set(m::UNIT_CPU_PERIODS, &work.name, work.periods);
                set(m::UNIT_CPU_THROTTLED, &work.name, work.throttled);
            }
            if let Some(limit) = work.io_limit {
                set(m::UNIT_IO_WRITE_LIMIT, &work.name, limit);
            }
            if let Some(limit) = work.memory_limit {
                set(m::UNIT_MEMORY_LIMIT, &work.name, limit);
            }
        }
    }

    fn schema(&mut self, columns: &BTreeMap<(u16, String), i64>) -> Arc<NamedSchema> {
        let same =
            |known: &Vec<(u16, String)>| known.len() == columns.len() && known.iter().eq(columns.keys());
        if let Some((keys, schema)) = &self.schema
            && same(keys)
        {
            return schema.clone();
        }
        let keys: Vec<(u16, String)> = columns.keys().cloned().collect();
        let columns = keys.iter().map(|(id, label)| Column::new(MetricId(*id), label.as_str()).unwrap());
        let schema = NamedSchema::new(Schema { columns: columns.collect() });
        self.schema = Some((keys, schema.clone()));
        schema
    }
}

fn unit(work: &Work) -> Unit {
    let alive = work.pid > 0;
    let seen = |value: f64| alive.then_some(value as u64);
    let anon = work.now + work.grown;
    Unit {
        name: work.name.as_str().into(),
        active: work.active,
        sub: work.sub.into(),
        result: work.result.into(),
        restarts: work.restarts,
        main_pid: work.pid,
        since_ms: work.since.0,
        memory_bytes: seen(anon * 1.2),
        anon_bytes: seen(anon),
        cpu_us: seen(work.cpu_us),
        tasks: seen(work.tasks + work.more_tasks),
        io_read_bytes: seen(work.read_bytes),
        io_write_bytes: seen(work.write_bytes),
        oom_kills: alive.then_some(work.oom_kills),
    }
}

fn process(work: &Work) -> Process {
    let state = match () {
        () if work.frozen => b'T',
        () if work.blocked => b'D',
        () if work.threads > 0.0 => b'R',
        () => b'S',
    };
    Process {
        pid: work.pid,
        start_ticks: work.start_ticks,
        comm: work.comm.as_str().into(),
        user: work.user.as_str().into(),
        unit: if work.session { "".into() } else { work.name.as_str().into() },
        args: work.comm.as_str().into(),
        cpu_ms: (work.cpu_us / 1_000.0) as u64,
        rss_bytes: ((work.now + work.grown) * 1.1) as u64,
        io_read_bytes: Some(work.read_bytes as u64),
        io_write_bytes: Some(work.write_bytes as u64),
        threads: (work.tasks + work.more_tasks) as u32,
        state,
    }
}
