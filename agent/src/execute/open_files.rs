//! Which files below a directory are in use, as far as this process may see.

use std::collections::HashSet;
use std::fs;
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

    fn add(&mut self, process: &Path, root: &Path) -> Option<()> {
        for descriptor in fs::read_dir(process.join("fd")).ok()?.flatten() {
            let path = descriptor.path();
            // Only what lies below the directory is looked at: a look at a file elsewhere could hang.
            let inside = fs::read_link(&path).is_ok_and(|target| target.starts_with(root));
            if inside && let Ok(meta) = fs::metadata(&path) {
                self.files.insert((meta.dev(), meta.ino()));
            }
        }
        for mapping in fs::read_dir(process.join("map_files")).ok().into_iter().flatten().flatten() {
            let path = mapping.path();
            let inside = fs::read_link(&path).is_ok_and(|target| target.starts_with(root));
            if inside && let Ok(meta) = fs::metadata(&path) {
                self.files.insert((meta.dev(), meta.ino()));
            }
        }
        Some(())
    }
}
