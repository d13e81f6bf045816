//! `/proc/meminfo` and `/proc/vmstat`: memory, swap, major faults, OOM kills.

use std::path::Path;

use sysop_common::metric::{self, MetricId};

use super::read::{KeptFile, ReadError, Text};
use super::sensor::{Cycle, Output, Sensor};

/// The memory sensor.
#[derive(Debug)]
pub(super) struct Memory {
    meminfo: KeptFile,
    vmstat: KeptFile,
    page: u64,
    oom_kills: Option<u64>,
}

/// Names in `meminfo`; values are in KiB.
const MEMINFO: [(&str, MetricId); 13] = [
    ("MemTotal:", metric::MEMORY_TOTAL),
    ("MemFree:", metric::MEMORY_FREE),
    ("MemAvailable:", metric::MEMORY_AVAILABLE),
    ("Buffers:", metric::MEMORY_BUFFERS),
    ("Cached:", metric::MEMORY_CACHED),
    ("Shmem:", metric::MEMORY_SHARED),
    ("AnonPages:", metric::MEMORY_ANON),
    ("SReclaimable:", metric::MEMORY_SLAB_RECLAIMABLE),
    ("SUnreclaim:", metric::MEMORY_SLAB_UNRECLAIMABLE),
    ("Dirty:", metric::MEMORY_DIRTY),
    ("Committed_AS:", metric::MEMORY_COMMITTED),
    ("SwapTotal:", metric::SWAP_TOTAL),
    ("SwapFree:", metric::SWAP_FREE),
];

/// Names in `vmstat`. Swapping is counted in pages.
const VMSTAT: [&str; 4] = ["pswpin", "pswpout", "pgmajfault", "oom_kill"];

impl Memory {
    pub(super) fn new(proc: &Path) -> Self {
        Self {
            meminfo: KeptFile::new(proc.join("meminfo")),
            vmstat: KeptFile::new(proc.join("vmstat")),
            page: rustix::param::page_size() as u64,
            oom_kills: None,
        }
    }
}

impl Sensor for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        let text = self.meminfo.read()?;
        let values = pick(text, &MEMINFO.map(|(name, _)| name))?;
        if values[0].is_none() {
            return Err(text.missing("MemTotal"));
        }
        for ((_, metric), kib) in MEMINFO.iter().zip(values) {
            out.put(*metric, kib.and_then(|kib| kib.checked_mul(1024)));
        }
        let [swap_in, swap_out, faults, oom_kills] = pick(self.vmstat.read()?, &VMSTAT)?;
        let page = self.page;
        out.put(metric::SWAP_IN, swap_in.and_then(|pages| pages.checked_mul(page)));
        out.put(metric::SWAP_OUT, swap_out.and_then(|pages| pages.checked_mul(page)));
        out.put(metric::MEMORY_MAJOR_FAULTS, faults);
        out.put(metric::MEMORY_OOM_KILLS, oom_kills);
        cycle.oom = matches!((self.oom_kills, oom_kills), (Some(before), Some(now)) if now > before);
        self.oom_kills = oom_kills;
        Ok(())
    }
}

/// The numbers behind `names`, each `None` where the kernel does not have the line.
fn pick<const N: usize>(text: Text<'_>, names: &[&'static str; N]) -> Result<[Option<u64>; N], ReadError> {
    let mut values = [None; N];
    let mut left = N;
    for mut line in text.lines() {
        let Some(name) = line.word() else { continue };
        let Some(at) = names.iter().position(|wanted| wanted.as_bytes() == name) else { continue };
        if values[at].replace(line.number(names[at])?).is_none() {
            left -= 1;
        }
        if left == 0 {
            break;
        }
    }
    Ok(values)
}
