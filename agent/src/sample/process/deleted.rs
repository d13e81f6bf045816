//! Deleted files that are still open: space that no directory shows.
//!
//! Only who may look into the descriptors of others sees them: root, or a collector whose owner gave it that
//! right. For others nothing is observed. A part of the descriptors is looked at in each look; what a round
//! found is told until the next is through.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, StatxFlags, statx};
use sysop_common::metric;

use super::table::Table;
use crate::sample::filesystem::{MAX_MOUNTS, mountinfo, mounts};
use crate::sample::read::KeptFile;
use crate::sample::sensor::Output;

/// Descriptors looked at in one look, and most of one process in one go.
const PER_LOOK: usize = 128;
const PER_PROCESS: usize = 1024;
/// Most deleted files told apart in one round.
const MAX_FILES: usize = 4096;
/// Bytes from which a file system or a process is told.
const WORTH: u64 = 16 << 20;
const HOLDERS: usize = 4;
const BLOCK: u64 = 512;

/// The device number of a file system.
type Device = (u32, u32);

#[derive(Debug)]
pub(super) struct Deleted {
    mountinfo: PathBuf,
    /// Whether the descriptors of process 1 may be listed; looked at anew when slow facts are due.
    allowed: bool,
    next: u32,
    round: Round,
    told: Option<Told>,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Round {
    seen: HashSet<(Device, u64)>,
    devices: BTreeMap<Device, u64>,
    holders: BTreeMap<(Device, u32), u64>,
}

#[derive(Debug, Default)]
struct Told {
    mounts: Vec<(String, u64)>,
    holders: Vec<(u32, u64)>,
}

impl Deleted {
    pub(super) fn new(proc: &Path) -> Self {
        Self { mountinfo: mountinfo(proc), allowed: false, next: 0, round: Round::default(), told: None }
    }

    /// Looks at the next part; the processes returned must be described.
    pub(super) fn look(&mut self, table: &Table, folder: &OwnedFd, slow: bool, out: &mut Output) -> Vec<u32> {
        if slow {
            self.allowed = open(folder, 1).is_some();
        }
        if self.allowed {
            self.walk(table, folder);
        } else {
            self.told = None;
        }
        let Some(told) = &self.told else {
            out.put(metric::FS_DELETED_OPEN, None);
            return Vec::new();
        };
        let sum = told.mounts.iter().map(|(_, bytes)| bytes).sum();
        out.put(metric::FS_DELETED_OPEN, Some(sum));
        for (mount, bytes) in &told.mounts {
            out.put_labelled(metric::FS_DELETED_OPEN, mount, Some(*bytes));
        }
        for (pid, bytes) in &told.holders {
            out.put_labelled(metric::TASK_DELETED_OPEN, &pid.to_string(), Some(*bytes));
        }
        told.holders.iter().map(|(pid, _)| *pid).collect()
    }

    fn walk(&mut self, table: &Table, folder: &OwnedFd) {
        let mut looked = 0;
        let start = table.entries().partition_point(|entry| entry.pid < self.next);
        for entry in table.entries().iter().skip(start) {
            if looked >= PER_LOOK {
                self.next = entry.pid;
                return;
            }
            // Threads of the kernel have no files.
            looked += if entry.rss_pages > 0 { self.round.process(folder, entry.pid) } else { 0 };
        }
        self.next = 0;
        let round = std::mem::take(&mut self.round);
        self.told = Some(round.tell(&self.mountinfo));
    }
}

impl Round {
    /// Looks at one process; the number of descriptors looked at.
    fn process(&mut self, folder: &OwnedFd, pid: u32) -> usize {
        let Some(list) = open(folder, pid) else { return 1 };
        let Ok(names) = Dir::read_from(&list) else { return 1 };
        let mut looked = 1;
        for name in names.take(PER_PROCESS).flatten() {
            looked += 1;
            // What the kernel knows already: nobody waits for a file server.
            let flags = AtFlags::STATX_DONT_SYNC;
            let wanted = StatxFlags::NLINK | StatxFlags::TYPE | StatxFlags::BLOCKS | StatxFlags::INO;
            let Ok(stat) = statx(&list, name.file_name(), flags, wanted) else { continue };
            let regular = u32::from(stat.stx_mode) & 0o170_000 == 0o100_000;
            let device = (stat.stx_dev_major, stat.stx_dev_minor);
            if !regular || stat.stx_nlink > 0 || self.seen.len() >= MAX_FILES {
                continue;
            }
            if self.seen.insert((device, stat.stx_ino)) {
                let bytes = stat.stx_blocks.saturating_mul(BLOCK);
                *self.devices.entry(device).or_default() += bytes;
                *self.holders.entry((device, pid)).or_default() += bytes;
            }
        }
        looked
    }

    fn tell(self, mountinfo: &Path) -> Told {
        let worth = |bytes: &u64| *bytes >= WORTH;
        if !self.devices.values().any(&worth) {
            return Told::default();
        }
        let mut file = KeptFile::new(mountinfo.to_owned());
        let known = file.read().and_then(|text| mounts::parse(text, MAX_MOUNTS)).unwrap_or_default();
        // Files of some file systems (btrfs) carry another device than their mount's line does.
        let same = |mount: &mounts::Mount, device: &Device| {
            let stat = || rustix::fs::stat(&mount.path).ok();
            let of = |stat: rustix::fs::Stat| {
                (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev)) == *device
            };
            mount.dev == *device || (!mount.remote && stat().is_some_and(of))
        };
        let label = |device: &Device| known.iter().find(|m| same(m, device)).map(|m| m.label.clone());
        let devices = self.devices.iter().filter(|(_, bytes)| worth(bytes));
        let shown: BTreeMap<Device, (String, u64)> =
            devices.filter_map(|(device, bytes)| Some((*device, (label(device)?, *bytes)))).collect();
        let mut mounts: Vec<_> = shown.values().cloned().collect();
        mounts.sort();
        // What is in no mount is shared memory, and nobody's disk.
        let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
        for ((device, pid), bytes) in &self.holders {
            if shown.contains_key(device) {
                *sums.entry(*pid).or_default() += bytes;
            }
        }
        let mut holders: Vec<_> = sums.into_iter().filter(|(_, bytes)| worth(bytes)).collect();
        holders.sort_by_key(|(pid, bytes)| (std::cmp::Reverse(*bytes), *pid));
        holders.truncate(HOLDERS);
        holders.sort_unstable();
        Told { mounts, holders }
    }
}

/// The folder of a process's descriptors, when it may be listed.
fn open(folder: &OwnedFd, pid: u32) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(folder, format!("{pid}/fd"), flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::open_folder;
    use super::*;

    #[test]
    fn a_deleted_file_counts_once_for_who_holds_it() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![1; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        let _again = file.try_clone().unwrap();
        let folder = open_folder(Path::new("/proc")).unwrap();
        let mut round = Round::default();
        assert!(round.process(&folder, std::process::id()) >= 2);
        let held = round
            .holders
            .iter()
            .filter(|((_, pid), _)| *pid == std::process::id())
            .map(|(_, bytes)| bytes)
            .sum::<u64>();
        // Other tests hold files of their own.
        assert!((1 << 20..32 << 20).contains(&held), "{held}");
        assert_eq!(round.devices.values().sum::<u64>(), held);
        // A holder of shared memory, which is in no mount, is not named for a disk.
        let here = (u32::MAX, 1);
        let known = *round.devices.keys().next().unwrap();
        let crowded = Round {
            devices: BTreeMap::from([(here, 4 * WORTH), (known, 2 * WORTH)]),
            holders: BTreeMap::from([((here, 7), 4 * WORTH), ((known, 8), 2 * WORTH)]),
            ..Round::default()
        };
        let told = crowded.tell(Path::new("/proc/self/mountinfo"));
        assert!(told.holders.iter().all(|(pid, _)| *pid == 8), "{:?}", told.holders);
        // Too little to be told.
        let told = round.tell(Path::new("/proc/self/mountinfo"));
        assert!(told.mounts.iter().all(|(_, bytes)| *bytes >= WORTH));
    }
}
