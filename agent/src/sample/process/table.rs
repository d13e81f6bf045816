//! The processes known from look to look, with their open descriptors.

use std::cmp::Reverse;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{RawDir, SeekFrom};
use rustix::process::{Resource, getrlimit};

use super::details::Details;
use super::{QUIET, open_below, stat};

/// Most descriptors kept open. Each also holds some 6 KiB of the kernel's memory.
const MAX_KEPT: u64 = 1024;
/// Room for one line of `stat` or for `io`.
const LINE: usize = 1024;

/// A process as of its last look.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) pid: u32,
    pub(super) start_ticks: u64,
    pub(super) comm: Vec<u8>,
    pub(super) state: u8,
    pub(super) threads: u32,
    pub(super) cpu_ticks: u64,
    pub(super) rss_pages: u64,
    /// Bytes read from and written to storage so far.
    pub(super) io: Option<(u64, u64)>,
    /// Looks in a row without CPU use.
    pub(super) quiet: u8,
    pub(super) details: Option<Box<Details>>,
    /// CPU and storage used since the look before.
    used_ticks: u64,
    used_io: u64,
    /// Number of the look that read it last.
    seen: u64,
    stat: Option<OwnedFd>,
    io_file: IoFile,
}

/// The descriptor of `/proc/PID/io`, which only the owner and root may read.
#[derive(Debug, Default)]
enum IoFile {
    #[default]
    Untried,
    Denied,
    Open(OwnedFd),
}

/// All processes, by pid.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    listing: Vec<u8>,
    pids: Vec<u32>,
    look: u64,
    kept: u64,
    kept_max: u64,
}

impl Table {
    /// Takes over the list of processes: new ones are added, those that left are removed.
    pub(super) fn list(&mut self, folder: &OwnedFd) -> rustix::io::Result<()> {
        self.listing.reserve(32 * 1024);
        rustix::fs::seek(folder, SeekFrom::Start(0))?;
        self.pids.clear();
        let mut names = RawDir::new(folder, self.listing.spare_capacity_mut() as &mut [MaybeUninit<u8>]);
        while let Some(name) = names.next() {
            let pid = std::str::from_utf8(name?.file_name().to_bytes())
                .ok()
                .and_then(|name| name.parse::<u32>().ok());
            self.pids.extend(pid);
        }
        // The kernel gives them in order; a test's folder does not.
        self.pids.sort_unstable();
        let entries = Vec::with_capacity(self.pids.len() + self.pids.len() / 8);
        let mut old = std::mem::replace(&mut self.entries, entries).into_iter().peekable();
        for pid in &self.pids {
            while old.next_if(|entry| entry.pid < *pid).is_some() {}
            let entry = old.next_if(|entry| entry.pid == *pid);
            self.entries.push(entry.unwrap_or_else(|| Entry { pid: *pid, ..Entry::default() }));
        }
        Ok(())
    }

    /// Begins a look.
    pub(super) fn begin(&mut self) {
        self.look += 1;
        self.kept = self.entries.iter().map(Entry::descriptors).sum();
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(MAX_KEPT);
        self.kept_max = (limit / 2).min(MAX_KEPT);
        for entry in &mut self.entries {
            entry.used_ticks = 0;
            entry.used_io = 0;
        }
    }

    /// Looks at those that are due and were not looked at yet.
    pub(super) fn read(&mut self, folder: &OwnedFd, due: impl Fn(&Entry) -> bool) {
        let Self { entries, look, kept, kept_max, .. } = self;
        entries.retain_mut(|entry| {
            if entry.seen == *look || !due(entry) {
                return true;
            }
            let before = entry.descriptors();
            let alive = entry.read(folder, *look, *kept < *kept_max);
            *kept = (*kept + entry.descriptors()).saturating_sub(before);
            alive
        });
    }

    /// Ends a look: descriptors of processes that rest are of no more use.
    pub(super) fn end(&mut self) {
        for entry in &mut self.entries {
            if entry.quiet >= QUIET && matches!(entry.io_file, IoFile::Open(_)) {
                entry.io_file = IoFile::Untried;
            }
        }
    }

    /// CPU time used since the look before by those looked at.
    pub(super) fn used_ticks(&self) -> u64 {
        self.entries.iter().map(|entry| entry.used_ticks).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether process 1 is among them, and so everybody is.
    pub(super) fn sees_all(&self) -> bool {
        self.entries.first().is_some_and(|entry| entry.pid == 1)
    }

    pub(super) fn entry_mut(&mut self, at: usize) -> Option<&mut Entry> {
        self.entries.get_mut(at)
    }

    /// Positions of the first `count` by CPU and by storage used since the look before, and by memory;
    /// the busiest first.
    pub(super) fn top(&self, count: usize) -> Vec<usize> {
        let best = |value: fn(&Entry) -> u64| {
            let mut order: Vec<usize> = (0..self.entries.len()).collect();
            order.retain(|at| value(&self.entries[*at]) > 0);
            order.sort_unstable_by_key(|at| Reverse(value(&self.entries[*at])));
            order.truncate(count);
            order
        };
        let mut chosen = best(|entry| entry.used_ticks);
        chosen.extend(best(|entry| entry.rss_pages));
        chosen.extend(best(|entry| entry.used_io));
        chosen.sort_unstable();
        chosen.dedup();
        chosen.sort_by_key(|at| {
            let entry = &self.entries[*at];
            Reverse((entry.used_ticks, entry.rss_pages))
        });
        chosen
    }
}

impl Entry {
    fn descriptors(&self) -> u64 {
        u64::from(self.stat.is_some()) + u64::from(matches!(self.io_file, IoFile::Open(_)))
    }

    /// Reads the process; false when it is gone.
    fn read(&mut self, folder: &OwnedFd, look: u64, keep: bool) -> bool {
        let mut line = [0; LINE];
        let kept = self.stat.take();
        let keep = keep || kept.is_some();
        let read = |file: &OwnedFd, line: &mut [u8]| {
            rustix::io::pread(file, line, 0).ok().filter(|length| *length > 0)
        };
        let mut result = kept.and_then(|file| read(&file, &mut line).map(|length| (file, length)));
        if result.is_none() {
            // Gone, or another process took its number meanwhile.
            let opened = open_below(folder, &format!("{}/stat", self.pid)).ok();
            result = opened.and_then(|file| read(&file, &mut line).map(|length| (file, length)));
        }
        let Some((file, length)) = result else { return false };
        let Some(stat) = stat::parse(line.get(..length).unwrap_or_default()) else {
            // Not a line of a process: leave it out of the sums, look again next time.
            self.seen = look;
            return true;
        };
        self.take(&stat, look);
        if keep {
            self.stat = Some(file);
        }
        if self.used_ticks > 0 || stat.state == b'D' {
            self.read_io(folder, keep);
        }
        true
    }

    fn take(&mut self, stat: &stat::Stat<'_>, look: u64) {
        if self.start_ticks != stat.start_ticks {
            *self = Self { pid: self.pid, start_ticks: stat.start_ticks, ..Self::default() };
        }
        // What a new process used since its start, it used since the look before.
        self.used_ticks = stat.cpu_ticks.saturating_sub(self.cpu_ticks);
        self.quiet = if self.used_ticks > 0 { 0 } else { self.quiet.saturating_add(1) };
        self.cpu_ticks = stat.cpu_ticks;
        self.seen = look;
        self.state = stat.state;
        self.threads = stat.threads;
        self.rss_pages = stat.rss_pages;
        if self.comm != stat.comm {
            self.comm.clear();
            self.comm.extend_from_slice(stat.comm);
            if let Some(details) = &mut self.details {
                details.expire();
            }
        }
    }

    /// Reads what it did to storage. Only those that used CPU are asked: without it nobody reads or writes.
    fn read_io(&mut self, folder: &OwnedFd, keep: bool) {
        let file = match std::mem::take(&mut self.io_file) {
            IoFile::Denied => {
                self.io_file = IoFile::Denied;
                return;
            }
            IoFile::Open(file) => file,
            IoFile::Untried => match open_below(folder, &format!("{}/io", self.pid)) {
                Ok(file) => file,
                Err(_) => {
                    self.io_file = IoFile::Denied;
                    return;
                }
            },
        };
        let mut text = [0; LINE];
        let length = rustix::io::pread(&file, &mut text, 0).unwrap_or(0);
        let Some(now) = stat::parse_io(text.get(..length).unwrap_or_default()) else {
            self.io_file = IoFile::Denied;
            return;
        };
        let before = self.io.unwrap_or(now);
        self.used_io = (now.0 + now.1).saturating_sub(before.0 + before.1);
        self.io = Some(now);
        self.io_file = if keep { IoFile::Open(file) } else { IoFile::Untried };
    }
}
