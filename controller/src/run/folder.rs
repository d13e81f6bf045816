//! The folder of the controller's state: made if need be, closed to others, and held by one process.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum FolderError {
    #[error("the folder {} cannot be used: {source}; choose another with --data-dir or SYSOP_DATA_DIR", path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("another controller is running on the folder {}; stop it, or choose another folder with --data-dir or SYSOP_DATA_DIR", .0.display())]
    InUse(PathBuf),
}

/// Holds the folder until it is dropped.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "the lock ends with the descriptor")] File);

/// Makes `path` if it is not there, and claims it for this process.
///
/// # Errors
/// When it cannot be written, or another process has it.
pub fn claim(path: &Path) -> Result<Claim, FolderError> {
    let unusable = |source| FolderError::Unusable { path: path.to_owned(), source };
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        return Err(unusable(io::Error::new(io::ErrorKind::NotADirectory, "it is a file")));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
    let lock = lock.map_err(unusable)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Claim(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::InUse(path.to_owned())),
        Err(errno) => Err(unusable(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_the_folder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = claim(&path).unwrap();
        assert!(matches!(claim(&path), Err(FolderError::InUse(_))));
        drop(first);
        claim(&path).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_the_remedy() {
        let text = claim(Path::new("/proc/none/data")).unwrap_err().to_string();
        assert!(text.contains("/proc/none/data") && text.contains("--data-dir"), "{text}");
        let text = claim(Path::new("/etc/hostname")).unwrap_err().to_string();
        assert!(text.contains("/etc/hostname cannot be used: it is a file; choose"), "{text}");
    }
}
