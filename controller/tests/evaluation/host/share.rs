//! Sharing out: who gets how much of processors, storage and memory, and how long all wait for it.

use sysop_common::time::{DAY_MS, HOUR_MS};

use super::super::noise::poisson_above;
use super::{GIB, Host, MIB};

/// What came of one stretch of time.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared {
    /// Cores in use at ordinary and at low priority, cores in the kernel among them as a share.
    pub(super) busy: f64,
    pub(super) nice: f64,
    pub(super) running: f64,
    pub(super) cpu_wait: f64,
    pub(super) io_some: f64,
    pub(super) io_full: f64,
    pub(super) utilised: f64,
    pub(super) latency_ms: f64,
    pub(super) queue: f64,
    pub(super) read: f64,
    pub(super) write: f64,
    pub(super) memory_some: f64,
    pub(super) memory_full: f64,
    pub(super) swap_in: f64,
    pub(super) swap_out: f64,
    pub(super) anon: f64,
    pub(super) demand: f64,
}

impl Host {
    /// One stretch of `dt` seconds.
    pub(super) fn share(&mut self, dt: f64) -> Shared {
        let demand = self.wishes(dt);
        let mut shared = Shared { demand, ..Shared::default() };
        self.memory(dt, &mut shared);
        self.processors(dt, &mut shared);
        self.storage(dt, &mut shared);
        shared
    }

    /// How much is wanted of the host now, as a share of its mean: the hour, the day, and chance.
    fn wishes(&mut self, dt: f64) -> f64 {
        let hour = self.now.0.rem_euclid(DAY_MS) as f64 / HOUR_MS as f64;
        let day = (self.now.0.div_euclid(DAY_MS) + 3).rem_euclid(7);
        let wave = 0.5 * ((hour - 14.0) / 24.0 * std::f64::consts::TAU).cos();
        let week = if day >= 5 { 0.75 } else { 1.0 };
        let keep = (-dt / 900.0).exp();
        let fresh = (1.0 - keep * keep).sqrt();
        self.wander = self.wander * keep + 0.12 * fresh * self.noise.heavy();
        for work in &mut self.works {
            let keep = (-dt / 300.0).exp();
            work.wander = work.wander * keep + 0.15 * (1.0 - keep * keep).sqrt() * self.noise.heavy();
        }
        (1.0 + wave) * week * self.wander.clamp(-0.8, 0.8).exp() * self.extra.demand
    }

    fn processors(&mut self, dt: f64, shared: &mut Shared) {
        let capacity = self.cores * (1.0 - self.extra.steal);
        let (mut light, mut heavy, mut nice) = (0.0, 0.0, 0.0);
        let mut wants = Vec::with_capacity(self.works.len());
        for work in &self.works {
            let alive = work.runs() && !work.frozen;
            let own = work.cpu * (1.0 - work.daily + work.daily * shared.demand);
            let own = (own * work.wander.clamp(-1.0, 1.0).exp() + work.load) * f64::from(u8::from(alive));
            let threads = if alive { work.threads } else { 0.0 };
            wants.push((own, threads, work.nice, work.quota));
            if work.nice { nice += own + threads } else { (light, heavy) = (light + own, heavy + threads) }
        }
        // A thread that waits for memory or storage does not want a processor.
        let held = 1.0 - 0.7 * shared.memory_full;
        (light, heavy, nice) = (light * held, heavy * held, nice * held);
        let busy = (light + heavy).min(capacity);
        let rest = (capacity - busy).max(0.0);
        (shared.busy, shared.nice) = (busy, nice.min(rest.max(0.02 * capacity)));
        let rho = (light + heavy) / capacity.max(0.01);
        // Requests pile up as it gets tight: as in a queue with many servers, bounded by who can ask.
        let piled = light * (1.0 + 2.0 * (rho - 0.8).clamp(0.0, 0.75) / 0.5);
        shared.running = 1.0 + self.noise.poisson(piled + heavy.round() + nice.min(4.0 * self.cores));
        // Some task waits while more want to run than there are processors, also those of low priority.
        let all = poisson_above(piled + 0.05, capacity - heavy.round());
        let low = if nice > 0.0 { poisson_above(piled + 0.05, capacity - heavy - nice) } else { 0.0 };
        shared.cpu_wait = (all.max(low) * self.noise.between(0.9, 1.05) + self.extra.steal * 0.3).min(0.99);
        // Light work is served first; what spins shares the rest.
        let light_gets = (capacity / light.max(1e-9)).min(1.0) * held;
        let left = (capacity - light).max(0.1 * capacity).min(capacity);
        let heavy_gets = (left / heavy.max(1e-9)).min(1.0) * held;
        let nice_gets = (shared.nice / nice.max(1e-9)).min(1.0) * held;
        for (work, (own, threads, low, quota)) in self.works.iter_mut().zip(wants) {
            let mut used =
                if low { (own + threads) * nice_gets } else { own * light_gets + threads * heavy_gets };
            if let Some(quota) = quota {
                let over = ((own + threads) / quota.max(0.01) - 0.8).clamp(0.0, 1.0);
                work.periods += dt * 10.0;
                work.throttled += dt * 10.0 * over.min(0.98);
                used = used.min(quota);
            }
            work.cpu_us += used * dt * 1e6;
        }
    }

    fn storage(&mut self, dt: f64, shared: &mut Shared) {
        let demand = shared.demand;
        let mut asked = Vec::with_capacity(self.works.len());
        let (mut sum, mut held) = (0.0, 0.0_f64);
        for work in &self.works {
            let alive = f64::from(u8::from(work.runs() && !work.frozen));
            let noise = work.wander.clamp(-1.0, 1.0).exp() * demand.sqrt() * alive;
            let (mut read, mut write) = (work.read * noise, work.write * noise);
            (read, write) = (read + work.more_read * alive, write + work.more_write * alive);
            if let Some(limit) = work.io_limit {
                let over = (read + write) / limit;
                if over > 1.0 {
                    held += (1.0 - 1.0 / over) * alive;
                    (read, write) = (read / over, write / over);
                }
            }
            asked.push((read, write));
            sum += read + write;
        }
        sum += shared.swap_in + shared.swap_out;
        let rho = sum / self.disk;
        let gets = (1.0 / rho.max(1e-9)).min(1.0);
        shared.utilised = (rho * self.noise.between(0.92, 1.08) + 0.005).min(1.0);
        let service = 0.6 + 0.3 * self.noise.unit();
        shared.queue = if rho < 0.97 { rho / (1.0 - rho) * 0.8 } else { 25.0 + 30.0 * self.noise.unit() };
        shared.latency_ms = service * (1.0 + shared.queue.min(60.0));
        // Only requests that somebody waits for stall; what is written back later does not.
        let waited = (shared.queue * 0.35).min(8.0) + held;
        shared.io_some = 1.0 - (-waited).exp();
        shared.io_full = shared.io_some * (-(shared.busy + shared.nice) * 0.8).exp();
        for (work, (read, write)) in self.works.iter_mut().zip(asked) {
            let mine = read + write > 0.1 * self.disk;
            work.blocked = rho > 0.97 && (mine || work.read + work.write > 0.0 && self.noise.chance(0.5));
            (work.read_bytes, work.write_bytes) =
                (work.read_bytes + read * gets * dt, work.write_bytes + write * gets * dt);
            shared.read += read * gets;
            shared.write += write * gets;
        }
        shared.read += shared.swap_in;
        shared.write += shared.swap_out;
    }

    /// Memory: what does not fit goes to swap and comes back, and when that is full somebody is killed.
    fn memory(&mut self, dt: f64, shared: &mut Shared) {
        let mut kills = Vec::new();
        for (at, work) in self.works.iter_mut().enumerate() {
            if !work.runs() {
                continue;
            }
            let wanted = work.memory * (1.0 + 0.04 * (shared.demand - 1.0) + 0.01 * work.wander);
            work.now += (wanted - work.now) * (1.0 - (-dt / 120.0).exp());
            if work.memory_limit.is_some_and(|limit| work.now + work.grown > limit) {
                kills.push(at);
            }
        }
        let kernel = 0.25 * GIB + 0.02 * self.memory;
        let anon: f64 = self.works.iter().filter(|work| work.runs()).map(|work| work.now + work.grown).sum();
        let room = self.memory - kernel - 0.04 * self.memory;
        let over = (anon - room).max(0.0);
        let was = self.swapped;
        self.swapped = over.min(self.swap);
        // Of what lies in swap a part is wanted again all the time: the tighter, the more.
        let tight = over / self.memory;
        let back = if over > 0.0 { (self.swapped * 0.02).min(self.disk * 0.4) } else { 0.0 };
        shared.swap_in = back * self.noise.between(0.7, 1.3);
        shared.swap_out = ((self.swapped - was) / dt).max(0.0).min(self.disk * 0.5) + shared.swap_in * 0.9;
        let pressed = (tight * 12.0).min(1.0);
        shared.memory_some = (pressed * self.noise.between(0.8, 1.1)).min(0.98);
        shared.memory_full = (shared.memory_some * 0.6).min(0.9);
        shared.anon = (anon - self.swapped).max(0.0);
        if over > self.swap {
            let largest = (0..self.works.len())
                .filter(|at| self.works[*at].runs())
                .max_by(|a, b| self.held(*a).total_cmp(&self.held(*b)));
            kills.extend(largest);
        }
        for at in kills {
            self.kill_for_memory(at);
        }
        let free = (self.memory - kernel - shared.anon).max(64.0 * MIB);
        let fill = (0.55 * free + self.extra.cache).min(free - 48.0 * MIB).max(0.0);
        self.cache += (fill - self.cache) * (1.0 - (-dt / 60.0).exp());
        self.cache = self.cache.min(free - 32.0 * MIB).max(16.0 * MIB);
    }

    fn held(&self, at: usize) -> f64 {
        self.works[at].now + self.works[at].grown
    }

    /// The kernel ends the main process; systemd begins the service again, which counts.
    fn kill_for_memory(&mut self, at: usize) {
        self.oom_kills += 1;
        let (kills, restarts) = (self.works[at].oom_kills, self.works[at].restarts);
        if self.works[at].session {
            self.end(at, None);
            return;
        }
        self.begin(at, false);
        (self.works[at].oom_kills, self.works[at].restarts) = (kills + 1, restarts + 1);
    }
}
