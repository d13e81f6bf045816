//! What the kernel's counters and gauges say after a stretch of time.

use std::collections::BTreeMap;

use sysop_common::metric::{self as m, MetricId};

use super::share::Shared;
use super::{GIB, Host};

impl Host {
    fn count(&mut self, id: MetricId, label: &str, by: f64) {
        match self.counters.get_mut(&(id.0, label.to_owned())) {
            Some(counter) => *counter += by.max(0.0),
            None => drop(self.counters.insert((id.0, label.to_owned()), by.max(0.0))),
        }
    }

    /// All columns.
    pub(super) fn columns(&mut self, s: &Shared, dt: f64) -> BTreeMap<(u16, String), i64> {
        self.processor_counters(s, dt);
        self.storage_counters(s, dt);
        self.network_counters(s, dt);
        let mut all: BTreeMap<(u16, String), i64> =
            self.counters.iter().map(|(key, value)| (key.clone(), *value as i64)).collect();
        self.memory_gauges(s, &mut all);
        self.other_gauges(s, &mut all);
        for (key, value) in &self.extra.gauges {
            all.insert(key.clone(), *value);
        }
        all
    }

    fn processor_counters(&mut self, s: &Shared, dt: f64) {
        let ms = dt * 1_000.0;
        let steal = self.extra.steal * self.cores;
        let idle = (self.cores - s.busy - s.nice - steal).max(0.0);
        let waiting = idle * s.io_some.min(0.9) * 0.6;
        self.count(m::CPU_USER, "", s.busy * 0.72 * ms);
        self.count(m::CPU_SYSTEM, "", s.busy * 0.24 * ms);
        self.count(m::CPU_SOFTIRQ, "", s.busy * 0.04 * ms);
        self.count(m::CPU_IRQ, "", 0.0);
        self.count(m::CPU_NICE, "", s.nice * ms);
        self.count(m::CPU_STEAL, "", steal * ms);
        self.count(m::CPU_IOWAIT, "", waiting * ms);
        self.count(m::CPU_IDLE, "", (idle - waiting) * ms);
        self.count(m::PSI_CPU_SOME, "", s.cpu_wait * dt * 1e6);
        self.count(m::PSI_MEMORY_SOME, "", s.memory_some * dt * 1e6);
        self.count(m::PSI_MEMORY_FULL, "", s.memory_full * dt * 1e6);
        self.count(m::PSI_IO_SOME, "", (s.io_some.max(s.memory_some * 0.8)).min(1.0) * dt * 1e6);
        self.count(m::PSI_IO_FULL, "", (s.io_full.max(s.memory_full * 0.6)).min(1.0) * dt * 1e6);
        let forks = self.noise.poisson(0.6 * dt + self.extra.forks_per_s * dt);
        self.count(m::PROCS_FORKED, "", forks);
        self.count(m::CONTEXT_SWITCHES, "", (800.0 + 3_000.0 * s.busy) * dt);
        self.count(m::SWAP_IN, "", s.swap_in * dt);
        self.count(m::SWAP_OUT, "", s.swap_out * dt);
        self.count(m::MEMORY_MAJOR_FAULTS, "", (s.swap_in / 16_384.0 + 0.1) * dt);
    }

    fn storage_counters(&mut self, s: &Shared, dt: f64) {
        let (reads, writes) = (s.read / 32_768.0 * dt, (s.write / 65_536.0 + 1.5) * dt);
        self.count(m::DISK_READS, "sda", reads);
        self.count(m::DISK_WRITES, "sda", writes);
        self.count(m::DISK_READ_BYTES, "sda", s.read * dt);
        self.count(m::DISK_WRITE_BYTES, "sda", s.write * dt);
        self.count(m::DISK_READ_TIME, "sda", reads * s.latency_ms);
        self.count(m::DISK_WRITE_TIME, "sda", writes * s.latency_ms * 1.2);
        self.count(m::DISK_BUSY, "sda", s.utilised * dt * 1_000.0);
        let quiet = 2_000.0 * self.noise.between(0.5, 1.5);
        self.count(m::LOG_BYTES, "journal", (quiet * s.demand + self.extra.log_bytes_per_s) * dt);
    }

    fn network_counters(&mut self, s: &Shared, dt: f64) {
        let bytes = self.net_base * s.demand * self.noise.between(0.85, 1.15);
        // What is lost is sent again, ever more slowly: less gets through.
        let through = 1.0 / (1.0 + 12.0 * self.extra.loss + self.extra.delay_ms / 150.0);
        let bytes = bytes * through + self.extra.net_bytes;
        let segments = (bytes / 1_100.0 + 4.0) * dt;
        let usual = 0.0015 * self.noise.between(0.3, 1.7);
        self.count(m::TCP_OUT_SEGMENTS, "", segments);
        let again = self.noise.poisson(segments * (usual + self.extra.loss * 0.95));
        self.count(m::TCP_RETRANSMITS, "", again);
        self.count(m::TCP_LISTEN_OVERFLOWS, "", self.extra.refused_per_s * dt);
        self.count(m::NET_RX_BYTES, "eth0", bytes * 0.6 * dt);
        self.count(m::NET_TX_BYTES, "eth0", bytes * 0.4 * dt);
        self.count(m::NET_RX_PACKETS, "eth0", segments * 1.1);
        self.count(m::NET_TX_PACKETS, "eth0", segments);
        self.count(m::NET_RX_ERRORS, "eth0", segments * self.extra.damaged);
        self.count(m::NET_TX_ERRORS, "eth0", 0.0);
        let knocks = self.noise.poisson(self.knocks / 3_600.0 * dt);
        let failed = self.failed_signins;
        self.failed_signins = 0.0;
        self.count(m::SIGNIN_FAILED, "", knocks + failed);
        self.count(m::DNS_TRIES, "", dt / 60.0);
        let lost = self.noise.chance(0.002);
        self.count(m::DNS_FAILURES, "", if lost { dt / 60.0 } else { 0.0 });
    }

    fn memory_gauges(&mut self, s: &Shared, all: &mut BTreeMap<(u16, String), i64>) {
        let mut set = |id: MetricId, value: f64| {
            all.insert((id.0, String::new()), value as i64);
        };
        let kernel = 0.25 * GIB + 0.02 * self.memory;
        let free = (self.memory - kernel - s.anon - self.cache).max(0.0);
        set(m::MEMORY_TOTAL, self.memory);
        set(m::MEMORY_FREE, free);
        set(m::MEMORY_CACHED, self.cache);
        set(m::MEMORY_ANON, s.anon);
        set(m::MEMORY_AVAILABLE, free + self.cache * 0.9);
        set(m::SWAP_TOTAL, self.swap);
        set(m::SWAP_FREE, self.swap - self.swapped);
        set(m::MEMORY_OOM_KILLS, self.oom_kills as f64);
    }

    fn other_gauges(&mut self, s: &Shared, all: &mut BTreeMap<(u16, String), i64>) {
        let tasks: f64 = self.works.iter().map(|work| work.tasks + work.more_tasks).sum();
        let fds: f64 = self.works.iter().map(|work| work.fds + work.more_fds).sum();
        let chance = self.noise.between(0.9, 1.1);
        let established = self.established * s.demand.max(0.0) * chance;
        let waiting = (self.noise.poisson(0.3) + self.extra.half_open).round();
        let blocked = self.works.iter().filter(|work| work.blocked).count();
        let mut set = |id: MetricId, value: f64| {
            all.insert((id.0, String::new()), value as i64);
        };
        set(m::CPU_CORES, self.cores);
        set(m::PROCS_RUNNING, s.running);
        set(m::PROCS_BLOCKED, blocked as f64);
        set(m::THREADS_TOTAL, tasks + 180.0);
        set(m::PROCS_TOTAL, tasks * 0.5 + 120.0);
        set(m::PID_MAX, 4_194_304.0);
        set(m::FD_USED, fds + 900.0);
        set(m::FD_MAX, 9_223_372_036_854_775_807.0);
        set(m::CONNTRACK_USED, established * 2.0 + self.extra.connections * 1.5 + waiting);
        set(m::CONNTRACK_MAX, 262_144.0);
        set(m::TCP_ESTABLISHED, established + self.extra.connections);
        set(m::TCP_SYN_RECEIVED, waiting);
        set(m::TCP_INBOUND, established + self.extra.connections);
        set(m::TASKS_ZOMBIE, self.zombies as f64);
        set(m::SIGNIN_SOURCES, 0.0);
        set(m::CLOCK_OFFSET, self.noise_offset());
        set(m::CLOCK_SYNCED, f64::from(u8::from(self.extra.clock_ahead_ms.abs() < 1_000)));
        set(m::HOST_UPTIME, (self.now.0 % 1_000_000_000) as f64);
        all.insert((m::AGENT_SENSOR_FAILED.0, "jobs".into()), 0);
        for mount in &self.mounts {
            let mut of = |id: MetricId, value: f64| {
                all.insert((id.0, mount.path.into()), value as i64);
            };
            of(m::FS_TOTAL, mount.total);
            of(m::FS_FREE, mount.total - mount.used);
            of(m::FS_AVAILABLE, (mount.total * 0.98 - mount.used).max(0.0));
            of(m::FS_INODES_TOTAL, mount.inodes);
            of(m::FS_INODES_FREE, mount.inodes - mount.inodes_used);
            of(m::FS_READ_ONLY, f64::from(u8::from(mount.read_only)));
        }
    }

    fn noise_offset(&mut self) -> f64 {
        self.extra.clock_offset_us + 200.0 * self.noise.normal()
    }
}
