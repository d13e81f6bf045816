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
/// Offset in the listing of `/proc` at which processes begin, before which are the kernel's own files.
const FIRST_PROCESS: u64 = 256;
/// Room for one line of `stat` or for `io`.
const LINE: usize = 1024;

/// A process as of its last look.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) pid: u32,
    pub(super) start_ticks: u64,
    pub(super) comm: Vec<u8>,
    pub(super) state: u8,
    pub(super) parent: u32,
    pub(super) threads: u32,
    pub(super) cpu_ticks: u64,
    pub(super) rss_pages: u64,
    /// Bytes read from and written to storage so far.
    pub(super) io: Option<(u64, u64)>,
    /// Looks in a row without CPU use.
    pub(super) quiet: u8,
    pub(super) details: Option<Box<Details>>,
    /// CPU time of children that ended, so far.
    children_ticks: u64,
    /// CPU used since the look before by itself and by children that ended, and storage.
    used_ticks: u64,
    used_children: u64,
    used_io: u64,
    /// Numbers of the looks that read it first and last.
    first: u64,
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
    /// Whether the whole list was read in this look.
    whole: bool,
    /// CPU time of those that left since the look before, as far as it was seen.
    gone_ticks: u64,
    kept: u64,
    kept_max: u64,
}

impl Table {
    /// Takes over the list of processes: new ones are added, and from a whole list those that are not in it
    /// are removed.
    ///
    /// `from` is the lowest pid listed. The kernel gives out pids upwards, so new ones are found above the
    /// highest that was given out before; it also lists them upwards, at an offset that follows the pid.
    pub(super) fn list(&mut self, folder: &OwnedFd, from: Option<u32>) -> rustix::io::Result<()> {
        self.listing.reserve(16 * 1024);
        let offset = from.map_or(0, |pid| u64::from(pid) + FIRST_PROCESS);
        rustix::fs::seek(folder, SeekFrom::Start(offset))?;
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
        match from {
            Some(_) => self.add_new(),
            None => {
                self.whole = true;
                self.replace_all();
            }
        }
        Ok(())
    }

    fn add_new(&mut self) {
        let last = self.entries.last().map_or(0, |entry| entry.pid);
        let (below, above) = self.pids.split_at(self.pids.partition_point(|pid| *pid <= last));
        let known = |pid: &u32| self.entries.binary_search_by_key(pid, |entry| entry.pid).is_ok();
        let between: Vec<u32> = below.iter().copied().filter(|pid| !known(pid)).collect();
        self.entries.extend(between.iter().chain(above).map(|pid| Entry::new(*pid)));
        if !between.is_empty() {
            self.entries.sort_unstable_by_key(|entry| entry.pid);
        }
    }

    fn replace_all(&mut self) {
        let entries = Vec::with_capacity(self.pids.len() + self.pids.len() / 8);
        let mut old = std::mem::replace(&mut self.entries, entries).into_iter().peekable();
        for pid in &self.pids {
            while let Some(gone) = old.next_if(|entry| entry.pid < *pid) {
                self.gone_ticks += gone.all_ticks();
            }
            let entry = old.next_if(|entry| entry.pid == *pid);
            self.entries.push(entry.unwrap_or_else(|| Entry::new(*pid)));
        }
        self.gone_ticks += old.map(|gone| gone.all_ticks()).sum::<u64>();
    }

    /// Begins a look, before the list is taken over.
    pub(super) fn begin(&mut self) {
        if self.look == 0 {
            let limit = getrlimit(Resource::Nofile).current.unwrap_or(MAX_KEPT);
            self.kept_max = (limit / 2).min(MAX_KEPT);
        }
        self.look += 1;
        self.gone_ticks = 0;
        self.whole = false;
        self.kept = self.entries.iter().map(Entry::descriptors).sum();
        for entry in &mut self.entries {
            (entry.used_ticks, entry.used_children, entry.used_io) = (0, 0, 0);
        }
    }

    /// Looks at those that are due and were not looked at yet.
    pub(super) fn read(&mut self, folder: &OwnedFd, due: impl Fn(&Entry) -> bool) {
        let Self { entries, look, kept, kept_max, gone_ticks, whole, .. } = self;
        entries.retain_mut(|entry| {
            if entry.seen == *look || !due(entry) {
                return true;
            }
            let before = entry.descriptors();
            let alive = entry.read(folder, *look, *kept < *kept_max, *whole);
            *kept = (*kept + entry.descriptors()).saturating_sub(before);
            if !alive {
                *gone_ticks += entry.all_ticks();
            }
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

    /// CPU time used since the look before by those looked at, and by those that came and went meanwhile: what
    /// their parents' count of ended children grew by, without what was seen of them before.
    pub(super) fn used_ticks(&self) -> u64 {
        let own: u64 = self.entries.iter().map(|entry| entry.used_ticks).sum();
        let children: u64 = self.entries.iter().map(|entry| entry.used_children).sum();
        own + children.saturating_sub(self.gone_ticks)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether process 1 is among them, and so everybody is.
    pub(super) fn sees_all(&self) -> bool {
        self.entries.first().is_some_and(|entry| entry.pid == 1)
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Position of a process by its number.
    pub(super) fn position(&self, pid: u32) -> Option<usize> {
        self.entries.binary_search_by_key(&pid, |entry| entry.pid).ok()
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
    fn new(pid: u32) -> Self {
        Self { pid, ..Self::default() }
    }

    const fn all_ticks(&self) -> u64 {
        self.cpu_ticks + self.children_ticks
    }

    fn descriptors(&self) -> u64 {
        u64::from(self.stat.is_some()) + u64::from(matches!(self.io_file, IoFile::Open(_)))
    }

    /// Reads the process; false when it is gone. After a whole list (`listed`) its number may be that of
    /// another process meanwhile.
    fn read(&mut self, folder: &OwnedFd, look: u64, keep: bool, listed: bool) -> bool {
        let mut line = [0; LINE];
        let kept = self.stat.take();
        let keep = keep || kept.is_some();
        let read = |file: &OwnedFd, line: &mut [u8]| {
            rustix::io::pread(file, line, 0).ok().filter(|length| *length > 0)
        };
        let open = listed || kept.is_none();
        let mut result = kept.and_then(|file| read(&file, &mut line).map(|length| (file, length)));
        if result.is_none() && open {
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
        if self.is_old() && (self.used_ticks > 0 || stat.state == b'D') {
            self.read_io(folder, keep);
        }
        true
    }

    fn take(&mut self, stat: &stat::Stat<'_>, look: u64) {
        if self.start_ticks != stat.start_ticks || self.first == 0 {
            *self = Self { pid: self.pid, start_ticks: stat.start_ticks, first: look, ..Self::default() };
        }
        // What a new process used since its start, it used since the look before.
        self.used_ticks = stat.cpu_ticks.saturating_sub(self.cpu_ticks);
        self.used_children = stat.children_ticks.saturating_sub(self.children_ticks);
        let active = self.used_ticks > 0 || self.used_children > 0;
        self.quiet = if active { 0 } else { self.quiet.saturating_add(1) };
        self.cpu_ticks = stat.cpu_ticks;
        self.children_ticks = stat.children_ticks;
        self.seen = look;
        self.state = stat.state;
        self.parent = stat.parent;
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

    /// Whether its storage may be asked for: of a new process in its second look, since many do not live
    /// that long; but in the agent's first look all are new.
    const fn is_old(&self) -> bool {
        self.first == 1 || self.first < self.seen
    }

    /// Reads what it did to storage, if that was never read: for a process that is reported.
    pub(super) fn complete(&mut self, folder: &OwnedFd) {
        if self.io.is_none() && self.is_old() {
            self.read_io(folder, false);
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
        // All that a process did that began after the agent's first look, it did of late.
        let unknown = if self.first == 1 { now } else { (0, 0) };
        let before = self.io.unwrap_or(unknown);
        self.used_io = (now.0 + now.1).saturating_sub(before.0 + before.1);
        self.io = Some(now);
        self.io_file = if keep { IoFile::Open(file) } else { IoFile::Untried };
    }
}
