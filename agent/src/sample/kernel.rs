//! Kernel tables that can run full, and the uptime.

use std::path::Path;

use sysop_common::metric;

use super::read::{KeptFile, ReadError, decimal, number};
use super::sensor::{Cycle, Output, Sensor};

/// The kernel sensor.
#[derive(Debug)]
pub(super) struct Kernel {
    file_nr: KeptFile,
    pid_max: KeptFile,
    conntrack: KeptFile,
    conntrack_max: KeptFile,
    uptime: KeptFile,
    limits: Limits,
}

/// What changes only when somebody changes it, read once a minute.
#[derive(Debug, Clone, Copy, Default)]
struct Limits {
    pids: Option<u64>,
    conntrack: Option<u64>,
}

impl Kernel {
    pub(super) fn new(proc: &Path) -> Self {
        let sys = proc.join("sys");
        Self {
            file_nr: KeptFile::new(sys.join("fs/file-nr")),
            pid_max: KeptFile::new(sys.join("kernel/pid_max")),
            conntrack: KeptFile::new(sys.join("net/netfilter/nf_conntrack_count")),
            conntrack_max: KeptFile::new(sys.join("net/netfilter/nf_conntrack_max")),
            uptime: KeptFile::new(proc.join("uptime")),
            limits: Limits::default(),
        }
    }
}

impl Sensor for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        let text = self.file_nr.read_record()?;
        let [used, free, max] = text.line().numbers(&["used", "free", "max"])?;
        if cycle.slow {
            self.limits =
                Limits { pids: single(&mut self.pid_max)?, conntrack: single(&mut self.conntrack_max)? };
        }
        out.put(metric::FD_USED, Some(used.saturating_sub(free)));
        out.put(metric::FD_MAX, Some(max));
        out.put(metric::PID_MAX, self.limits.pids);
        // Without connection tracking there is no table that could run full.
        let tracked = if self.limits.conntrack.is_some() { single(&mut self.conntrack)? } else { None };
        out.put(metric::CONNTRACK_USED, tracked);
        out.put(metric::CONNTRACK_MAX, self.limits.conntrack);
        let text = self.uptime.read_record()?;
        let mut line = text.line();
        let word = line.word().ok_or_else(|| text.missing("uptime"))?;
        let uptime = decimal(word, 3).ok_or_else(|| line.bad("uptime", word))?;
        out.put(metric::HOST_UPTIME, Some(uptime));
        Ok(())
    }
}

/// A file of one number; `None` when the kernel does not have it.
fn single(file: &mut KeptFile) -> Result<Option<u64>, ReadError> {
    match file.read_record() {
        Ok(text) => {
            let word = text.bytes.trim_ascii();
            Ok(Some(number(word).ok_or_else(|| text.line().bad("value", word))?))
        }
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}
