//! The journal's three files, behind a trait so that tests can let a disk fail or lose what was not synced.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use sysop_common::ids::OrderId;

/// The journal cannot be used: no order is taken.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It is not there though this host is enrolled.
    #[error("{} is missing: orders may have run that nobody remembers; run as root: sysop-agent execute --reset", .0.display())]
    Missing(PathBuf),
    /// It exists and was not to be replaced.
    #[error("{} exists; to replace it, run as root: sysop-agent execute --reset", .0.display())]
    Exists(PathBuf),
    /// It has lost or changed what was synced.
    #[error("journal is damaged ({0}); run as root: sysop-agent execute --reset")]
    Damaged(&'static str),
    /// It belongs to another host.
    #[error("journal is another host's; run as root: sysop-agent execute --reset")]
    OtherHost,
    /// Another executor has it.
    #[error("journal is in use by another executor")]
    InUse,
    /// Others can reach it.
    #[error("{} must belong to this user with mode 0700; run: chmod 700 {}", .0.display(), .0.display())]
    Exposed(PathBuf),
    /// No frame is free: reports wait for a controller.
    #[error("journal is full of reports that no controller has acknowledged")]
    Full,
    /// The order is in it.
    #[error("order {0} is in the journal already")]
    Known(OrderId),
    /// A record is larger than a frame.
    #[error("a record is too large for the journal")]
    TooLarge,
    /// A write or sync failed before: what is on disk is not sure.
    #[error("journal cannot be written ({0}); mend the disk and restart the executor")]
    Broken(String),
    /// The system said no.
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
}

/// A file of fixed size.
pub(super) trait Disk: std::fmt::Debug + Send {
    fn read(&mut self) -> io::Result<Vec<u8>>;
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

/// The two files that take turns, and the mark.
#[derive(Debug)]
pub(super) struct Disks {
    pub(super) files: [Box<dyn Disk>; 2],
    pub(super) mark: Box<dyn Disk>,
}

#[derive(Debug)]
struct FileDisk(File);

/// More than the files hold: a file that grew is not read into memory.
const MAX_READ: u64 = 16 << 20;

impl Disk for FileDisk {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.0.metadata()?.len().min(MAX_READ)).unwrap_or_default()];
        self.0.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

const NAMES: [&str; 3] = ["journal.0", "journal.1", "mark"];
const LOCK: &str = "lock";

fn inside(dir: &Path) -> PathBuf {
    dir.join("journal")
}

/// Makes the directory and its files by way of a temporary one: they are there whole or not at all.
pub(super) fn create(
    dir: &Path,
    replace: bool,
    format: impl FnOnce(Disks) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let (at, new, old) = (inside(dir), dir.join("journal.new"), dir.join("journal.old"));
    let io = |path: &Path| {
        let path = path.to_owned();
        move |e| JournalError::Io(path, e)
    };
    if !dir.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io(dir))?;
    }
    let _lock = lock(dir)?;
    if at.exists() && !replace {
        return Err(JournalError::Exists(at));
    }
    remove(&new).map_err(io(&new))?;
    DirBuilder::new().mode(0o700).create(&new).map_err(io(&new))?;
    format(open_files(&new, true)?)?;
    sync_directory(&new).map_err(io(&new))?;
    if at.exists() {
        // Kept for whoever wants to know what was lost; only the last one.
        remove(&old).map_err(io(&old))?;
        std::fs::rename(&at, &old).map_err(io(&at))?;
    }
    std::fs::rename(&new, &at).map_err(io(&at))?;
    sync_directory(dir).map_err(io(dir))
}

/// Opens the files and takes the lock, which ends with the process.
pub(super) fn open(dir: &Path) -> Result<(Disks, OwnedFd), JournalError> {
    let at = inside(dir);
    if !at.is_dir() {
        return Err(JournalError::Missing(at));
    }
    for path in [dir, at.as_path()] {
        let meta = std::fs::symlink_metadata(path).map_err(|e| JournalError::Io(path.to_owned(), e))?;
        let own = rustix::process::geteuid().as_raw();
        if !meta.is_dir() || meta.uid() != own || meta.mode() & 0o077 != 0 {
            return Err(JournalError::Exposed(path.to_owned()));
        }
    }
    let lock = lock(dir)?;
    Ok((open_files(&at, false)?, lock))
}

fn open_files(dir: &Path, new: bool) -> Result<Disks, JournalError> {
    let open = |name: &str| -> Result<Box<dyn Disk>, JournalError> {
        let path = dir.join(name);
        let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(new).mode(0o600).custom_flags(flags);
        match options.open(&path) {
            Ok(file) => Ok(Box::new(FileDisk(file))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(JournalError::Missing(path)),
            Err(e) => Err(JournalError::Io(path, e)),
        }
    };
    Ok(Disks { files: [open(NAMES[0])?, open(NAMES[1])?], mark: open(NAMES[2])? })
}

fn lock(dir: &Path) -> Result<OwnedFd, JournalError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|e| JournalError::Io(path.clone(), e))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file.into()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(JournalError::InUse),
        Err(e) => Err(JournalError::Io(path, e.into())),
    }
}

/// The files of a journal directory, and nothing else: this never walks a tree.
fn remove(dir: &Path) -> io::Result<()> {
    let absent = |result: io::Result<()>| match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    NAMES.iter().try_for_each(|name| absent(std::fs::remove_file(dir.join(name))))?;
    absent(std::fs::remove_dir(dir))
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
