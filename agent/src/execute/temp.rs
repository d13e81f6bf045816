//! Removes old files below a temporary directory, without ever leaving it.
//!
//! Every directory is opened from the one above it by its single name, which is not followed when it
//! is a link, and must lie in the same mount; a file is removed by its name in the directory that is
//! held open. So whoever swaps names meanwhile can only lose files of that very directory. A file goes
//! only under a lease, which nobody has who finds it in use; where the kernel gives none, it stays.
//! (`openat2` would say the same in one call, but systemd's `RestrictSUIDSGID=` takes it away.)

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat, unlinkat};
use sysop_common::action::{RunState, TempRoot};
use sysop_common::order::Order;
use sysop_common::time::UnixMs;

use super::lease::{Lease, NoLease};
use super::runner::lines;
use super::{Ended, Evidence};
use crate::guard::Facts;
use crate::guard::facts::TempFacts;

/// How a directory is opened: itself, by one name.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Most directory entries that one run looks at.
const MAX_ENTRIES: u64 = 500_000;
/// Deepest directory below the root.
const MAX_DEPTH: usize = 32;
/// Directories whose content belongs to services and sessions that may run.
const LEFT_ALONE: [&[u8]; 8] = [
    b"systemd-private-",
    b"snap-private-tmp",
    b".X11-unix",
    b".ICE-unix",
    b".XIM-unix",
    b".font-unix",
    b".Test-unix",
    b"lost+found",
];

/// Beginnings of files that running servers look for by name without holding them open.
const MARKS: [&[u8]; 1] = [b".s.PGSQL."];
/// Ends of such files: `.X0-lock`, `mysql.sock.lock`, `app.pid`. They free next to nothing.
const MARK_ENDS: [&[u8]; 4] = [b"-lock", b".lock", b".lck", b".pid"];

/// Bounds of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Only what was last changed before this time, in seconds since 1970.
    pub(super) before_s: i64,
    /// At most this many bytes.
    pub(super) max_bytes: u64,
    /// For at most this long.
    pub(super) time: Duration,
    /// Most bytes of output.
    pub(super) keep: usize,
}

impl Limits {
    /// The age counts from the wall clock or from the order's expiry, whichever is earlier: a clock
    /// that ran ahead makes no file old.
    pub(super) fn new(order: &Order, min_age_s: u32, max_bytes: u64) -> Self {
        let entry = order.action.entry();
        let now = UnixMs::from_system(SystemTime::now()).min(order.expires);
        Self {
            before_s: now.0 / 1_000 - i64::from(min_age_s),
            max_bytes,
            time: Duration::from_secs(u64::from(entry.timeout_s)),
            keep: usize::try_from(entry.output_bytes).unwrap_or_default(),
        }
    }
}

/// The directory as it is now.
pub(super) fn look(root: &TempRoot, below: &Path) -> Facts {
    match open_root(&path_of(root, below)) {
        Ok((_, stat)) => {
            let own = rustix::process::geteuid().as_raw();
            Facts::Temp(TempFacts { root_owned: stat.st_uid == 0 || stat.st_uid == own })
        }
        Err(e) => Facts::Unseen(format!("{root} cannot be opened: {e}")),
    }
}

fn path_of(root: &TempRoot, below: &Path) -> PathBuf {
    below.join(root.as_str().trim_start_matches('/'))
}

/// Opens a directory by a path of which no part may be a link.
fn open_root(path: &Path) -> io::Result<(OwnedFd, Stat)> {
    let mut directory = openat(CWD, "/", FLAGS, Mode::empty())?;
    for part in path.components() {
        match part {
            Component::RootDir => {}
            Component::Normal(name) => directory = openat(&directory, name.as_bytes(), FLAGS, Mode::empty())?,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain path")),
        }
    }
    let stat = fstat(&directory)?;
    Ok((directory, stat))
}

/// The mount that a file was opened in: two mounts of one file system differ in nothing else.
fn mount_of(file: &OwnedFd) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// Removes what is old enough, within `limits`.
pub(super) fn run(root: &TempRoot, below: &Path, limits: &Limits) -> Ended {
    let path = path_of(root, below);
    let deadline = Instant::now() + limits.time;
    match sweep(&path, limits, deadline) {
        Ok(walk) => walk.ended(root),
        Err(detail) => Ended {
            state: RunState::Failed,
            exit: None,
            evidence: Evidence::Seen { verified: false, detail: detail.clone() },
            detail,
            output: lines(&[], 0),
        },
    }
}

/// Walks through everything below `path`.
pub(super) fn sweep(path: &Path, limits: &Limits, deadline: Instant) -> Result<Walk, String> {
    let (root, stat) = open_root(path).map_err(|e| format!("{} cannot be opened: {e}", path.display()))?;
    let mount = mount_of(&root).ok_or("/proc does not tell of mounts")?;
    let (device, limits, counts) = (stat.st_dev, *limits, Counts::default());
    let mut walk = Walk { device, mount, limits, deadline, counts, untold: None, stop: None };
    walk.directory(&root, 0);
    Ok(walk)
}

/// Why a walk ended before everything was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Bytes,
    Entries,
    Time,
}

/// A walk through a directory.
#[derive(Debug)]
pub(super) struct Walk {
    device: u64,
    mount: u64,
    limits: Limits,
    deadline: Instant,
    counts: Counts,
    /// Why the kernel did not tell of a file whether it is in use.
    untold: Option<rustix::io::Errno>,
    stop: Option<Stop>,
}

#[derive(Debug, Default)]
struct Counts {
    entries: u64,
    removed: u64,
    bytes: u64,
    young: u64,
    open: u64,
    untold: u64,
    other: u64,
    skipped: u64,
    errors: u64,
}

impl Walk {
    fn directory(&mut self, directory: &OwnedFd, depth: usize) {
        let Ok(entries) = Dir::read_from(directory) else {
            self.counts.errors += 1;
            return;
        };
        for entry in entries {
            if self.is_over() {
                return;
            }
            let Ok(entry) = entry else {
                self.counts.errors += 1;
                return;
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.counts.entries += 1;
            match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => self.entry(directory, name, &stat, depth),
                // Somebody was quicker.
                Err(rustix::io::Errno::NOENT) => {}
                Err(_) => self.counts.errors += 1,
            }
        }
    }

    fn is_over(&mut self) -> bool {
        if self.stop.is_none() && self.counts.entries >= MAX_ENTRIES {
            self.stop = Some(Stop::Entries);
        }
        if self.stop.is_none() && Instant::now() >= self.deadline {
            self.stop = Some(Stop::Time);
        }
        self.stop.is_some()
    }

    fn entry(&mut self, directory: &OwnedFd, name: &CStr, stat: &Stat, depth: usize) {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(directory, name, stat),
            FileType::Directory => {
                let left_alone = LEFT_ALONE.iter().any(|start| name.to_bytes().starts_with(start));
                if depth >= MAX_DEPTH || left_alone {
                    self.counts.skipped += 1;
                    return;
                }
                match open_below(directory, name) {
                    Ok(inner) if self.is_inside(&inner) => self.directory(&inner, depth + 1),
                    Ok(_) => self.counts.skipped += 1,
                    // Swapped for something else, or gone.
                    Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {}
                    Err(_) => self.counts.errors += 1,
                }
            }
            _ => self.counts.other += 1,
        }
    }

    fn is_inside(&self, directory: &OwnedFd) -> bool {
        fstat(directory).is_ok_and(|stat| stat.st_dev == self.device)
            && mount_of(directory) == Some(self.mount)
    }

    /// The time of change cannot be set back by the file's owner, the time of modification can.
    fn is_young(&self, stat: &Stat) -> bool {
        stat.st_mtime > self.limits.before_s || stat.st_ctime > self.limits.before_s
    }

    fn file(&mut self, directory: &OwnedFd, name: &CStr, stat: &Stat) {
        if stat.st_dev != self.device {
            self.counts.skipped += 1;
            return;
        }
        if self.is_young(stat) {
            return self.counts.young += 1;
        }
        let name_is_mark = MARKS.iter().any(|start| name.to_bytes().starts_with(start))
            || MARK_ENDS.iter().any(|end| name.to_bytes().ends_with(end));
        // Under a second name the bytes stay, and somebody wants them.
        if stat.st_nlink > 1 || name_is_mark {
            self.counts.other += 1;
            return;
        }
        // Held until the file is gone.
        let lease = match Lease::take(directory.as_fd(), name) {
            Ok(lease) => lease,
            Err(NoLease::InUse) => return self.counts.open += 1,
            Err(NoLease::Gone) => return,
            Err(NoLease::Unreadable) => return self.counts.errors += 1,
            Err(NoLease::Untold(why)) => {
                self.untold = Some(why);
                return self.counts.untold += 1;
            }
        };
        // Swapped since it was looked at: what stands there now was not.
        if (lease.stat.st_dev, lease.stat.st_ino) != (stat.st_dev, stat.st_ino) || lease.stat.st_nlink > 1 {
            return self.counts.other += 1;
        }
        if self.is_young(&lease.stat) {
            return self.counts.young += 1;
        }
        let bytes = u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(512);
        if self.counts.bytes.saturating_add(bytes) > self.limits.max_bytes {
            self.stop = Some(Stop::Bytes);
            return;
        }
        match unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) => {
                self.counts.removed += 1;
                self.counts.bytes += bytes;
            }
            Err(rustix::io::Errno::NOENT) => {}
            Err(_) => self.counts.errors += 1,
        }
    }

    fn ended(self, root: &TempRoot) -> Ended {
        let c = &self.counts;
        let why = match self.stop {
            Some(Stop::Bytes) => ", up to the allowed amount",
            Some(Stop::Entries) => ", up to the allowed number of entries",
            Some(Stop::Time) => ", up to the allowed time",
            None => "",
        };
        let detail = format!("removed {} files with {} bytes below {root}{why}", c.removed, c.bytes);
        let said = [
            format!("looked at: {}", c.entries),
            format!("removed: {} files, {} bytes", c.removed, c.bytes),
            format!("kept, too young: {}", c.young),
            format!("kept, in use: {}", c.open),
            format!("kept, no plain file, a lock, or more than one name: {}", c.other),
            format!("directories not entered: {}", c.skipped),
            format!("could not be removed or read: {}", c.errors),
            format!("kept, not known whether in use: {}", c.untold),
        ];
        if let (0, Some(why)) = (c.removed, self.untold) {
            let detail = format!(
                "nothing was removed below {root}: the kernel does not tell whether files are in use ({why}); \
                 the executor needs CAP_LEASE, and fs.leases-enable must be 1"
            );
            let evidence = Evidence::Seen { verified: false, detail: detail.clone() };
            let output = lines(&said, self.limits.keep);
            return Ended { state: RunState::Failed, exit: None, detail, output, evidence };
        }
        let verified = c.removed > 0 && c.errors == 0;
        let seen =
            if c.removed == 0 { "nothing was old enough to be removed".to_owned() } else { detail.clone() };
        Ended {
            state: RunState::Succeeded,
            exit: None,
            detail,
            output: lines(&said, self.limits.keep),
            evidence: Evidence::Seen { verified, detail: seen },
        }
    }
}

/// Opens the directory `name` in `directory`, and nothing that it might lead to.
fn open_below(directory: &OwnedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    match openat(directory, name, FLAGS | OFlags::NOATIME, Mode::empty()) {
        // Only its owner may look without leaving a trace.
        Err(rustix::io::Errno::PERM) => openat(directory, name, FLAGS, Mode::empty()),
        other => other,
    }
}
