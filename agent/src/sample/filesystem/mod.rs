//! `mountinfo` and `statvfs`: space, inodes and writability of mounted file systems.

pub(crate) mod mounts;
mod probe;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sysop_common::metric;

use self::mounts::Mount;
use super::read::{KeptFile, ReadError};
use super::sensor::{Cycle, Output, Sensor};

/// Most file systems with columns.
pub(crate) const MAX_MOUNTS: usize = 64;
/// Bytes beyond which reading the mount table costs more than the rest of a look.
const LONG_TABLE: usize = 32 * 1024;
/// How old a remote file system's answer may be.
const REMOTE_AGE: Duration = Duration::from_secs(90);

/// The file system sensor.
#[derive(Debug)]
pub(super) struct Filesystem {
    root: PathBuf,
    mountinfo: KeptFile,
    /// Content that `mounts` was made from; the table is parsed only when it changed.
    parsed: Vec<u8>,
    mounts: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    mount: Mount,
    /// Whether the path leads to this file system from where the agent stands.
    visible: bool,
}

/// Space and inodes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) total: u64,
    free: u64,
    available: u64,
    /// `None` where inodes are made as needed.
    inodes: Option<(u64, u64)>,
}

impl Space {
    /// Asks the kernel; `None` when it cannot say.
    fn of(path: &Path) -> Option<Self> {
        let stat = rustix::fs::statvfs(path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize.max(1));
        Some(Self {
            total: bytes(stat.f_blocks),
            free: bytes(stat.f_bfree),
            available: bytes(stat.f_bavail),
            inodes: (stat.f_files > 0).then_some((stat.f_files, stat.f_ffree)),
        })
    }
}

impl Filesystem {
    pub(super) fn new(root: &Path, proc: &Path) -> Self {
        Self {
            root: root.to_owned(),
            mountinfo: KeptFile::new(mountinfo(proc)),
            parsed: Vec::new(),
            mounts: Vec::new(),
        }
    }

    /// Takes over the mount table when it changed, or when slow facts are due: what is visible may change
    /// without it.
    ///
    /// The kernel tells of new and changed mounts, but not of a file system that stopped after an error, so
    /// the table is read in every look; a long one, as on hosts with many containers, in every third.
    fn refresh(&mut self, look: u64, slow: bool) -> Result<(), ReadError> {
        let rest = self.parsed.len() > LONG_TABLE && !look.is_multiple_of(3);
        if !slow && rest && !self.mountinfo.changed() {
            return Ok(());
        }
        let text = self.mountinfo.read()?;
        if !slow && text.bytes == self.parsed {
            return Ok(());
        }
        let mounts = mounts::without_files(mounts::parse(text, MAX_MOUNTS)?, &self.root);
        self.parsed.clear();
        self.parsed.extend_from_slice(text.bytes);
        probe::keep_only(|path| mounts.iter().any(|mount| mount.remote && mount.path == path));
        self.mounts =
            mounts.into_iter().map(|mount| Watched { visible: is_visible(&mount), mount }).collect();
        Ok(())
    }
}

/// The mount table of process 1: the agent's own is bent by its sandbox (read-only root, hidden homes).
pub(crate) fn mountinfo(proc: &Path) -> PathBuf {
    let host = proc.join("1/mountinfo");
    if std::fs::File::open(&host).is_ok() { host } else { proc.join("self/mountinfo") }
}

/// In a sandbox another file system may lie at the path. Subvolumes of btrfs have numbers of their own.
fn is_visible(mount: &Mount) -> bool {
    if mount.remote || mount.fstype == "btrfs" {
        return true;
    }
    rustix::fs::stat(&mount.path)
        .is_ok_and(|stat| (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev)) == mount.dev)
}

impl Sensor for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        self.refresh(cycle.number, cycle.slow)?;
        for Watched { mount, visible } in &self.mounts {
            let space = if mount.remote {
                probe::look(&mount.path, REMOTE_AGE)
            } else if *visible {
                Space::of(&mount.path)
            } else {
                None
            };
            let label = mount.label.as_str();
            let inodes = space.and_then(|space| space.inodes);
            out.put_labelled(metric::FS_TOTAL, label, space.map(|space| space.total));
            out.put_labelled(metric::FS_FREE, label, space.map(|space| space.free));
            out.put_labelled(metric::FS_AVAILABLE, label, space.map(|space| space.available));
            out.put_labelled(metric::FS_INODES_TOTAL, label, inodes.map(|(total, _)| total));
            out.put_labelled(metric::FS_INODES_FREE, label, inodes.map(|(_, free)| free));
            out.put_labelled(metric::FS_READ_ONLY, label, Some(u64::from(mount.read_only)));
        }
        Ok(())
    }
}
