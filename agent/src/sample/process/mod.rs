//! The process sweep: who uses CPU, memory and storage most.
//!
//! The costly part is one read per process, so it is spared where it cannot tell anything new:
//! descriptors of `/proc/PID/stat` stay open, the list of processes is read only after a fork, and
//! processes that have been idle for a while are looked at in turns. The host's own CPU counter guards
//! the last one: when it shows work that the processes looked at do not explain, all are looked at.

mod details;
mod redact;
mod stat;
mod table;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use sysop_common::metric;
use sysop_common::sample::Process;

use self::details::Resolver;
use self::table::{Entry, Table};
use super::read::ReadError;
use super::sensor::{Cycle, Output, Sensor, clean};
use crate::config::Redaction;

/// Processes named for each of CPU, memory and storage.
const TOP: usize = 10;
/// Looks without CPU use after which a process is looked at in turns, and then more seldom.
const QUIET: u8 = 6;
const VERY_QUIET: u8 = 60;
/// Every so many looks.
const TURN: u64 = 3;
const SELDOM: u64 = 6;
/// Share of one core, as its inverse, that may stay unexplained; beyond it everybody is looked at.
const UNEXPLAINED: u32 = 100;

/// The process sensor.
#[derive(Debug)]
pub(super) struct Processes {
    root: PathBuf,
    folder: Option<OwnedFd>,
    table: Table,
    resolver: Resolver,
    ticks_per_second: u64,
    page: u64,
    forks: Option<u64>,
    busy_ms: Option<u64>,
}

impl Processes {
    pub(super) fn new(proc: &Path, etc: &Path, redaction: Redaction) -> Self {
        Self {
            root: proc.to_owned(),
            folder: None,
            table: Table::default(),
            resolver: Resolver::new(etc, redaction),
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
            page: rustix::param::page_size() as u64,
            forks: None,
            busy_ms: None,
        }
    }

    fn sweep(&mut self, folder: &OwnedFd, cycle: &Cycle) -> Result<(), ReadError> {
        let known = cycle.forks.is_some() && cycle.forks == self.forks;
        self.forks = cycle.forks;
        if !known || cycle.slow {
            self.table.list(folder).map_err(|error| ReadError::io(&self.root, error))?;
        }
        let busy = self.busy_ms.zip(cycle.busy_ms).map(|(before, now)| now.saturating_sub(before));
        self.busy_ms = cycle.busy_ms;
        self.table.begin();
        self.table.read(folder, |entry| is_due(entry, cycle.number));
        if !self.explains(busy, cycle.elapsed) {
            self.table.read(folder, |_| true);
        }
        self.table.end();
        Ok(())
    }

    /// Whether the processes looked at did the work that the host's counter shows.
    fn explains(&self, busy_ms: Option<u64>, elapsed: Duration) -> bool {
        let Some(busy) = busy_ms else { return false };
        let seen = self.table.used_ticks().saturating_mul(1000) / self.ticks_per_second;
        // Both are rounded to ticks.
        let slack = elapsed.checked_div(UNEXPLAINED).unwrap_or_default().max(Duration::from_millis(20));
        u128::from(busy) <= u128::from(seen) + slack.as_millis()
    }

    fn report(&mut self, folder: &OwnedFd, out: &mut Output) {
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec;
        let uptime = u64::try_from(uptime).unwrap_or(0);
        for at in self.table.top(TOP) {
            let Some(entry) = self.table.entry_mut(at) else { continue };
            let age = Duration::from_secs(uptime.saturating_sub(entry.start_ticks / self.ticks_per_second));
            self.resolver.resolve(folder, entry, age);
            let Some(details) = &entry.details else { continue };
            out.processes.push(Process {
                comm: clean(&entry.comm),
                user: details.user.clone(),
                unit: details.unit.clone(),
                args: details.args.clone(),
                pid: entry.pid,
                start_ticks: entry.start_ticks,
                cpu_ms: entry.cpu_ticks.saturating_mul(1000) / self.ticks_per_second,
                rss_bytes: entry.rss_pages.saturating_mul(self.page),
                io_read_bytes: entry.io.map(|(read, _)| read),
                io_write_bytes: entry.io.map(|(_, written)| written),
                threads: entry.threads,
                state: entry.state,
            });
        }
    }
}

/// Whether an entry is looked at in this look; those that rest come in turns, spread by their number.
fn is_due(entry: &Entry, look: u64) -> bool {
    let turn = u64::from(entry.pid) + look;
    entry.quiet < QUIET || turn.is_multiple_of(if entry.quiet < VERY_QUIET { TURN } else { SELDOM })
}

impl Sensor for Processes {
    fn name(&self) -> &'static str {
        "process"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        let folder = match self.folder.take() {
            Some(folder) => folder,
            None => open_folder(&self.root)?,
        };
        let swept = self.sweep(&folder, cycle);
        if swept.is_ok() {
            self.resolver.refresh(cycle.slow);
            self.report(&folder, out);
            // When process 1 is hidden, so are others: the number would be that of the agent's own.
            out.put(metric::PROCS_TOTAL, self.table.sees_all().then_some(self.table.len() as u64));
        }
        self.folder = Some(folder);
        swept
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd, ReadError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| ReadError::io(path, error))
}

/// Opens `name` below `folder` for reading.
fn open_below(folder: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Reads at most `buffer` of a file below `folder`; the number of bytes, `None` when it is not readable.
fn read_below(folder: &OwnedFd, name: &str, buffer: &mut [u8]) -> Option<usize> {
    let file = File::from(open_below(folder, name).ok()?);
    let mut length = 0;
    while length < buffer.len() {
        match rustix::io::pread(&file, &mut buffer[length..], length as u64) {
            Ok(0) => break,
            Ok(got) => length += got,
            Err(_) => return None,
        }
    }
    Some(length)
}
