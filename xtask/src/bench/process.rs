//! A program under observation: CPU time to the nanosecond, memory as the kernel shares it out.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

/// A started program, ended with this value.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) name: &'static str,
    child: Child,
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// Shared pages counted in parts.
    pub(crate) proportional: u64,
    pub(crate) private_dirty: u64,
}

impl Watched {
    /// Starts `command` quietly.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        Ok(Self { name, child })
    }

    /// CPU time of all its threads so far. Threads that ended are not in it; none of the programs
    /// measured here ends threads while it runs.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let folder = format!("/proc/{}/task", self.child.id());
        let mut nanoseconds = 0;
        for task in fs::read_dir(&folder).with_context(|| format!("{} has ended", self.name))? {
            let path = task?.path().join("schedstat");
            let text = fs::read_to_string(&path).unwrap_or_default();
            nanoseconds += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// What it holds now. Needs the same user, or root.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = fs::read_to_string(&path).with_context(|| format!("could not read {path}"))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let bytes = |name| field(name).unwrap_or(0) * 1024;
        Ok(Memory {
            resident: bytes("Rss:"),
            proportional: bytes("Pss:"),
            private_dirty: bytes("Private_Dirty:"),
        })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of the calling thread.
pub(crate) fn own_cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0))
}
