//! `/proc/stat`: time in each mode, in all and per core; forks, context switches, interrupts.

use std::path::Path;

use sysop_common::metric;

use super::read::{KeptFile, Line, ReadError, number};
use super::sensor::{Cycle, Output, Sensor};

/// Most cores with a column of their own; the totals count all.
const MAX_CORES: usize = 256;

/// The CPU sensor.
#[derive(Debug)]
pub(super) struct Cpu {
    stat: KeptFile,
    ticks_per_second: u64,
}

/// Time in each mode, in ms since boot. Guests are part of user and nice, as the kernel counts them.
struct Modes {
    user: u64,
    nice: u64,
    system: u64,
    idle: u64,
    iowait: u64,
    irq: u64,
    softirq: u64,
    steal: u64,
}

impl Cpu {
    pub(super) fn new(proc: &Path) -> Self {
        Self {
            stat: KeptFile::new(proc.join("stat")),
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
        }
    }
}

impl Sensor for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        let text = self.stat.read()?;
        let (mut total, mut cores) = (false, 0_usize);
        let mut singles = Singles::default();
        for mut line in text.lines() {
            match line.word().unwrap_or_default() {
                b"cpu" => {
                    total = true;
                    let modes = Modes::parse(&mut line, self.ticks_per_second)?;
                    cycle.busy_ms = Some(modes.user + modes.nice + modes.system);
                    modes.put(out);
                }
                [b'c', b'p', b'u', core @ ..] if number(core).is_some() => {
                    cores += 1;
                    if cores <= MAX_CORES {
                        let busy = Modes::parse(&mut line, self.ticks_per_second)?.busy();
                        let label = std::str::from_utf8(core).unwrap_or_default();
                        out.put_labelled(metric::CPU_CORE_BUSY, label, Some(busy));
                    }
                }
                name => singles.take(name, &mut line)?,
            }
        }
        if !total {
            return Err(text.missing("cpu"));
        }
        cycle.forks = singles.forks;
        out.put(metric::CPU_CORES, Some(cores as u64));
        singles.put(out);
        Ok(())
    }
}

impl Modes {
    fn parse(line: &mut Line<'_>, ticks_per_second: u64) -> Result<Self, ReadError> {
        let items = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
        let ms = line.numbers(&items)?.map(|ticks| ticks.saturating_mul(1000) / ticks_per_second);
        let [user, nice, system, idle, iowait, irq, softirq, steal] = ms;
        Ok(Self { user, nice, system, idle, iowait, irq, softirq, steal })
    }

    fn put(&self, out: &mut Output) {
        out.put(metric::CPU_USER, Some(self.user));
        out.put(metric::CPU_NICE, Some(self.nice));
        out.put(metric::CPU_SYSTEM, Some(self.system));
        out.put(metric::CPU_IDLE, Some(self.idle));
        out.put(metric::CPU_IOWAIT, Some(self.iowait));
        out.put(metric::CPU_IRQ, Some(self.irq));
        out.put(metric::CPU_SOFTIRQ, Some(self.softirq));
        out.put(metric::CPU_STEAL, Some(self.steal));
    }

    /// All modes but idle and waiting for I/O.
    const fn busy(&self) -> u64 {
        self.user + self.nice + self.system + self.irq + self.softirq + self.steal
    }
}

/// The lines with one number that matters.
#[derive(Default)]
struct Singles {
    interrupts: Option<u64>,
    switches: Option<u64>,
    forks: Option<u64>,
    running: Option<u64>,
    blocked: Option<u64>,
}

impl Singles {
    fn take(&mut self, name: &[u8], line: &mut Line<'_>) -> Result<(), ReadError> {
        match name {
            b"intr" => self.interrupts = Some(line.number("intr")?),
            b"ctxt" => self.switches = Some(line.number("ctxt")?),
            b"processes" => self.forks = Some(line.number("processes")?),
            b"procs_running" => self.running = Some(line.number("procs_running")?),
            b"procs_blocked" => self.blocked = Some(line.number("procs_blocked")?),
            _ => {}
        }
        Ok(())
    }

    fn put(&self, out: &mut Output) {
        out.put(metric::PROCS_RUNNING, self.running);
        out.put(metric::PROCS_BLOCKED, self.blocked);
        out.put(metric::PROCS_FORKED, self.forks);
        out.put(metric::CONTEXT_SWITCHES, self.switches);
        out.put(metric::INTERRUPTS, self.interrupts);
    }
}
