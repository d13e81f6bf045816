//! The process sweep: who uses CPU, memory and storage most.
//!
//! The costly part is one read per process, so it is spared where it cannot tell anything new:
//! descriptors of `/proc/PID/stat` stay open, the list of processes is read only after a fork and from the
//! last known pid on, and processes that have been idle for a while are looked at in turns. The host's own
//! CPU counter guards the last one: when it shows work that the processes looked at do not explain, all are
//! looked at. The price: that an idle process ended is noticed up to six looks later, or twelve when it was
//! idle for long, but for the whole list that is read once a minute.

mod deleted;
mod details;
pub(super) mod jobs;
mod redact;
mod stat;
mod table;
mod tasks;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC};
use sysop_common::metric;
use sysop_common::sample::Process;

use self::deleted::Deleted;
use self::details::Resolver;
use self::table::{Entry, Table};
use self::tasks::Tasks;
use super::read::ReadError;
use super::sensor::{Cycle, Output, Sensor, clean};
use crate::config::Redaction;

/// Processes named for each of CPU, memory and storage.
const TOP: usize = 10;
/// Looks without CPU use after which a process is looked at in turns, and then more seldom.
const QUIET: u8 = 3;
const VERY_QUIET: u8 = 30;
/// Every so many looks.
const TURN: u64 = 6;
const SELDOM: u64 = 12;
/// Share of one core, as its inverse, that may stay unexplained; beyond it everybody is looked at.
const UNEXPLAINED: u32 = 50;

/// The process sensor.
#[derive(Debug)]
pub(super) struct Processes {
    root: PathBuf,
    folder: Option<OwnedFd>,
    table: Table,
    resolver: Resolver,
    tasks: Tasks,
    deleted: Deleted,
    ticks_per_second: u64,
    page: u64,
    /// Whether the folder is the kernel's own, whose listing can begin at a pid.
    kernels: bool,
    forks: Option<u64>,
    last_pid: Option<u32>,
    busy_ms: Option<u64>,
}

impl Processes {
    pub(super) fn new(proc: &Path, etc: &Path, redaction: Redaction) -> Self {
        Self {
            root: proc.to_owned(),
            folder: None,
            table: Table::default(),
            resolver: Resolver::new(etc, redaction),
            tasks: Tasks::default(),
            deleted: Deleted::new(proc),
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
            page: rustix::param::page_size() as u64,
            kernels: false,
            forks: None,
            last_pid: None,
            busy_ms: None,
        }
    }

    fn sweep(&mut self, folder: &OwnedFd, cycle: &Cycle) -> Result<(), ReadError> {
        self.table.begin();
        if let Some(from) = self.listed_from(cycle) {
            self.table.list(folder, from).map_err(|error| ReadError::io(&self.root, error))?;
        }
        let busy = self.busy_ms.zip(cycle.busy_ms).map(|(before, now)| now.saturating_sub(before));
        self.busy_ms = cycle.busy_ms;
        self.table.read(folder, |entry| is_due(entry, cycle.number));
        if !self.explains(busy, cycle.elapsed) {
            self.table.read(folder, |_| true);
        }
        self.table.end();
        Ok(())
    }

    /// Which part of the list is to be read: nothing while nobody forked, all of it (`Some(None)`) when slow facts
    /// are due or pids began anew from below, and else what lies above the last pid known.
    fn listed_from(&mut self, cycle: &Cycle) -> Option<Option<u32>> {
        let same = cycle.forks.is_some() && cycle.forks == self.forks;
        self.forks = cycle.forks;
        if same && !cycle.slow {
            return None;
        }
        let last_pid = cycle.last_pid.and_then(|pid| u32::try_from(pid).ok());
        // Kept from list to list: whoever came after the last one has a higher pid than this.
        let before = std::mem::replace(&mut self.last_pid, last_pid);
        if cycle.slow {
            return Some(None);
        }
        match (self.kernels, before, last_pid) {
            (true, Some(before), Some(now)) if now >= before => Some(Some(before)),
            _ => Some(None),
        }
    }

    /// Whether the processes looked at did the work that the host's counter shows.
    fn explains(&self, busy_ms: Option<u64>, elapsed: Duration) -> bool {
        let Some(busy) = busy_ms else { return false };
        let seen = self.table.used_ticks().saturating_mul(1000) / self.ticks_per_second;
        // Both sides are rounded to ticks, theirs once for each process.
        let slack = elapsed.checked_div(UNEXPLAINED).unwrap_or_default().max(Duration::from_millis(50));
        u128::from(busy) <= u128::from(seen) + slack.as_millis()
    }

    /// Describes the busiest, and those in `named`.
    fn report(&mut self, folder: &OwnedFd, named: &[u32], out: &mut Output) {
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec;
        let uptime = u64::try_from(uptime).unwrap_or(0);
        let mut chosen = self.table.top(TOP);
        for at in named.iter().filter_map(|pid| self.table.position(*pid)) {
            if !chosen.contains(&at) {
                chosen.push(at);
            }
        }
        for at in chosen {
            let Some(entry) = self.table.entry_mut(at) else { continue };
            let age = Duration::from_secs(uptime.saturating_sub(entry.start_ticks / self.ticks_per_second));
            self.resolver.resolve(folder, entry, age);
            entry.complete(folder);
            let Some(details) = &entry.details else { continue };
            out.processes.push(Process {
                comm: clean(&entry.comm).into(),
                user: details.user.as_str().into(),
                unit: details.unit.as_str().into(),
                args: details.args.as_str().into(),
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
            None => {
                let folder = open_folder(&self.root)?;
                let kind = rustix::fs::fstatfs(&folder).map(|stat| stat.f_type);
                self.kernels = kind == Ok(PROC_SUPER_MAGIC);
                folder
            }
        };
        let swept = self.sweep(&folder, cycle);
        if swept.is_ok() {
            self.resolver.refresh(cycle.slow);
            let mut named = self.tasks.look(&self.table, &folder, cycle, out);
            named.extend(self.deleted.look(&self.table, &folder, cycle.slow, out));
            self.report(&folder, &named, out);
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
    // The kernel gives these files in one piece.
    rustix::io::pread(&file, buffer, 0).ok()
}
