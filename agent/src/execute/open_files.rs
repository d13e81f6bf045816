//! Which files below a directory are in use, as far as this process may see.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Instant;

/// Files in use.
#[derive(Debug, Default)]
pub(super) struct InUse {
    files: HashSet<(u64, u64)>,
    /// Processes whose files could not be seen.
    pub(super) unseen: usize,
}

impl InUse {
    /// Looks through the descriptors and mappings of all processes, until `deadline`; `None` when
    /// that was too short.
    pub(super) fn below(root: &Path, deadline: Instant) -> Option<Self> {
        let mut found = Self::default();
        let processes = fs::read_dir("/proc").ok()?;
        for process in processes.flatten() {
            if Instant::now() > deadline {
                return None;
            }
            let is_process = process.file_name().as_bytes().iter().all(u8::is_ascii_digit);
            if is_process && found.add(&process.path(), root).is_none() {
                found.unseen += 1;
            }
        }
        Some(found)
    }

    pub(super) fn contains(&self, device: u64, inode: u64) -> bool {
        self.files.contains(&(device, inode))
    }

    /// `None` when the kernel did not let this process see all of them.
    fn add(&mut self, process: &Path, root: &Path) -> Option<()> {
        // Mapped files: their descriptors may be closed. A path stands last in its line.
        let maps = fs::read(process.join("maps")).ok()?;
        let mapped = maps.split(|byte| *byte == b'\n').filter_map(|line| {
            line.iter().position(|byte| *byte == b'/').map(|at| Path::new(OsStr::from_bytes(&line[at..])))
        });
        for path in mapped.filter(|path| path.starts_with(root)) {
            self.note(fs::symlink_metadata(path));
        }
        for file in fs::read_dir(process.join("fd")).ok()? {
            let path = file.ok()?.path();
            match fs::read_link(&path) {
                // Only what lies below the directory is looked at: a look elsewhere could hang.
                Ok(target) if target.starts_with(root) => self.note(fs::metadata(&path)),
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return None,
                // Elsewhere, or closed meanwhile.
                _ => {}
            }
        }
        Some(())
    }

    fn note(&mut self, meta: io::Result<fs::Metadata>) {
        if let Ok(meta) = meta {
            self.files.insert((meta.dev(), meta.ino()));
        }
    }
}
