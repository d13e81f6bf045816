//! Kinds of hosts, and what the analyser has learned of each by the time that something happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sysop_common::ids::HostId;
use sysop_common::time::{DAY_MS, HOUR_MS, MINUTE_MS, UnixMs};
use sysop_controller::analyse::engine::{Engine, Step};
use sysop_controller::analyse::input::{FillHistory, HostInput, filling};
use sysop_controller::analyse::state::HostState;
use sysop_controller::analyse::window::Window;
use sysop_controller::store::samples::{RECENT_MS, Stored};
use uuid::Uuid;

use super::host::{Extra, GIB, Host, MIB, Mount, Work};
use super::noise::Noise;

/// Monday 2027-01-04, 00:00 UTC.
const MONDAY: UnixMs = UnixMs(1_799_020_800_000);
/// The one host.
pub const HOST: HostId = HostId(Uuid::from_u128(7));
pub const KINDS: [&str; 5] = ["web", "database", "batch", "small", "build"];

/// A host of a kind; which of its services it has and how large they are differs by seed.
pub fn host(kind: &str, seed: u64) -> Host {
    let mut noise = Noise::new(seed ^ 0x40_57);
    let mut n = |low: f64, high: f64| noise.between(low, high);
    let unit = |name: &str, cpu: f64, mib: f64| Work::unit(name, cpu, mib * MIB);
    let (cores, memory, disk, swap) = match kind {
        "web" => (4.0, 8.0, 200.0, 2.0),
        "database" => (8.0, 32.0, 400.0, 4.0),
        "batch" => (4.0, 16.0, 150.0, 0.0),
        "small" => (2.0, 2.0, 80.0, 1.0),
        _ => (8.0, 16.0, 300.0, 2.0),
    };
    let mut works = match kind {
        "web" => vec![
            unit("nginx.service", n(0.1, 0.3), 60.0),
            unit("shop-api.service", n(0.5, 1.0), n(600.0, 1_200.0)).io(2e4, 1e5),
            unit("worker.service", n(0.2, 0.5), n(200.0, 500.0)).io(1e5, 2e5),
            unit("redis-server.service", 0.08, 300.0).io(0.0, 5e4),
        ],
        "database" => vec![
            unit("postgresql.service", n(1.0, 2.5), n(6_000.0, 12_000.0)).io(n(4e6, 2e7), n(3e6, 1e7)),
            unit("pgbouncer.service", 0.15, 40.0),
            unit("metrics-exporter.service", 0.05, 50.0),
            unit("search-index.service", n(0.2, 0.6), n(1_000.0, 3_000.0)).io(5e5, 5e5),
        ],
        "batch" => vec![
            unit("scheduler.service", 0.1, 200.0),
            unit("etl-worker.service", n(0.3, 0.8), n(800.0, 2_000.0)).io(2e6, 2e6),
            unit("queue-reader.service", n(0.1, 0.3), 150.0),
        ],
        "small" => vec![
            unit("caddy.service", n(0.03, 0.1), 40.0),
            unit("blog.service", n(0.1, 0.3), n(150.0, 300.0)).io(1e4, 5e4),
        ],
        _ => vec![
            unit("ci-runner.service", n(0.3, 0.8), 400.0).io(5e5, 1e6),
            unit("registry.service", n(0.1, 0.3), 250.0).io(1e6, 1e6),
            unit("gitea.service", n(0.1, 0.4), n(300.0, 600.0)).io(2e5, 2e5),
        ],
    };
    works.extend([
        unit("systemd-journald.service", 0.01, 30.0).io(0.0, 3e3),
        unit("ssh.service", 0.002, 8.0),
        unit("cron.service", 0.004, 4.0),
        unit("chrony.service", 0.002, 4.0),
        unit("systemd-resolved.service", 0.003, 12.0),
    ]);
    let root = Mount {
        path: "/",
        total: 80.0 * GIB,
        used: n(25.0, 40.0) * GIB,
        inodes: 5e6,
        inodes_used: 4e5,
        read_only: false,
        temp: 0.0,
        temp_inodes: 0.0,
    };
    let (base, established, knocks) = (n(2e5, 1.5e6), n(20.0, 90.0), n(2.0, 40.0));
    let mut host = Host::new(cores, memory * GIB, swap * GIB, disk * MIB, works, root, Noise::new(seed));
    (host.net_base, host.established, host.knocks) = (base, established, knocks);
    host.now = MONDAY.plus(DAY_MS * (seed % 5) as i64);
    for at in 0..host.works.len() {
        host.begin(at, true);
        host.works[at].now = host.works[at].memory;
    }
    host
}

impl Host {
    pub fn new(
        cores: f64,
        memory: f64,
        swap: f64,
        disk: f64,
        works: Vec<Work>,
        root: Mount,
        noise: Noise,
    ) -> Self {
        Self {
            cores,
            memory,
            swap,
            disk,
            now: MONDAY,
            works,
            mounts: vec![root],
            extra: Extra { demand: 1.0, ..Extra::default() },
            noise,
            net_base: 5e5,
            established: 40.0,
            knocks: 5.0,
            failed_signins: 0.0,
            seq: 0,
            next_pid: 700,
            swapped: 0.0,
            cache: 0.2 * memory,
            oom_kills: 0,
            wander: 0.0,
            zombies: 0,
            counters: BTreeMap::new(),
            schema: None,
        }
    }
}

/// What a host does every day whatever else happens: a nightly backup, and jobs by its kind.
pub fn routine(host: &mut Host, kind: &str, jobs: &mut Jobs) {
    let minute = host.now.0.div_euclid(MINUTE_MS);
    let (of_day, day) = (minute.rem_euclid(1_440), minute.div_euclid(1_440));
    if (130..155).contains(&of_day) {
        let at = host.with("restic-backup.service", false);
        host.works[at].load = 0.3 * host.cores;
        (host.works[at].more_read, host.works[at].more_write) = (0.35 * host.disk, 0.05 * host.disk);
    } else if let Some(at) = host.find("restic-backup.service")
        && host.works[at].runs()
    {
        host.end(at, None);
    }
    if (375..377).contains(&of_day) {
        let at = host.with("logrotate.service", false);
        host.works[at].threads = 1.0;
    } else if let Some(at) = host.find("logrotate.service")
        && host.works[at].runs()
        && of_day == 377
    {
        host.end(at, None);
    }
    let _ = day;
    match kind {
        "batch" => jobs.work(host, "nightly-report.service", 180, host.cores + 1.0),
        "build" => jobs.work(host, "cargo", 55, host.cores),
        _ => {}
    }
}

/// Jobs that take all processors for some minutes, at times that nobody planned to the minute.
#[derive(Debug, Clone, Default)]
pub struct Jobs {
    next: i64,
    until: i64,
}

impl Jobs {
    fn work(&mut self, host: &mut Host, name: &str, every: i64, threads: f64) {
        let now = host.now.0 / 1_000;
        if now >= self.next {
            self.until = now + host.noise.between(60.0, 300.0) as i64;
            self.next = now + (every as f64 * 60.0 * host.noise.between(0.6, 1.5)) as i64;
        }
        if now < self.until {
            let at = host.with(name, !name.ends_with(".service"));
            host.works[at].threads = threads;
            host.works[at].more_write = 0.03 * host.disk;
        }
    }
}

/// A host with the analyser's view of it.
#[derive(Clone)]
pub struct World {
    pub kind: &'static str,
    pub host: Host,
    pub jobs: Jobs,
    pub state: HostState,
    pub ticks: Vec<Arc<Stored>>,
    /// Use of file systems, by the minute.
    pub fills: BTreeMap<String, FillHistory>,
    fills_at: i64,
}

impl World {
    /// A host of which nothing is known yet.
    pub fn new(kind: &'static str, seed: u64) -> Self {
        Self {
            kind,
            host: host(kind, seed),
            jobs: Jobs::default(),
            state: HostState::default(),
            ticks: Vec::new(),
            fills: BTreeMap::new(),
            fills_at: 0,
        }
    }

    /// Lets time pass under what `hands` do, and takes a sample.
    pub fn pass(&mut self, dt: f64, hands: &mut [(&mut super::cases::Hand, f64)]) {
        self.host.clear();
        routine(&mut self.host, self.kind, &mut self.jobs);
        for (hand, since) in hands {
            hand(&mut self.host, *since, dt);
        }
        let silent = self.host.extra.silent;
        let tick = self.host.tick(dt);
        if silent {
            return;
        }
        self.remember(&tick);
        self.ticks.push(tick);
        let old = self.host.now.plus(-RECENT_MS);
        let drop = self.ticks.partition_point(|stored| stored.at < old);
        self.ticks.drain(..drop);
    }

    fn remember(&mut self, tick: &Stored) {
        let minute = tick.at.0.div_euclid(MINUTE_MS);
        if minute == self.fills_at {
            return;
        }
        self.fills_at = minute;
        for mount in &self.host.mounts {
            let history = self.fills.entry(mount.path.to_owned()).or_default();
            history.bytes_6h.push((tick.at, mount.used));
            history.inodes_6h.push((tick.at, mount.inodes_used));
            let old = tick.at.plus(-6 * HOUR_MS);
            let drop = history.bytes_6h.partition_point(|(at, _)| *at < old);
            if drop > 60 {
                history.bytes_6h.drain(..drop);
                history.inodes_6h.drain(..drop);
            }
            if minute % 60 == 0 {
                history.bytes_3d.push((tick.at, mount.used));
                history.inodes_3d.push((tick.at, mount.inodes_used));
            }
        }
    }

    /// One look of the analyser; `None` without a sample. The state goes with it: see [`World::take`].
    pub fn look(&mut self, engine: &Engine, open: &BTreeSet<String>) -> Option<Step> {
        let window = Window::new(self.ticks.clone(), None);
        let wanted = filling(&window);
        let input = HostInput {
            fills: wanted
                .into_iter()
                .filter_map(|m| Some((m.clone(), self.fills.get(&m)?.clone())))
                .collect(),
            window,
            state: std::mem::take(&mut self.state),
            open: open.clone(),
            ..HostInput::default()
        };
        engine.step(input).map_err(|input| self.state = input.state).ok()
    }

    /// Takes back what a look learned.
    pub fn take(&mut self, step: Step) {
        self.state = step.input.state;
    }
}
